"""What people see of a fleet: counts that add up, and what needs a look before all else."""

from __future__ import annotations

from typing import Any

from tests.daemon.fleet.records import ISSUED, record

from modelward.daemon.fleet.overview import MAX_LISTED, overview
from modelward.daemon.fleet.record import FleetWave
from modelward.daemon.fleet.reports import MachineReport, ReceivedReport
from modelward.daemon.fleet.waves import WaveProgress

NOW = ISSUED + 3600
WAVES = (FleetWave(labels=("canary",)), FleetWave(labels=("nobody",)), FleetWave(percent=100.0))


def report(name: str, outcome: str, ago: float = 0.0, **more: Any) -> ReceivedReport:
    fields: dict[str, Any] = {"sequence": 7, "version": "v1", "outcome": outcome, **more}
    return ReceivedReport(MachineReport(name, **fields), NOW - ago)


def test_what_failed_is_listed_first_with_its_reason() -> None:
    seen = overview(
        record(waves=WAVES),
        WaveProgress(7, 3),
        [
            report("a", "serving", version="v2", labels=("canary",)),
            report("b", "fetching"),
            report("c", "serving", 7200, version="v2"),
            report("d", "failed", because="golden"),
            report("e", "drifted", because="serves v9: somebody chose it on this machine", version="v9"),
            report("f", "fetching", 7200),
        ],
        NOW,
    )
    assert [(m.name, m.standing, m.wave) for m in seen.machines] == [
        ("d", "failed", 3), ("c", "silent", 3), ("e", "blocked", 3), ("f", "late", 3), ("b", "pending", 3),
    ]  # fmt: skip
    assert [m.because for m in seen.machines[:2]] == ["golden", "not seen for 2h"]
    assert seen.versions == {"v1": 3, "v2": 2, "v9": 1}
    assert (seen.total, seen.seen, seen.drifted, seen.empty, seen.more) == (6, 4, 1, (2,), 0)


def test_a_large_fleet_is_listed_in_part_and_the_rest_is_counted() -> None:
    machines = [report(f"m{number}", "fetching") for number in range(3 * MAX_LISTED)]
    seen = overview(record(waves=WAVES), WaveProgress(7, 3), [*machines, report("bad", "failed")], NOW)
    assert (seen.machines[0].name, len(seen.machines), seen.more) == ("bad", MAX_LISTED, 2 * MAX_LISTED + 1)
