"""Decides whether a version is complete enough to be validated.

Pure. A copy that proves itself complete is validated at once: it was renamed into place, or has every file of its
SHA256SUMS. Any other waits until nothing has changed for a time, longer when it shows that more will come. A file that
is open for writing delays it too. Quiet does not prove completeness: after a longer pause the copy is validated, and
validated again when it changes. A version that cannot be read is rejected after that time, unless the machine is at
fault.
"""

from __future__ import annotations

from math import inf

from msgspec import Struct

from .snapshot import VersionSeen

SOONEST_SECONDS = 0.5
"""How soon a version that is being written is checked again: closing a file causes no event in the root."""
LATEST_SECONDS = 5.0
"""How late, when it is held open for writing though nothing comes."""
NOT_JUDGED = "not judged yet: "
"""How a reason begins that is no fault of the version."""
ARRIVING = "still arriving: "
"""The begin of the reason for a version that seems to be a copy under way."""


MAX_QUIET_TIMES = 10
"""A version that never comes to rest is judged, and may raise an alert, after so many quiet times."""


class Ready(Struct, frozen=True):
    """Judge it now."""

    because: str


class WaitUntil(Struct, frozen=True):
    """Check again at `until` (monotonic seconds)."""

    until: float
    because: str


class Unfit(Struct, frozen=True):
    """It cannot be read. `passing`: because of the machine, so nothing is known about the version."""

    because: str
    passing: bool = False


def proves_itself(seen: VersionSeen) -> bool:
    """Whether a version shows by itself that it is complete."""
    return seen.renamed_in or (seen.sums_complete and seen.writing is False)


def quiet_at(changed: float, restless_since: float, quiet_seconds: float) -> float:
    """When a version counts as quiet: so long after its last change, but not put off for ever by new ones."""
    return min(changed + quiet_seconds, restless_since + MAX_QUIET_TIMES * quiet_seconds)


def judge_now(
    seen: VersionSeen,
    first_seen_monotonic: float,
    changed_monotonic: float,
    now: float,
    settle_seconds: float,
    arrive_seconds: float = 0.0,
    restless_since: float = inf,
) -> Ready | WaitUntil | Unfit:
    """Whether to validate now, or when to check again. `changed_monotonic`: when its fingerprint last
    changed.

    A directory that cannot be read may still be a copy under way, so it gets the quiet time too. `writing` None (the
    files belong to another user and the daemon lacks CAP_LEASE) does not prove that no file is open: then a manifest
    alone is not enough. `arrive_seconds` is the quiet time of a version that shows that more will come,
    and `restless_since` since when it changed again and again without it.
    """
    since = max(first_seen_monotonic, changed_monotonic)
    if seen.error:
        if now - since >= settle_seconds:
            return Unfit(seen.error, seen.passing)
        return WaitUntil(since + settle_seconds, seen.error)
    if seen.writing:
        idle = (now - since) / 10
        return WaitUntil(now + min(LATEST_SECONDS, max(SOONEST_SECONDS, idle)), "a file of it is open for writing")
    if seen.renamed_in:
        return Ready("it was put in place as a whole")
    if seen.sums_complete and seen.writing is False:
        return Ready("every file of SHA256SUMS is there")
    arrived = quiet_at(since, restless_since, arrive_seconds)
    if seen.arriving and now < arrived:
        return WaitUntil(arrived, ARRIVING + seen.arriving)
    if now - since >= settle_seconds:
        return Ready(f"nothing in it changed for {settle_seconds:g} s")
    return WaitUntil(since + settle_seconds, "it may still be being copied")
