"""A callback is tried again with growing pauses, and given up in the end."""

from __future__ import annotations

from modelward.daemon.jobs.callback_planner import (
    AT_ONCE,
    GIVEN_UP,
    MOST_TRIES,
    PAUSES_SECONDS,
    after_try,
    is_due,
    to_begin,
)
from modelward.daemon.jobs.jobs_seen import JobsSeen, StandstillClock
from modelward.worker.shared.job_records import CallbackRecord, JobRequest


def test_the_first_try_is_at_once_and_the_next_after_its_pause() -> None:
    record = CallbackRecord()
    assert is_due(record, 1000.0)
    for pause in (*PAUSES_SECONDS, PAUSES_SECONDS[-1]):
        record = after_try(record, "refused", 1000.0)
        assert not is_due(record, 1000.0 + pause - 0.1) and is_due(record, 1000.0 + pause)


def test_a_clock_that_was_set_back_does_not_delay_it_for_ever() -> None:
    assert is_due(after_try(CallbackRecord(), "refused", 1e9), 5.0)


def test_what_was_delivered_or_given_up_is_not_tried_again() -> None:
    assert not is_due(after_try(CallbackRecord(), "", 0.0), 1e9)
    assert not is_due(after_try(CallbackRecord(), "no", 0.0, for_good=True), 1e9)
    record = CallbackRecord()
    for _ in range(MOST_TRIES):
        record = after_try(record, "refused", 0.0)
    assert record.state == GIVEN_UP and record.tries == MOST_TRIES and record.because == "refused"


def test_a_standstill_lasts_from_the_last_progress_and_new_jobs_are_none() -> None:
    clock = StandstillClock()
    assert clock.seconds(frozenset(), 0, 10.0) == 0
    assert clock.seconds(frozenset({("a", 1)}), 1, 20.0) == 0
    assert clock.seconds(frozenset({("a", 1)}), 2, 50.0) == 30
    assert clock.seconds(frozenset({("a", 2)}), 2, 60.0) == 0
    assert clock.seconds(frozenset({("a", 2)}), 0, 90.0) == 0


def test_room_is_used_by_count_or_by_bytes() -> None:
    assert JobsSeen({"queued": 1, "done": 4}, 50).used_percent(10, 1000) == 50
    assert JobsSeen({"queued": 1}, 900).used_percent(10, 1000) == 90


def test_one_client_s_receivers_leave_room_for_those_of_others() -> None:
    of_one = [JobRequest(f"a{number}", float(number), "a") for number in range(10)]
    of_other = JobRequest("b", 99.0, "b")
    begun = to_begin([*of_one, of_other], [])
    assert begun == [*of_one[: AT_ONCE // 2], of_other]
    assert to_begin([*of_one, of_other], begun) == []
    assert to_begin(of_one[5:], of_one[:1]) == of_one[5 : 5 + AT_ONCE // 2 - 1]
    assert len(to_begin([JobRequest(str(number), 0.0, str(number)) for number in range(10)], [])) == AT_ONCE
