"""The words of a command become waves, and a record that is within its limits."""

from __future__ import annotations

import pytest

from modelward.daemon.fleet.manifest import Manifest
from modelward.daemon.fleet.publishing import drafted, followed_above, former, next_number, waves
from modelward.daemon.fleet.record import BadRecord, FleetRecord, FleetWave, WaveWindow, decode, encode
from modelward.daemon.fleet.reports import MachineReport

from .records import record as made_record

FILES = Manifest("ab" * 32, "cd" * 32, 9)
CONDITIONS = {"success_percent": 95.0, "max_errors": 1, "pause_seconds": 3600.0}


def test_shares_and_labels_are_waves_in_their_order() -> None:
    window = WaveWindow("0 22 * * *", 3600)
    made = waves("canary+lab, 5%,12.5%,100%", **CONDITIONS, window=window)  # type: ignore[arg-type]
    assert made == (
        FleetWave(("canary", "lab"), 0.0, 95.0, 1, 3600, window),
        *(FleetWave((), share, 95.0, 1, 3600, window) for share in (5.0, 12.5, 100.0)),
    )
    record = drafted("v2", FILES, sequence=1, now=1.8e9, valid_seconds=9e5, sources=["models/v2"], waves=made)
    assert decode(encode(record)) == record


@pytest.mark.parametrize("text", ["", "five%", "5%,5%", "5%,,100%", "Big Shops", "101%", "nan%"])
def test_what_is_no_wave_is_refused(text: str) -> None:
    with pytest.raises(BadRecord):
        made = waves(text, **CONDITIONS)  # type: ignore[arg-type]
        encode(drafted("v2", FILES, sequence=1, now=1.8e9, valid_seconds=9e5, sources=["a"], waves=made))


def published(*versions: str) -> list[FleetRecord]:
    return [made_record(version=version, sequence=number) for number, version in enumerate(versions, 1)]


@pytest.mark.parametrize(
    ("versions", "named", "to"),
    [
        (("v1", "v2"), "", 1),
        (("v1", "v2", "v2"), "", 1),
        (("v1", "v2", "v1", "v3"), "", 3),
        (("v1", "v2", "v3"), "v1", 1),
        (("v1", "v2", "v3", "v2"), "v1", 1),
        (("v1", "v2", "v1", "v2"), "v1", 3),
    ],
)
def test_a_fleet_goes_back_to_what_was_wanted_before(versions: tuple[str, ...], named: str, to: int) -> None:
    assert former(published(*versions), named).sequence == to


@pytest.mark.parametrize(
    ("versions", "named", "because"),
    [
        (("v1",), "", "no record before"),
        (("v1", "v2", "v3", "v2"), "", "goes back to it already"),  # v3 was the bad one
        (("v1", "v2"), "v2", "the present one wants it"),
        (("v1", "v2"), "v3", "no earlier record wants"),
    ],
)
def test_the_way_back_is_not_gone_twice_without_a_name(versions: tuple[str, ...], named: str, because: str) -> None:
    with pytest.raises(BadRecord, match=because):
        former(published(*versions), named)


def test_numbers_rise_and_no_report_raises_them() -> None:
    assert (next_number(0, 0), next_number(4, 0), next_number(4, 9)) == (1, 5, 9)
    for wanted in (3, 4):
        with pytest.raises(BadRecord, match=f"machines refuse number {wanted}"):
            next_number(4, wanted)
    reports = [MachineReport("a", sequence=9), MachineReport("b", sequence=5), MachineReport("c", sequence=4)]
    assert [report.name for report in followed_above(5, reports)] == ["b", "a"]


@pytest.mark.parametrize("seconds", [1e10, 1e20, 1e300])
def test_a_record_that_would_never_end_is_refused_and_not_a_fault(seconds: float) -> None:
    made = waves("100%", **CONDITIONS)  # type: ignore[arg-type]
    with pytest.raises(BadRecord, match="ten years"):
        drafted("v2", FILES, sequence=1, now=1.8e9, valid_seconds=seconds, sources=["a"], waves=made)
