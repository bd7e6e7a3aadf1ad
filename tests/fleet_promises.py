"""What a fleet promises whatever carries its record: tests/system/test_fleet.py and test_fleet_file.py run these.

Each test leaves all machines serving. No request fails on any machine in any of them.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.daemon.fleet.records import record
from tests.fleet_house import KEY, OTHER_KEY, asked, fleet_of
from tests.fleet_of_eight import AUTO, CANARY, CUT, EARLY, FULL, LATE, PLAIN, Fleet
from tests.support import eventually

from modelward.daemon.fleet.membership import FleetMachine, wave_of
from modelward.daemon.fleet.record import FleetWave
from modelward.daemon.fleet.signature import sign_record
from modelward.daemon.system.clock import SystemClock
from modelward.daemon.units import DAY
from modelward.worker.shared.moments import moment, moment_text

KIB = 1 << 10
FETCH_BYTES = 640 * KIB
SLOW: dict[str, object] = {"max_rate": "64KiB"}


def test_a_version_reaches_all_wave_by_wave_and_none_before_the_signed_pauses(fleet: Fleet) -> None:
    with asked(fleet.machines):
        name = fleet.published("canary,50%,100%", "--pause", "2s")
        fleet.await_all(name)
    wanted = fleet.record()
    waves = dict[str, int]()
    for machine, house in fleet.houses.items():
        [fetched] = [line for line in house.history("fleet-fetched") if line["version"] == name]
        wave = wave_of(wanted.waves, FleetMachine(machine, tuple(fleet_of(house)["labels"])))
        assert wave is not None
        waves[machine] = wave
        if machine not in (EARLY, LATE):  # the clocks of the others are right
            assert moment(fetched["time"][:19] + "Z") >= wanted.earliest(wave)
    assert sorted(waves.values()) == [0, 1, 1, *[2] * 5] and waves[CANARY] == 0


def test_a_machine_that_was_away_for_two_versions_takes_the_last_only(fleet: Fleet) -> None:
    cut, now = fleet.houses[CUT], fleet.serving(CUT)
    with asked(fleet.machines):
        with fleet.cut_off():
            missed = fleet.published("canary,cut")
            fleet.await_all(missed, [CANARY])
            last = fleet.published("canary,cut")
            fleet.await_all(last, [CANARY])
            eventually(lambda: fleet_of(cut)["away"])
            assert cut.serves(now) and not fleet.has(CUT, last)
        fleet.await_all(last, [CUT])
    assert not fleet.has(CUT, missed)


def test_records_that_are_old_ended_or_of_another_key_change_nothing(fleet: Fleet) -> None:
    last, now = fleet.record(), SystemClock().wall()
    serving = {name: fleet_of(house)["record"]["version"] for name, house in fleet.houses.items()}
    good = dict(
        version="adder-v999", sequence=last.sequence + 1, issued=moment_text(now - 3 * DAY),
        expires=moment_text(now + 30 * DAY), waves=(FleetWave(percent=100.0),),
    )  # fmt: skip
    bad = {
        "it is an old one": sign_record(record(**good | {"sequence": last.sequence - 1}), KEY),
        "ended at": sign_record(record(**good | {"expires": moment_text(now - 2 * DAY)}), KEY),
        "the signature of the record is not good": sign_record(record(**good), OTHER_KEY),
        f"two different records with the number {last.sequence}": sign_record(
            record(**good | {"sequence": last.sequence}), KEY
        ),
        "cannot be read": b"no record",
    }
    with asked(fleet.machines):
        for because, text in bad.items():
            fleet.put_record(text)
            fleet.await_refused(because)
        for name, house in fleet.houses.items():
            found = fleet_of(house)["record"]
            assert (found["sequence"], found["version"]) == (last.sequence, serving[name])
        fleet.publish(last.version, "canary", "--sequence", last.sequence + 1)
        eventually(lambda: not any(fleet_of(house)["refused"] for house in fleet.machines))
        fleet.await_all(last.version, [CANARY])


def test_a_full_disk_ends_a_fetch_and_it_goes_on_when_there_is_room(fleet: Fleet) -> None:
    if fleet.disk is None:
        pytest.skip("needs root to mount a small disk")
    house, before = fleet.houses[FULL], fleet.serving(FULL)
    part = Path(fleet.disk.inside(""), ".fleet-part/files/filler.bin")
    fleet.change(FULL, fleet=SLOW)
    with asked(fleet.machines):
        name = fleet.published("full", filler=FETCH_BYTES)
        eventually(part.exists)
        house.kill()
        house.configure(fleet=SLOW | {"poll": "1h"})  # or it might find the disk full before a write does
        size = part.stat().st_size
        house.start()
        eventually(lambda: part.stat().st_size > size + 100 * KIB)
        ballast = fleet.disk.fill()
        eventually(lambda: fleet_of(house)["outcome"] == "blocked")
        assert f"no room for {name}" in fleet_of(house)["because"]
        assert any(event.get("because") == "No space left on device" for event in house.events())
        assert house.serves(before) and not fleet.has(FULL, name)
        ballast.unlink()
        fleet.change(FULL)
        fleet.await_all(name, [FULL])


def test_a_daemon_that_is_killed_at_ten_moments_of_a_fetch_goes_on_where_it_was(fleet: Fleet) -> None:
    slow = fleet.houses[PLAIN]
    fleet.change(PLAIN, fleet=SLOW)
    part, before = slow.models / ".fleet-part/files/filler.bin", list[int]()
    with asked(fleet.machines):
        name = fleet.published("plain", filler=FETCH_BYTES)
        eventually(part.exists)
        first = os.open(part, os.O_RDONLY)  # no other file gets its number while it is open
        for tenth in range(10):
            at = tenth * FETCH_BYTES // 10
            eventually(lambda at=at: os.fstat(first).st_size >= at)
            slow.kill()
            if not fleet.has(PLAIN, name):  # it is there as a whole, or not at all
                before.append(tenth)
            slow.start()
        slow.configure()
        fleet.await_all(name, [PLAIN])
        assert os.fstat(first).st_ino == (slow.models / name / "filler.bin").stat().st_ino
        os.close(first)
    assert before[:1] == [0] and before == list(range(len(before)))
    assert fleet.left_over(PLAIN) == []
    fleet.change(PLAIN)


def test_all_go_back_to_the_version_before_and_stay_there(fleet: Fleet) -> None:
    two, auto = [CANARY, AUTO], fleet.houses[AUTO]
    with asked(fleet.machines):
        good = fleet.published("canary,auto")
        fleet.await_all(good, two)
        bad = fleet.published("canary,auto")
        fleet.await_all(bad, two)
        fleet.back(good)
        fleet.await_all(good, two)
        auto.kill()  # one that takes up versions by itself decides anew after a start
        auto.start()
        fleet.await_all(good, [AUTO])
        assert auto.version(bad)["state"] == "accepted"


def test_an_older_version_that_a_machine_never_had_is_served_where_the_record_wants_it(fleet: Fleet) -> None:
    old = fleet.make(comment="modelward sequence=3")
    with asked(fleet.machines):
        new = fleet.published("canary", comment="modelward sequence=9")
        fleet.await_all(new, [CANARY])
        fleet.publish(old, "canary")
        fleet.await_all(old, [CANARY])
