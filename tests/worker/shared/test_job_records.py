"""The order of jobs, their position, and which version heard what."""

from __future__ import annotations

from modelward.worker.shared.job_records import (
    DONE,
    FAILED,
    QUEUED,
    RUNNING,
    JobOutcome,
    JobRequest,
    JobSeen,
    JobVersion,
    in_order,
    is_id,
    job_as_json,
    merged,
    position,
)


def job(name: str, at: float, client: str, state: str = QUEUED, *, claimed: bool = False) -> JobSeen:
    return JobSeen(JobRequest(name, at, client), state, claimed)


def names(jobs: list[JobSeen]) -> list[str]:
    return [entry.request.id for entry in in_order(jobs)]


def test_clients_take_turns_so_that_many_jobs_of_one_delay_no_other() -> None:
    jobs = [
        job("a1", 1, "a"),
        job("a2", 2, "a"),
        job("a3", 3, "a"),
        job("b1", 4, "b"),
        job("c1", 5, "c"),
        job("b2", 6, "b"),
    ]
    assert names(jobs) == ["a1", "b1", "c1", "a2", "b2", "a3"]
    assert position("a3", jobs) == 6 and position("b1", jobs) == 2


def test_a_client_whose_job_runs_comes_after_those_that_have_none() -> None:
    jobs = [job("a1", 1, "a", RUNNING, claimed=True), job("a2", 2, "a"), job("b1", 3, "b")]
    assert names(jobs) == ["a1", "b1", "a2"]
    assert position("a2", jobs) == 2 and position("a1", jobs) == 0


def test_what_a_worker_left_behind_comes_first() -> None:
    assert names([job("a", 1, "x"), job("b", 2, "y", claimed=True)]) == ["b", "a"]


def test_jobs_that_ended_have_no_place() -> None:
    jobs = [job("a", 1, "x", DONE), job("b", 2, "x", FAILED), job("c", 3, "x")]
    assert names(jobs) == ["c"] and position("a", jobs) == 0 and position("c", jobs) == 1


def test_parts_of_one_version_that_follow_one_another_are_one_part() -> None:
    old, new = ("v1", "d1"), ("v2", "d2")
    parts = [JobVersion(*old, 0, 5), JobVersion(*old, 6, 9), JobVersion(*new, 9, 12), JobVersion(*old, 12, 13)]
    assert merged(parts) == (JobVersion(*old, 0, 9), JobVersion(*new, 9, 12), JobVersion(*old, 12, 13))


def test_only_names_that_were_made_here_are_ids() -> None:
    assert is_id("job_" + "0af" * 10 + "00")
    for name in ("", "job_", "job_" + "A" * 32, "../job_" + "0" * 32, "job_" + "0" * 32 + "\n", "job_" + "0" * 33):
        assert not is_id(name)


def test_a_failed_job_shows_its_error_and_when_it_goes() -> None:
    outcome = JobOutcome(FAILED, 100.0, error="cannot read it", code="damaged_audio")
    body = job_as_json(JobRequest("x", 0.0), FAILED, outcome=outcome, keep_seconds=60)
    assert body["error"]["code"] == "damaged_audio" and body["expires"] == "1970-01-01T00:02:40Z"
    assert "owner" not in body and "client" not in body
