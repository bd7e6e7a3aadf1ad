"""Decides when a job is given up because workers die during it. Pure.

If a worker dies twice at the same piece while the daemon lives on, the job is at fault. If the daemon ended too, the
machine or an operator may be the cause, so more deaths are allowed. Invariant: a job that makes progress is never given
up, and a job without progress is not tried for ever.
"""

from __future__ import annotations

from typing import Final

from ..shared.job_records import JobClaim

MOST_ALONE: Final = 2
"""Workers that die during the same piece while their daemon lives on."""
MOST: Final = 5
"""Workers that die during the same piece for any reason."""


def next_claim(former: JobClaim | None, *, worker: str, run: str, pieces: int) -> JobClaim:
    """The claim of a worker in the daemon's run `run`, with `pieces` done. `former`: the claim of a worker that
    died.
    """
    if former is None:
        return JobClaim(worker, run, pieces)
    alone = int(former.run == run)
    if pieces > former.pieces:
        return JobClaim(worker, run, pieces, 1, alone)
    return JobClaim(worker, run, pieces, former.deaths + 1, former.deaths_alone + alone)


def poisoned(claim: JobClaim) -> str:
    """Why the job has to be given up; "" when it may be tried."""
    if claim.deaths_alone >= MOST_ALONE:
        return f"{claim.deaths_alone} workers ended while they worked on piece {claim.pieces + 1} of it"
    if claim.deaths >= MOST:
        return f"{claim.deaths} times a worker ended while it worked on piece {claim.pieces + 1} of it"
    return ""
