"""Which jobs stand in a list, in which order, and where it goes on."""

from __future__ import annotations

import pytest

from modelward.worker.jobs.listing import UnknownJob, newest_of, places_of
from modelward.worker.shared.job_records import DONE, QUEUED, JobRequest, JobSeen, position


def job(number: int, owner: str, state: str = QUEUED, client: str = "c") -> JobSeen:
    return JobSeen(JobRequest(f"job_{number:032x}", float(number), client=client, owner=owner), state)


JOBS = [job(3, "a"), job(1, "a", DONE), job(2, "b"), job(5, ""), job(4, "a", client="d")]


def ids(found: list[JobSeen]) -> list[int]:
    return [int(seen.request.created) for seen in found]


@pytest.mark.parametrize(
    ("owner", "most", "after", "found", "more"),
    [
        ("a", 10, "", [4, 3, 1], False),
        ("a", 2, "", [4, 3], True),
        ("a", 2, f"job_{3:032x}", [1], False),
        ("a", 2, f"job_{1:032x}", [], False),
        ("b", 10, "", [2], False),
        ("c", 10, "", [], False),
        ("", 10, "", [], False),
    ],
)
def test_an_owner_is_shown_its_own_the_newest_first(
    owner: str, most: int, after: str, found: list[int], more: bool
) -> None:
    listed, are_more = newest_of(JOBS, owner, most=most, after=after)
    assert (ids(listed), are_more) == (found, more)


@pytest.mark.parametrize("number", [2, 5, 9])
def test_a_list_does_not_go_on_after_what_is_not_in_it(number: int) -> None:
    with pytest.raises(UnknownJob):
        newest_of(JOBS, "a", most=10, after=f"job_{number:032x}")


def test_places_are_those_of_each_job_by_itself() -> None:
    places = places_of(JOBS)
    assert places == {seen.request.id: position(seen.request.id, JOBS) for seen in JOBS if seen.state == QUEUED}
