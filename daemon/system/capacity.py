"""Decides how many workers and threads fit on this machine, and how many bytes. Pure: figures in, answers with reasons
out.

Processors are those that the scheduler and the CPU quotas allow. Memory is that of the machine or of the tightest
control group. An unknown figure sets no limit. Invariant: at least one worker, whatever the figures are.
"""

from __future__ import annotations

from math import ceil
from typing import Final

from msgspec import Struct

MOST_LONE_THREADS: Final = 8
"""More threads hardly make one clip faster."""
DAEMON_BYTES: Final = 96 << 20
WORKER_BYTES: Final = 96 << 20
"""A worker without a model, including the requests that it works on."""
VALIDATOR_BYTES: Final = 128 << 20
"""A validator, without the memory that loading the model takes."""
KEPT_SHARE: Final = 0.05
LEAST_KEPT_BYTES: Final = 64 << 20
"""What a child must leave to all others: a share of the whole, but at least this many bytes."""
LEAST_CHILD_BYTES: Final = 64 << 20


class Capacity(Struct, frozen=True):
    """`affinity`: processors that the scheduler allows. `quota`: CPU seconds a second; None: no limit.

    `memory_bytes`: what all our processes together may ever have; None: not known.
    """

    affinity: int
    quota: float | None = None
    memory_bytes: int | None = None

    @property
    def processors(self) -> int:
        """How many processors can be kept busy; a part of one counts as one."""
        if self.quota is None:
            return max(1, self.affinity)
        return max(1, min(self.affinity, ceil(self.quota)))


class Need(Struct, frozen=True):
    """What the version that serves (or is to serve) takes, in bytes. `load_bytes` was measured by its validation.

    0: not known. Before the validation the size of its files is used.
    """

    file_bytes: int = 0
    load_bytes: int = 0

    @property
    def known(self) -> bool:
        return bool(self.file_bytes or self.load_bytes)


def workers(capacity: Capacity, need: Need) -> tuple[int, str]:
    """How many workers there should be, and why: one for each processor, as far as memory allows."""
    count, reasons = capacity.processors, []
    if capacity.quota is not None and capacity.quota < capacity.affinity:
        reasons.append(f"CPU quota {100 * capacity.quota:.0f} %")
    if capacity.memory_bytes is not None and need.known:
        fitting = fit(capacity.memory_bytes, need)
        reasons.append(f"memory for {fitting} worker{'' if fitting == 1 else 's'}")
        count = min(count, fitting)
    because = f"{count} of {capacity.affinity} processor{'' if capacity.affinity == 1 else 's'}"
    return count, f"{because}: {'; '.join(reasons)}" if reasons else because


def fit(memory_bytes: int, need: Need) -> int:
    """How many workers with the model fit beside the daemon, the mapped files and a validator; at least 1."""
    own = need.load_bytes or need.file_bytes
    validator = VALIDATOR_BYTES + max(own, need.file_bytes)
    left = memory_bytes - kept(memory_bytes) - DAEMON_BYTES - need.file_bytes - validator
    return max(1, left // (WORKER_BYTES + own))


def kept(memory_bytes: int) -> int:
    """What must be left free of this much memory."""
    return max(LEAST_KEPT_BYTES, int(KEPT_SHARE * memory_bytes))


def child_bytes(limit_bytes: int, available_bytes: int | None, whole_bytes: int | None) -> int:
    """What a validator may take: the lower of the configured limit (0: none) and the available memory; 0: no limit.

    Never less than LEAST_CHILD_BYTES: with that little the child fails by itself and reports it.
    """
    if available_bytes is None:
        return limit_bytes
    free = max(LEAST_CHILD_BYTES, available_bytes - kept(whole_bytes if whole_bytes is not None else available_bytes))
    return min(limit_bytes, free) if limit_bytes else free


def lone_threads(capacity: Capacity, count: int, threads: int) -> int:
    """Threads of a run that has the machine alone: as many as all workers have; 0 where that is not more."""
    together = min(count, capacity.processors, MOST_LONE_THREADS)
    return together if together > threads else 0
