"""A job over which workers die is given up; one that makes progress never is."""

from __future__ import annotations

from modelward.worker.jobs.deaths import MOST, MOST_ALONE, next_claim, poisoned
from modelward.worker.shared.job_records import JobClaim


def deaths(*then: tuple[str, int]) -> JobClaim:
    """The last claim after workers of these runs, with so many pieces done, died one after the other."""
    claim = None
    for run, pieces in then:
        claim = next_claim(claim, worker="w", run=run, pieces=pieces)
    assert claim is not None
    return claim


def test_a_first_claim_counts_no_death() -> None:
    assert deaths(("one", 7)) == JobClaim("w", "one", 7)


def test_two_workers_that_die_alone_over_one_piece_end_the_job() -> None:
    assert not poisoned(deaths(("one", 3), ("one", 3)))
    assert "2 workers ended" in poisoned(deaths(("one", 3), ("one", 3), ("one", 3)))
    assert MOST_ALONE == 2


def test_progress_begins_the_count_anew() -> None:
    claim = deaths(*(("one", pieces) for pieces in range(50)))
    assert (claim.deaths, claim.deaths_alone) == (1, 1) and not poisoned(claim)


def test_deaths_with_the_daemon_count_less_but_count() -> None:
    runs = [(f"run {number}", 0) for number in range(MOST + 1)]
    assert not poisoned(deaths(*runs[:-1]))
    assert poisoned(deaths(*runs))
