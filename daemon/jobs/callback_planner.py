"""Decides when the end of a job is reported to its callback address, and when the daemon gives that up. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from typing import Final

from ...worker.shared.job_records import CallbackRecord, JobRequest

PAUSES_SECONDS: Final = (10.0, 30.0, 120.0, 600.0, 3600.0)
"""The pause after each failed try; the last one holds for every further try."""
MOST_TRIES: Final = 12
AT_ONCE: Final = 4
CLIENT_SHARE: Final = 2
"""One client's receivers get at most one part in this many of the places: they may all be dead."""
WAITING, DELIVERED, GIVEN_UP = "waiting", "delivered", "given_up"


def is_due(record: CallbackRecord, now: float) -> bool:
    """Whether to try now, wall seconds. If the clock was set back, a try still waits no longer than its pause."""
    if record.state != WAITING:
        return False
    if record.tries == 0:
        return True
    pause = PAUSES_SECONDS[min(record.tries, len(PAUSES_SECONDS)) - 1]
    return not 0 <= now - record.last < pause


def after_try(record: CallbackRecord, because: str, now: float, *, for_good: bool = False) -> CallbackRecord:
    """The record after one more try; `because` is why it failed, "" when it did not.

    `for_good`: no further try would end otherwise.
    """
    tries = record.tries + 1
    if not because:
        return CallbackRecord(DELIVERED, tries, now)
    state = GIVEN_UP if for_good or tries >= MOST_TRIES else WAITING
    return CallbackRecord(state, tries, now, because[:500])


def to_begin(due: Sequence[JobRequest], sending: Collection[JobRequest]) -> list[JobRequest]:
    """Which of the due reports begin now, in their order, while those in `sending` are being sent."""
    clients, ids = Counter(request.client for request in sending), {request.id for request in sending}
    begun: list[JobRequest] = []
    for request in due:
        if len(sending) + len(begun) >= AT_ONCE:
            break
        if request.id not in ids and clients[request.client] < AT_ONCE // CLIENT_SHARE:
            clients[request.client] += 1
            begun.append(request)
    return begun
