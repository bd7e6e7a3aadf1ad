"""The planners together, over whole fleets with failures: what the product promises a fleet holds in each of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fleet_simulation.__main__ import figures
from tests.fleet_simulation.machines import DAY, HOUR, Chances, SimulatedMachine
from tests.fleet_simulation.story import START, record, tell
from tests.fleet_simulation.world import Fleet

from modelward.daemon.fleet.membership import place, wave_of
from modelward.daemon.fleet.record import FleetWave

CALM = Chances(0, 0, False, 0, 0, 0, 0, 0.1, 0.3)
SHAKEN = Chances(0.3, 0.1, True, 0.3, 0.1, 0.5, 0, 0.2, 0.3)


@pytest.mark.parametrize(("count", "seed"), [(10, 1), (10, 2), (1000, 1)])
def test_a_fleet_comes_to_the_good_version_and_the_bad_one_stops_at_its_first_waves(count: int, seed: int) -> None:
    fleet = tell(count, seed)
    assert fleet.check_end() == []
    assert f"{count:,} machines, 7 days" in figures(fleet)[0]
    begun = [m for m in fleet.machines if "v3" in m.root]
    assert len(begun) < 0.1 * count + 10
    if count == 1000:
        assert len(fleet.halts) == 1
        assert [wave for _, sequence, wave in fleet.opened if sequence == 4] == [1, 2, 3, 4]
        assert fleet.serving()["v2"] > 0.98 * count


WAVES = st.lists(st.sampled_from([10.0, 25.0, 40.0, 60.0, 80.0]), max_size=3, unique=True).map(
    lambda shares: (
        FleetWave(labels=("canary",), success_percent=70, pause=600),
        *(FleetWave(percent=share, success_percent=70, pause=600) for share in sorted(shares)),
        FleetWave(percent=100.0, success_percent=70),
    )
)


@given(st.integers(0, 2**32), st.integers(1, 24), WAVES, st.floats(0, 1), st.booleans())
def test_whatever_befalls_a_fleet_no_bad_version_spreads_and_every_machine_serves(
    seed: int, count: int, waves: tuple[FleetWave, ...], share: float, shaken: bool
) -> None:
    def bad(machine: SimulatedMachine, version: str) -> bool:
        return version == "v3" and place(f"{machine.machine.name} {seed}") < share * 100

    fleet = Fleet(count, seed, START, bad, SHAKEN if shaken else CALM)
    for sequence, version in enumerate(("v2", "v3", "v2", "v4"), 2):
        fleet.publish(record(sequence, version, fleet.now, waves))
        fleet.run(fleet.now + 12 * HOUR)
        if sequence == 4:
            fleet.offer_again(2)
            fleet.run(fleet.now + HOUR)
    assert fleet.check_end() == []
    if 3 in fleet.first_failure:  # no wave opens once a keeper has received the failure
        at, _ = fleet.first_failure[3]
        assert [each for each in fleet.opened if each[1] == 3 and each[0] > at + fleet.keeper_seconds] == []
    reached = [wave_of(waves, m.machine) or 0 for m in fleet.machines if "v3" in m.root]
    opened = [wave for _, sequence, wave in fleet.opened if sequence == 3]
    assert max(reached, default=0) < max(opened, default=1)


@given(st.integers(0, 2**32), st.integers(1, 30))
def test_a_calm_fleet_is_done_with_a_version_that_is_good_everywhere(seed: int, count: int) -> None:
    waves = (FleetWave(labels=("canary",)), FleetWave(percent=100.0))
    fleet = Fleet(count, seed, START, lambda machine, version: False, CALM)
    fleet.publish(record(2, "v2", fleet.now, waves))
    fleet.run(START + DAY)
    if all(wave_of(waves, m.machine) == 0 for m in fleet.machines):
        return  # nobody is in the last wave
    assert fleet.check_end() == []
    assert fleet.serving() == {"v2": count}
    assert 2 in fleet.done


def test_a_machine_that_was_away_for_three_versions_takes_the_last_only() -> None:
    fleet = Fleet(12, 1, START, lambda machine, version: False, CALM)
    away = fleet.machines[5]
    away.away = ((START, START + 3.5 * DAY),)
    fleet._at(START + 3.5 * DAY, 5, "back")
    waves = (FleetWave(labels=("canary",)), FleetWave(percent=100.0, success_percent=80))
    for sequence, version in enumerate(("v2", "v3", "v4"), 2):
        fleet.publish(record(sequence, version, fleet.now, waves))
        fleet.run(fleet.now + DAY)
    assert away.serving == "v1"
    assert 4 in fleet.done  # it was not waited for
    fleet.run(START + 4 * DAY)
    assert (away.serving, list(away.root)) == ("v4", ["v4"])
    assert fleet.check_end() == []


def test_what_failed_is_tried_again_after_resume_and_nothing_else_is() -> None:
    broken = {"shop-3"}
    waves = (FleetWave(labels=("canary",)), FleetWave(percent=100.0))
    fleet = Fleet(12, 1, START, lambda machine, version: machine.machine.name in broken, CALM)
    fleet.publish(record(2, "v2", fleet.now, waves))
    fleet.run(START + DAY / 2)
    assert fleet.halts
    fetched = fleet.work.fetches
    broken.clear()
    fleet.resume()
    fleet.run(START + DAY)
    assert fleet.serving() == {"v2": 12}
    assert fleet.work.fetches == fetched == 12  # it was here already
    assert 2 in fleet.done


def test_without_a_keeper_waves_open_by_the_signed_pauses() -> None:
    waves = (FleetWave(labels=("canary",), pause=7200), FleetWave(percent=100.0))
    fleet = Fleet(12, 1, START, lambda machine, version: False, CALM, with_keeper=False)
    fleet.publish(record(2, "v2", fleet.now, waves))
    fleet.run(START + 7000)
    assert set(fleet.serving()) == {"v1", "v2"}
    fleet.run(START + DAY)
    assert fleet.serving() == {"v2": 12}
    assert fleet.check_end() == []
