"""Decides which request gets the next slot that workers share. Pure.

A slot is the right to run the model once. The oldest request of all workers gets the next one. A worker that does not
take a free slot is skipped. A request that gets no slot for long, while no holder makes progress, runs without one.
Invariant: with every worker alive, slots are given in the order of the requests.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

NUMBER_BITS: Final = 12  # workers have numbers below 1 << NUMBER_BITS
PATIENCE_SECONDS: Final = 2.0


def mark(since_ns: int, number: int) -> int:
    """The place of a worker in the queue: since when its oldest request waits (the machine's monotonic clock)."""
    return (since_ns // 1000) << NUMBER_BITS | number


def number_of(mark: int) -> int:
    """The number of the worker with this mark."""
    return mark & (1 << NUMBER_BITS) - 1


def is_first(mine: int, others: Collection[int], passed_over: Collection[int]) -> bool:
    """Whether the next slot belongs to the mark `mine`; `others` are the marks of all other workers."""
    return all(other > mine or other in passed_over for other in others)


def next_in_line(others: Collection[int], passed_over: Collection[int]) -> int | None:
    """The mark of the worker to wake because a slot is free; None when none waits."""
    return min((other for other in others if other not in passed_over), default=min(others, default=None))


def idle_ahead(mine: int, others: Collection[int], *, slot_free: bool) -> frozenset[int]:
    """The marks before `mine` of workers that could take a slot now."""
    return frozenset(other for other in others if other < mine) if slot_free else frozenset()


def passed_over(
    before: Collection[int], idle_before: Collection[int], idle_now: Collection[int], others: Collection[int]
) -> frozenset[int]:
    """The marks that do not count in the queue: those of `before` that still wait, and left a slot free at two checks
    in a row.

    Such a worker is stopped, or hangs.
    """
    lazy = set(idle_before) & set(idle_now) | set(before)
    return frozenset(other for other in others if other in lazy)


def moved_on(mine: int, before: Collection[int], now: Collection[int]) -> bool:
    """Whether a mark was before `mine` at one check and no longer at the next: the queue moves, nothing hangs."""
    return any(other < mine for other in set(before) - set(now))


def goes_alone(*, running: int, denied_seconds: float, alone_already: bool) -> bool:
    """Whether a worker that gets no slot runs one piece of work without: the holders may hang.

    After the first time it stays so until it gets a slot again: a new wait for each request would be no service.
    """
    return running == 0 and (alone_already or denied_seconds >= PATIENCE_SECONDS)
