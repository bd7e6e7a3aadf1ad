"""What to tell, given what was told: one message a group, when something joined or ended, or it is time to repeat.

Pure. A group is a severity. Invariants: an alert that was never told as firing is never told as resolved; between two
messages of a group lie at least `interval` seconds, however many alerts come and go. Times are monotonic seconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from msgspec import Struct, field


class NotificationPace(Struct, frozen=True):
    """`wait`: for others to join before the first message; `interval`: between two; `repeat`: the same (0: never)."""

    wait: float = 10.0
    interval: float = 120.0
    repeat: float = 4 * 3600.0


class Item(Struct, frozen=True):
    """An active alert as it will be told. `since`: when it began; `not_to`: the channel that it is about."""

    fingerprint: str
    group: str
    since: float
    text: str
    not_to: str = ""


class GroupNotified(Struct, frozen=True):
    """What a group's receivers know: the alerts by fingerprint with their sentences, and when they were last told."""

    last_sent: float
    firing: Mapping[str, str] = field(default_factory=dict)


class Notification(Struct, frozen=True):
    """`firing` all that is active, `fresh` of it are new; `resolved` sentences of what ended."""

    group: str
    firing: tuple[Item, ...]
    resolved: tuple[tuple[str, str], ...]
    fresh: int
    after: GroupNotified

    @property
    def over(self) -> bool:
        """Nothing of the group is left."""
        return not self.firing


class NotificationPlan(Struct, frozen=True):
    """`due`: when time alone will ask for another message."""

    messages: tuple[Notification, ...]
    told: dict[str, GroupNotified]
    due: float | None


KEEP_EMPTY_SECONDS: Final = 3600.0


def plan(
    active: Iterable[Item],
    told: Mapping[str, GroupNotified],
    now: float,
    pace: NotificationPace,
    ended: Mapping[str, str] | None = None,
) -> NotificationPlan:
    """What is to be sent now. `ended` says by fingerprint how alerts ended; of others their last sentence is sent."""
    groups: dict[str, dict[str, Item]] = {}
    for item in active:
        groups.setdefault(item.group, {})[item.fingerprint] = item
    messages, after, dues = [], dict(told), []
    for group in sorted({*groups, *told}):
        items, known = groups.get(group, {}), told.get(group)
        when = _when(items, known, pace)
        if when is not None and when <= now:
            message = _message(group, items, known, now, ended or {})
            messages.append(message)
            after[group] = message.after
            when = now + pace.repeat if pace.repeat and message.after.firing else None
        elif known and not known.firing and not items and now - known.last_sent > KEEP_EMPTY_SECONDS:
            del after[group]
        if when is not None:
            dues.append(when)
    return NotificationPlan(tuple(messages), after, min(dues, default=None))


def _when(items: Mapping[str, Item], known: GroupNotified | None, pace: NotificationPace) -> float | None:
    """When this group's next message is due; None: not by time alone."""
    firing = known.firing if known else {}
    fresh = [item for fingerprint, item in items.items() if fingerprint not in firing]
    ended = any(fingerprint not in items for fingerprint in firing)
    soonest = known.last_sent + pace.interval if known else float("-inf")
    if ended:
        return soonest
    if fresh:
        return max(soonest, min(item.since for item in fresh) + pace.wait)
    if known and firing and pace.repeat and items:
        return known.last_sent + max(pace.repeat, pace.interval)
    return None


def _message(
    group: str, items: Mapping[str, Item], known: GroupNotified | None, now: float, ended: Mapping[str, str]
) -> Notification:
    firing = known.firing if known else {}
    gone = {f: ended.get(f, text) for f, text in firing.items() if f not in items}
    fresh = sum(f not in firing for f in items)
    order = sorted(items.values(), key=lambda item: (item.fingerprint in firing, item.since, item.fingerprint))
    after = GroupNotified(now, {item.fingerprint: item.text for item in order})
    return Notification(group, tuple(order), tuple(sorted(gone.items())), fresh, after)
