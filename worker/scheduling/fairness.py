"""Which request gets the next slot that workers share. Pure.

A slot is the right to run the model once. The oldest request of all workers gets the next one. A worker that does not
take a free slot is passed over. A request that gets none for long while no holder makes progress runs without one.
Invariant: with every worker alive, slots are given in the order in which they were asked for.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

NUMBER_BITS: Final = 12  # workers have numbers below 1 << NUMBER_BITS
PATIENCE_SECONDS: Final = 2.0


def mark(since_ns: int, number: int) -> int:
    """Where a worker stands in the line: since when its oldest request waits (the machine's monotonic clock)."""
    return (since_ns // 1000) << NUMBER_BITS | number


def number_of(mark: int) -> int:
    """The worker that stands there."""
    return mark & (1 << NUMBER_BITS) - 1


def is_first(mine: int, others: Collection[int], passed_over: Collection[int]) -> bool:
    """Whether the next slot belongs to the mark `mine`; `others` are the marks of all other workers."""
    return all(other > mine or other in passed_over for other in others)


def next_in_line(others: Collection[int], passed_over: Collection[int]) -> int | None:
    """The mark of whom to wake because a slot is free; None when nobody waits."""
    return min((other for other in others if other not in passed_over), default=min(others, default=None))


def idle_ahead(mine: int, others: Collection[int], *, slot_free: bool) -> frozenset[int]:
    """Those who could take a slot now and stand before `mine`."""
    return frozenset(other for other in others if other < mine) if slot_free else frozenset()


def passed_over(
    before: Collection[int], idle_before: Collection[int], idle_now: Collection[int], others: Collection[int]
) -> frozenset[int]:
    """Who does not count in the line: those of `before` who still wait, and who left a slot lying at two looks running.

    Such a worker is stopped, or hangs.
    """
    lazy = set(idle_before) & set(idle_now) | set(before)
    return frozenset(other for other in others if other in lazy)


def moved_on(mine: int, before: Collection[int], now: Collection[int]) -> bool:
    """Whether somebody stood before `mine` at one look and no more at the next: the line moves, nothing hangs."""
    return any(other < mine for other in set(before) - set(now))


def goes_alone(*, running: int, denied_seconds: float, alone_already: bool) -> bool:
    """Whether a worker that gets no slot runs one piece of work without: those who hold them may hang.

    Once it came to that, it stays so until a slot is had again: waiting anew for each request would be no service.
    """
    return running == 0 and (alone_already or denied_seconds >= PATIENCE_SECONDS)
