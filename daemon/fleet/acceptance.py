"""Decides whether a signed record is followed: never an older one, never one past its end. Pure.

Clocks of machines may be wrong. No reading of the own clock is remembered; what is remembered are the number of the
last record and when it was issued, which a key signed. Invariant: whatever the clock shows, no record with a lower
number is followed, and none whose end is before the last one's issue. A clock that is late delays for a day at most.
"""

from __future__ import annotations

from typing import Final, Literal

from msgspec import Struct

from ...worker.shared.quantities import span
from ..units import DAY, HOUR
from .signature import SignedRecord

CLOCK_ERROR_SECONDS: Final = DAY + HOUR
"""A clock that is wrong by a day, or by a time zone, is a common mistake, and no reason to stay behind."""
PATIENCE_SECONDS: Final = DAY
"""How long, by a clock that only counts, a record from the future waits; then the own clock stays wrong."""


class LastTaken(Struct, frozen=True):
    """The record that is followed. `issued_at` is at most CLOCK_ERROR_SECONDS later than the clock was then."""

    sequence: int
    digest: str
    issued_at: float


class Acceptance(Struct, frozen=True):
    """`take`: follow it, and remember `taken`. `keep`: it is followed already. `refuse`: it is not followed, and the
    last one is. `wait`: as refused, until the clock is right."""

    do: Literal["take", "keep", "refuse", "wait"]
    because: str
    taken: LastTaken | None = None


def accept(offered: SignedRecord, last: LastTaken | None, now: float, seen_seconds: float) -> Acceptance:
    """`now` is the wall clock, `seen_seconds` how long this record has been offered, by a clock that only counts."""
    record = offered.record
    if last is not None and record.sequence < last.sequence:
        because = (
            f"the record has the number {record.sequence}, and number {last.sequence} is followed: it is an old one"
        )
        return Acceptance("refuse", because)
    if last is not None and record.sequence == last.sequence:
        if offered.digest == last.digest:
            return Acceptance("keep", f"record {record.sequence} is followed already")
        because = f"there are two different records with the number {record.sequence}: publish one with a higher number"
        return Acceptance("refuse", because)
    if record.expires_at <= max(now, last.issued_at if last is not None else now):
        because = f"record {record.sequence} ended at {record.expires}: publish it again, or set this machine's clock"
        return Acceptance("refuse", because)
    ahead = record.issued_at - now
    if ahead > CLOCK_ERROR_SECONDS and seen_seconds < PATIENCE_SECONDS:
        return Acceptance(
            "wait",
            f"record {record.sequence} was issued {span(ahead)} from now by this machine's clock: set the clock; "
            f"otherwise it is followed in {span(PATIENCE_SECONDS - seen_seconds)}",
        )
    taken = LastTaken(record.sequence, offered.digest, min(record.issued_at, now + CLOCK_ERROR_SECONDS))
    return Acceptance("take", f"record {record.sequence} wants {record.version}", taken)


def in_force(offered: SignedRecord, last: LastTaken | None, now: float) -> str:
    """Why the record that is followed no longer begins anything; "" while it does."""
    if last is None or offered.record.expires_at > max(now, last.issued_at):
        return ""
    return f"record {offered.record.sequence} ended at {offered.record.expires}: nothing new begins"
