"""Waves open one after the other, on successes alone; failures and silence never open one."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.daemon.fleet.records import EXPIRES, ISSUED, WAVES, record

from modelward.daemon.fleet.membership import FleetMachine, place, wave_of
from modelward.daemon.fleet.record import FleetWave
from modelward.daemon.fleet.reports import MachineReport, ReceivedReport
from modelward.daemon.fleet.waves import (
    MAX_HALTED_CHARS,
    SEEN_SECONDS,
    WaveProgress,
    WaveStep,
    census,
    next_step,
    resumed,
    stopped,
)

NOW = ISSUED + 3600
CANARY = FleetMachine("c", ("canary",))
LOW = [FleetMachine(name) for n in range(200) if place(name := f"m{n}") < 25][:4]
HIGH = [FleetMachine(name) for n in range(200) if place(name := f"m{n}") >= 25][:4]
OPEN = WaveProgress(7, 1)


def report(machine: FleetMachine, outcome: str, ago: float = 0.0, **more: Any) -> ReceivedReport:
    fields: dict[str, Any] = {"sequence": 7, "because": "golden" if outcome == "failed" else "", **more}
    return ReceivedReport(MachineReport(machine.name, machine.labels, outcome=outcome, **fields), NOW - ago)


def step(progress: WaveProgress, *reports: ReceivedReport, now: float = NOW, **more: Any) -> WaveStep:
    return next_step(record(**more), progress, reports, now)


def test_the_first_wave_opens_by_itself_from_its_moment_on() -> None:
    assert step(WaveProgress()).do == "open"
    assert step(WaveProgress(6, 3, done=True)).progress == WaveProgress(7, 1)  # another record begins at the start
    later = step(WaveProgress(), not_before="2026-12-02T00:00:00Z")
    assert (later.do, later.until) == ("wait", ISSUED + 18 * 3600)


@pytest.mark.parametrize(
    ("reports", "do", "because"),
    [
        ([], "wait", "no machine of wave 1 was seen lately"),
        ([report(CANARY, "waiting", sequence=6)], "wait", "1 on the way"),
        ([report(CANARY, "serving", sequence=6)], "wait", "1 on the way"),
        ([report(CANARY, "judging")], "wait", "1 on the way"),
        ([report(CANARY, "blocked")], "wait", "1 cannot take it"),
        ([report(CANARY, "drifted")], "wait", "1 cannot take it"),
        ([report(CANARY, "fetching", SEEN_SECONDS + 1)], "wait", "no machine of wave 1"),
        ([report(CANARY, "judging", SEEN_SECONDS + 1)], "wait", "1 not seen since they began"),
        ([report(CANARY, "serving", SEEN_SECONDS + 1)], "wait", "1 not seen since they began"),
        ([report(CANARY, "serving", -SEEN_SECONDS - 1)], "wait", "1 not seen since they began"),
        ([report(HIGH[0], "serving")], "wait", "no machine of wave 1"),
        ([report(CANARY, "failed")], "halt", "1 machine failed, at most 0 may: c: golden"),
        ([report(CANARY, "failed", 10 * SEEN_SECONDS)], "halt", "1 machine failed"),
        ([report(CANARY, "serving")], "wait", "the pause before wave 2 takes 10m more"),
    ],
)
def test_what_one_wave_waits_for(reports: list[ReceivedReport], do: str, because: str) -> None:
    found = step(OPEN, *reports)
    assert (found.do, because in found.because) == (do, True), found.because
    assert found.progress.open == 1


def test_the_pause_counts_from_when_it_was_good_and_starts_again_when_it_is_not() -> None:
    good = step(OPEN, report(CANARY, "serving"))
    assert (good.until, good.progress.met_at) == (NOW + 600, NOW)
    assert step(good.progress, now=NOW + 300).progress.met_at == 0
    received = ReceivedReport(report(CANARY, "serving").report, NOW + 600)
    assert next_step(record(), good.progress, [received], NOW + 599).do == "wait"
    opened = next_step(record(), good.progress, [received], NOW + 600)
    assert (opened.do, opened.wave, opened.progress) == ("open", 2, WaveProgress(7, 2))


def test_the_signed_pauses_hold_also_for_a_keeper_that_forgot() -> None:
    soon = ISSUED + 30
    found = next_step(record(), WaveProgress(7, 1, met_at=1.0), [replace(report(CANARY, "serving"), at=soon)], soon)
    assert (found.do, found.until) == ("wait", ISSUED + 600)


def test_shares_and_errors_are_of_the_machines_that_were_seen() -> None:
    canary, two = report(CANARY, "serving"), WaveProgress(7, 2, met_at=NOW - 60)
    good = [canary, report(LOW[0], "serving"), report(LOW[1], "serving")]
    assert step(two, *good, report(LOW[2], "fetching"), report(LOW[3], "fetching")).do == "open"
    assert step(two, *good[:2], report(LOW[2], "fetching"), report(LOW[3], "fetching")).do == "wait"
    assert step(two, *good[:2], report(LOW[2], "fetching", 1e6), report(LOW[3], "fetching", 1e6)).do == "open"
    assert step(two, *good, report(LOW[2], "failed")).do == "open"
    assert "2 machines failed" in step(two, *good, report(LOW[2], "failed"), report(LOW[3], "failed")).because
    few = step(two, canary, report(LOW[0], "failed"))
    assert (few.do, "50% must succeed" in few.because) == ("halt", True)
    # A failure of an earlier wave counts too, however late it comes.
    assert step(two, report(CANARY, "failed"), report(LOW[0], "failed"), *good[1:]).do == "halt"


def test_the_last_wave_is_done_when_nobody_is_on_the_way() -> None:
    three, good = WaveProgress(7, 3), [report(CANARY, "serving"), report(HIGH[0], "serving")]
    assert step(three, *good, report(HIGH[1], "fetching")).do == "wait"
    done = step(three, *good, report(HIGH[1], "fetching", 1e6))
    assert (done.do, done.progress.done) == ("done", True)
    assert "1 machine not seen lately will follow" in done.because
    assert step(done.progress, *good).progress == done.progress
    assert step(done.progress, *good, report(HIGH[1], "failed")).do == "halt"


def test_a_halt_lasts_until_it_is_resumed_and_then_only_failures_are_tried_again() -> None:
    halted = step(OPEN, report(CANARY, "failed")).progress
    assert step(halted, report(CANARY, "serving")).do == "halt"
    again = resumed(halted)
    assert step(again, report(CANARY, "failed")).because.endswith("1 on the way")
    assert step(again, report(CANARY, "serving")).progress.met_at == NOW
    assert step(again, report(CANARY, "failed", attempt=2)).do == "halt"
    assert step(stopped(OPEN, "by hand"), report(CANARY, "serving")).because == "by hand"


def test_a_record_on_hold_or_past_its_end_opens_nothing() -> None:
    assert step(WaveProgress(), hold=True).do == "halt"
    assert step(WaveProgress(), now=EXPIRES).do == "halt"


OUTCOMES = ("waiting", "fetching", "judging", "serving", "failed", "blocked", "drifted")
MACHINES = [CANARY, *LOW, *HIGH]


@given(
    st.lists(
        st.tuples(
            st.sampled_from(MACHINES), st.sampled_from(OUTCOMES), st.sampled_from([0.0, 1e4]), st.sampled_from([6, 7])
        ),
        max_size=9,
        unique_by=lambda each: each[0],
    ),
    st.integers(1, 3),
    st.sampled_from([0.0, NOW - 1e5]),
)
def test_no_wave_opens_without_a_success_or_over_too_many_failures(
    drawn: list[tuple[FleetMachine, Any, float, int]], opened: int, met_at: float
) -> None:
    reports = [report(m, outcome, ago, sequence=sequence) for m, outcome, ago, sequence in drawn]
    progress = WaveProgress(7, opened, met_at=met_at)
    found = next_step(record(), progress, reports, NOW)
    assert found.progress.open - opened == (found.do == "open")
    assert found == next_step(record(), progress, list(reversed(reports)), NOW) or found.do == "halt"
    own = [each for each in drawn if wave_of(WAVES, each[0]) == opened - 1 and each[3] == 7]
    failed = [m for m, outcome, _, sequence in drawn if outcome == "failed" and sequence == 7]
    failed = [m for m in failed if (wave_of(WAVES, m) or 0) < opened]
    counts = census(record(), progress, reports, NOW)
    passed = WAVES[opened - 1].percent and not counts[opened - 1].known  # a share without machines
    if found.do in ("open", "done") and passed:
        assert reports and len(failed) <= WAVES[opened - 1].max_errors
    elif found.do in ("open", "done"):
        assert any(outcome == "serving" and ago == 0 for _, outcome, ago, _ in own)
        assert len(failed) <= WAVES[opened - 1].max_errors
    if len(failed) > WAVES[opened - 1].max_errors:
        assert found.do == "halt"
    assert sum(each.counted + each.late for each in counts) == len(reports)


def test_machines_of_no_wave_are_not_counted() -> None:
    one = (FleetWave(labels=("canary",)),)
    counts = census(record(waves=one), OPEN, [report(CANARY, "serving"), report(LOW[0], "failed")], NOW)
    assert [(each.serving, each.counted) for each in counts] == [(1, 1)]


def test_a_share_that_holds_nobody_is_passed_and_labels_that_nobody_has_are_not() -> None:
    empty = (FleetWave(labels=("canary",)), FleetWave(percent=0.01), FleetWave(percent=100.0))
    canary, other = report(CANARY, "serving"), report(HIGH[0], "waiting")
    passed = step(WaveProgress(7, 2), canary, other, waves=empty)
    assert (passed.do, passed.wave, passed.because) == ("open", 3, "wave 2 holds no machine of its own")
    assert step(WaveProgress(7, 2), waves=empty).do == "wait"  # nobody has ever reported
    assert step(WaveProgress(7, 2), report(CANARY, "failed"), other, waves=empty).do == "halt"
    late = step(WaveProgress(7, 2), canary, report(LOW[0], "waiting", 1e6), waves=(empty[0], FleetWave(percent=99.0)))
    assert late.do == "wait"  # it is in that share, and was not seen lately
    labels = (empty[0], FleetWave(labels=("lab",)), empty[2])
    assert step(WaveProgress(7, 2), canary, other, waves=labels).do == "wait"
    paused = (empty[0], FleetWave(percent=0.01, pause=86_400), empty[2])
    assert step(WaveProgress(7, 2), canary, other, waves=paused).until == ISSUED + 86_400
    last = (empty[0], FleetWave(percent=0.01))
    assert step(WaveProgress(7, 2), canary, waves=last).do == "done"


def test_a_halt_is_never_too_large_to_be_kept() -> None:
    loud = [report(replace_name(CANARY, n), "failed", because="\x01" * 600) for n in range(3)]
    halted = step(WaveProgress(7, 1), *loud).progress.halted
    assert halted.startswith("3 machines failed") and len(halted) <= MAX_HALTED_CHARS
    assert len(stopped(OPEN, "x" * 10_000).halted) == MAX_HALTED_CHARS


def replace_name(machine: FleetMachine, number: int) -> FleetMachine:
    return replace(machine, name=f"{machine.name}{number}" + "x" * 240)
