"""Which jobs a list shows: those that one owner brought, the newest first, a bounded number at a time. Pure.

Must not know which client asks: the routes do. Invariant: a job without an owner is in no list; its id alone shows it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from msgspec import Struct

from ..shared.job_records import QUEUED, JobOutcome, JobSeen, in_order

MOST_LISTED: Final = 100
"""Jobs in one answer; further ones are asked for by the id of its last."""


class ListedJob(Struct, frozen=True):
    """One line of a list: `place` and `outcome` as in a view of the job, without its text."""

    seen: JobSeen
    place: int = 0
    outcome: JobOutcome | None = None


class UnknownJob(LookupError):
    """The list cannot go on after a job that is not in it."""


def newest_of(jobs: Sequence[JobSeen], owner: str, *, most: int, after: str = "") -> tuple[list[JobSeen], bool]:
    """At most `most` jobs of this owner, those that follow the id `after` in the list, and whether there are more.

    Raises UnknownJob.
    """
    own = [job for job in jobs if owner and job.request.owner == owner]
    own.sort(key=lambda job: (job.request.created, job.request.id), reverse=True)
    start = 0
    if after:
        ids = [job.request.id for job in own]
        if after not in ids:
            raise UnknownJob(after)
        start = ids.index(after) + 1
    return own[start : start + most], len(own) > start + most


def places_of(jobs: Iterable[JobSeen]) -> dict[str, int]:
    """How many queued jobs are taken before each queued one, and one more."""
    queued = [job.request.id for job in in_order(jobs) if job.state == QUEUED]
    return {job_id: place for place, job_id in enumerate(queued, 1)}
