"""One story for fleets of any size: a good version, one that is bad for a tenth of the machines, and the way back."""

from __future__ import annotations

import hashlib

from tests.fleet_simulation.machines import DAY, Chances, SimulatedMachine
from tests.fleet_simulation.world import Fleet

from modelward.daemon.fleet.record import FORMAT, FleetRecord, FleetWave
from modelward.worker.shared.moments import moment, moment_text

START = moment("2026-12-01T06:00:00Z")
WAVES = (
    FleetWave(labels=("canary",), success_percent=90, pause=1800),
    FleetWave(percent=5.0, success_percent=95, max_errors=0, pause=3600),
    FleetWave(percent=25.0, success_percent=95, max_errors=1, pause=3600),
    FleetWave(percent=100.0, success_percent=95, max_errors=10),
)
SMALL_WAVES = (
    FleetWave(labels=("canary",), pause=1800),
    FleetWave(percent=50.0, success_percent=60, pause=3600),
    FleetWave(percent=100.0, success_percent=60),
)
"""For fleets of which five percent is nobody."""
BYTES = 240 << 20


def bad_on_arm(machine: SimulatedMachine, version: str) -> bool:
    return version == "v3" and "arm" in machine.machine.labels


def record(sequence: int, version: str, at: float, waves: tuple[FleetWave, ...] = WAVES, **more: object) -> FleetRecord:
    """A record that is good for 30 days."""
    fields: dict[str, object] = {
        "format": FORMAT, "sequence": sequence, "issued": moment_text(at), "expires": moment_text(at + 30 * DAY),
        "version": version, "manifest_sha256": hashlib.sha256(version.encode()).hexdigest(), "bytes": BYTES,
        "sources": (f"object:models/{version}",), "waves": waves,
    }  # fmt: skip
    return FleetRecord(**(fields | more))  # type: ignore[arg-type]


def tell(count: int, seed: int, chances: Chances | None = None) -> Fleet:
    """v2 for three days, v3 for one, an old record offered again for an hour, then back to v2 for two days."""
    fleet = Fleet(count, seed, START, bad_on_arm, chances)
    waves = WAVES if count >= 200 else SMALL_WAVES
    fleet.publish(record(2, "v2", fleet.now, waves))
    fleet.run(START + 3 * DAY)
    fleet.publish(record(3, "v3", fleet.now, waves))
    fleet.run(START + 4 * DAY)
    fleet.offer_again(2)
    fleet.run(fleet.now + 3600)
    fleet.publish(record(4, "v2", fleet.now, waves))
    fleet.run(START + 7 * DAY)
    return fleet
