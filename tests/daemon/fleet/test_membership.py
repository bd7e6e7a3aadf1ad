"""A machine is in the same wave in each record, and each wave holds those before it."""

from __future__ import annotations

import pytest

from modelward.daemon.fleet.membership import FleetMachine, place, wave_of
from modelward.daemon.fleet.record import FleetWave

NAMES = [f"shop-{number}" for number in range(2000)]


def test_places_are_spread_evenly_and_do_not_change() -> None:
    places = [place(name) for name in NAMES]
    assert all(0 <= at <= 99.99 and round(at, 2) == at for at in places)
    assert sum(at < 25 for at in places) == pytest.approx(500, rel=0.15)
    assert place("shop-1") == 63.38  # changing it would move each machine of each fleet


def test_a_larger_share_holds_the_smaller_one() -> None:
    small, large = (FleetWave(percent=5.0),), (FleetWave(percent=25.0),)
    for name in NAMES:
        if wave_of(small, FleetMachine(name)) is not None:
            assert wave_of(large, FleetMachine(name)) == 0


def test_the_first_wave_that_holds_a_machine_counts() -> None:
    waves = (FleetWave(labels=("canary", "lab")), FleetWave(percent=50.0), FleetWave(labels=("rest",)))
    low, high = (FleetMachine(next(n for n in NAMES if (place(n) < 50) is first)) for first in (True, False))
    assert wave_of(waves, FleetMachine("shop-1", ("lab",))) == 0
    assert wave_of(waves, low) == 1
    assert wave_of(waves, high) is None
    assert wave_of(waves, FleetMachine(high.name, ("rest",))) == 2
