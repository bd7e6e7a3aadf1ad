"""What a machine does next: a table over what is here, what is open, and what an operator did."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from msgspec.structs import replace
from tests.daemon.fleet.records import ISSUED, record

from modelward.daemon.fleet.agent_planner import (
    AgentFacts,
    BegunRecord,
    FetchedPart,
    LocalVersion,
    is_open,
    plan,
    poll_delay,
    retry_delay,
)
from modelward.daemon.fleet.membership import FleetMachine
from modelward.daemon.fleet.record import FleetWave, WaveWindow
from modelward.daemon.fleet.waves import WaveProgress

NOW = ISSUED + 86_400
SHA = record().manifest_sha256
FACTS = AgentFacts(FleetMachine("m", ("canary",)), free_bytes=10_000)
OPEN = WaveProgress(7, 1)
PART = FetchedPart(SHA, 7, 500)
WINDOW = (FleetWave(labels=("canary",), window=WaveWindow("0 22 * * *", 8 * 3600)),)


def facts(**more: Any) -> AgentFacts:
    return replace(FACTS, **more)


@pytest.mark.parametrize(
    ("given", "progress", "do", "outcome", "because"),
    [
        # the way to the version
        ({}, OPEN, "fetch", "fetching", "0B of 1000B"),
        ({"part": PART}, OPEN, "fetch", "fetching", "500B of 1000B"),
        ({"part": FetchedPart("cd" * 32, 7, 500)}, OPEN, "discard", "fetching", "another record"),
        ({"part": FetchedPart(SHA, 7, 1000, True)}, OPEN, "verify", "fetching", "digests"),
        ({"part": FetchedPart(SHA, 7, 1000, True, True)}, OPEN, "rename", "judging", "model root"),
        ({"part": FetchedPart(SHA, 7, 0, wrong=3)}, OPEN, "wait", "blocked", "other bytes"),
        ({"part": FetchedPart(SHA, 6, 0, wrong=3)}, OPEN, "fetch", "fetching", "0B of 1000B"),
        ({"part": FetchedPart(SHA, 7, 1000, True, True), "retry_at": NOW + 9, "fetch_trouble": "v2: File exists"}, OPEN,
         "wait", "blocked", "v2 cannot be put into the model root: v2: File exists"),
        ({"free_bytes": 1500, "keep_free_bytes": 501}, OPEN, "wait", "blocked", "no room"),
        ({"free_bytes": 1001, "keep_free_bytes": 501, "part": PART}, OPEN, "fetch", "fetching", ""),
        ({"retry_at": NOW + 9, "fetch_trouble": "no route"}, OPEN, "wait", "fetching", "no route"),
        ({"retry_at": NOW}, OPEN, "fetch", "fetching", ""),
        # what is left over goes, and keeps nothing waiting
        ({"part": PART, "wanted": LocalVersion(True, "accepted", live=True)}, OPEN, "discard", "fetching", "removed"),
        ({"part": PART, "wanted": LocalVersion(True, "accepted", live=True), "retry_at": NOW + 9,
          "fetch_trouble": "denied"}, OPEN, "nothing", "serving", ""),
        ({"part": FetchedPart("cd" * 32, 6, 500)}, WaveProgress(7, 0), "discard", "fetching", "removed"),
        # what is not open
        ({}, WaveProgress(7, 0), "wait", "waiting", "wave 1 is not open yet"),
        ({}, WaveProgress(6, 3), "wait", "waiting", "wave 1 is not open yet"),
        ({"machine": FleetMachine("m", ("x",))}, OPEN, "wait", "waiting", "not open yet"),
        ({}, replace(OPEN, halted="bad"), "wait", "waiting", "halted: bad"),
        ({}, None, "fetch", "fetching", ""),
        ({"ended": "record 7 ended"}, OPEN, "nothing", "waiting", "ended"),
        # the version is here
        ({"wanted": LocalVersion(False, "accepted")}, OPEN, "wait", "blocked", "another version with the name v2"),
        ({"wanted": LocalVersion(True, "judging")}, OPEN, "wait", "judging", ""),
        ({"wanted": LocalVersion(True, "rejected", "golden"), "begun": BegunRecord(7)}, OPEN, "nothing",
         "failed", "golden"),
        ({"wanted": LocalVersion(True, "rejected", "golden"), "begun": BegunRecord(6)}, OPEN, "judge_again",
         "judging", ""),
        ({"held": True, "begun": BegunRecord(7, 1, True)}, OPEN, "wait", "blocked", "held on this machine"),
        ({"held": True}, OPEN, "wait", "blocked", "held on this machine"),
        ({"begun": BegunRecord(7, 1, True), "serving": "v9"}, OPEN, "nothing", "drifted", "serves v9: v2 was removed"),
        ({"wanted": LocalVersion(True, "rejected", "golden")}, WaveProgress(7, 1, 2), "judge_again", "judging", ""),
        ({"wanted": LocalVersion(True, "accepted", live=True)}, None, "nothing", "serving", ""),
        ({"wanted": LocalVersion(True, "accepted")}, OPEN, "activate", "judging", "goes live"),
        ({"wanted": LocalVersion(True, "accepted")}, WaveProgress(7, 0), "wait", "waiting", "not open"),
        ({"wanted": LocalVersion(True, "accepted", held=True)}, OPEN, "wait", "blocked", "held"),
        ({"wanted": LocalVersion(True, "accepted"), "begun": BegunRecord(7, 1, True), "serving": "v9"}, OPEN, "nothing",
         "drifted", "serves v9: somebody"),
        ({"wanted": LocalVersion(True, "accepted"), "begun": BegunRecord(6, 1, True)}, OPEN, "activate", "judging", ""),
    ],
)  # fmt: skip
def test_the_next_step(
    given: dict[str, Any], progress: WaveProgress | None, do: str, outcome: str, because: str
) -> None:
    step = plan(record(), progress, facts(**given), NOW)
    assert (step.do, step.outcome, because in step.because) == (do, outcome, True), step.because
    assert step.begun.sequence == 7


def test_a_version_that_failed_is_tried_once_more_when_it_is_published_again_and_its_wave_is_open() -> None:
    failed = facts(wanted=LocalVersion(True, "rejected", "golden"), begun=BegunRecord(6, 2))
    for wanted, progress in (
        (record(), WaveProgress(7, 0)),
        (record(), replace(OPEN, halted="bad")),
        (record(hold=True), None),
    ):
        waits = plan(wanted, progress, failed, NOW)
        assert (waits.outcome, waits.begun) == ("waiting", failed.begun)  # it remembers nothing that ends its try
    for progress in (OPEN, None):
        again = plan(record(), progress, failed, NOW)
        assert (again.do, again.begun) == ("judge_again", BegunRecord(7))
        over = plan(record(), progress, replace(failed, begun=again.begun), NOW)
        assert (over.do, over.outcome, over.because) == ("nothing", "failed", "golden")


def test_a_machine_of_no_wave_and_a_record_on_hold_do_nothing() -> None:
    only = (FleetWave(labels=("lab",)),)
    assert plan(record(waves=only), OPEN, FACTS, NOW).because == "no wave of the record holds this machine"
    assert plan(record(hold=True), OPEN, FACTS, NOW).do == "wait"
    serving = facts(wanted=LocalVersion(True, "accepted", live=True))
    assert plan(record(hold=True), OPEN, serving, NOW).outcome == "serving"


def test_without_a_keeper_waves_open_after_the_signed_pauses_and_with_one_never_before() -> None:
    rest = facts(machine=FleetMachine("m", ()))
    everything_open = WaveProgress(7, 3)
    for progress in (None, everything_open):
        early = plan(record(), progress, rest, ISSUED + 599)
        assert (early.do, early.until >= ISSUED + 600) == ("wait", True)
        assert plan(record(), progress, rest, ISSUED + 660).do == "fetch"


def test_a_clock_that_is_late_does_not_keep_a_machine_from_an_open_wave() -> None:
    rest, late = facts(machine=FleetMachine("m", ())), ISSUED - 86_400
    for followed, do in ((0, "wait"), (659, "wait"), (660, "fetch")):
        assert plan(record(), WaveProgress(7, 3), replace(rest, followed_seconds=followed), late).do == do


def test_a_request_is_made_once_and_remembered_before_it_is_made() -> None:
    step = plan(record(), OPEN, facts(wanted=LocalVersion(True, "accepted")), NOW)
    assert step.begun == BegunRecord(7, 1, True)
    again = plan(record(), OPEN, facts(wanted=LocalVersion(True, "accepted"), begun=step.begun), NOW)
    assert again.outcome == "drifted"
    retried = plan(record(), WaveProgress(7, 1, 3), facts(wanted=LocalVersion(True, "rejected"), begun=step.begun), NOW)
    assert retried.begun == BegunRecord(7, 3, False)


@pytest.mark.parametrize(("clock", "opens"), [("21:59", False), ("22:00", True), ("05:59", True), ("06:00", False)])
def test_bytes_come_at_any_time_and_the_version_is_taken_up_in_the_window(clock: str, opens: bool) -> None:
    zone = ZoneInfo("Asia/Shanghai")
    now = datetime.fromisoformat(f"2026-12-03T{clock}").replace(tzinfo=zone).timestamp()
    assert is_open(WINDOW[0].window or WaveWindow("", 0), zone, now) is opens
    wanted = record(waves=WINDOW)
    assert plan(wanted, OPEN, facts(zone=zone), now).do == "fetch"
    for here, do in (
        ({"part": FetchedPart(SHA, 7, 1000, True, True)}, "rename"),
        ({"wanted": LocalVersion(True, "accepted")}, "activate"),
    ):
        step = plan(wanted, OPEN, facts(zone=zone, **here), now)
        assert step.do == (do if opens else "wait")
        if not opens:
            assert datetime.fromtimestamp(step.until, zone).strftime("%H:%M") == "22:00"


def test_machines_ask_at_different_times_and_each_stays_within_its_limits() -> None:
    delays = [poll_delay(f"m{n}", 60, 1) for n in range(500)]
    assert 54 <= min(delays) < 55
    assert 65 < max(delays) <= 66
    for failures in range(40):
        assert 1 <= retry_delay("m", failures) <= 30
    assert len({retry_delay(f"m{n}", 9) for n in range(50)}) > 40
