"""When the end of a job is reported to its callback address, and when that is given up. Pure."""

from __future__ import annotations

from typing import Final

from ...worker.shared.job_records import CallbackRecord

PAUSES_SECONDS: Final = (10.0, 30.0, 120.0, 600.0, 3600.0)
"""After each try that failed; the last one holds for every further one."""
MOST_TRIES: Final = 12
WAITING, DELIVERED, GIVEN_UP = "waiting", "delivered", "given_up"


def is_due(record: CallbackRecord, now: float) -> bool:
    """Whether to try now, wall seconds. A clock that was set back delays no try for longer than its pause."""
    if record.state != WAITING:
        return False
    if record.tries == 0:
        return True
    pause = PAUSES_SECONDS[min(record.tries, len(PAUSES_SECONDS)) - 1]
    return not 0 <= now - record.last < pause


def after_try(record: CallbackRecord, because: str, now: float, *, for_good: bool = False) -> CallbackRecord:
    """What becomes of it after one more try; `because` is why it failed, "" when it did not. `for_good`: no further
    try would end otherwise."""
    tries = record.tries + 1
    if not because:
        return CallbackRecord(DELIVERED, tries, now)
    state = GIVEN_UP if for_good or tries >= MOST_TRIES else WAITING
    return CallbackRecord(state, tries, now, because[:500])
