"""Decides what to send from what was sent before: one message for a group, when an alert joined or ended, or to repeat.

Pure. A group is a severity. An alert that is held back (muted, quiet hours) counts as neither new nor ended until it is
released; then one message reports all of them. Invariants: the end of an alert is sent only if its start was sent, or
if both came while it was held back. Two messages of a group are at least `interval` seconds apart. Times are monotonic
seconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from typing import Final

from msgspec import Struct, field


class NotificationPace(Struct, frozen=True):
    """`wait`: how long the first message waits for other alerts; `interval`: the least time between two messages;
    `repeat`: the time until the same alerts are sent again (0: never).
    """

    wait: float = 10.0
    interval: float = 120.0
    repeat: float = 4 * 3600.0


class Item(Struct, frozen=True):
    """An active alert for a message. `since` is its start; `not_to` the channel that it is about. An `acknowledged` one
    is not repeated.
    """

    fingerprint: str
    group: str
    since: float
    text: str
    not_to: str = ""
    acknowledged: bool = False


class MissedAlert(Struct, frozen=True):
    """An alert that came and went while it was held back: its rule, its fingerprint and its sentence."""

    rule: str
    fingerprint: str
    text: str


class HeldBack(Struct, frozen=True):
    """`fingerprints` are alerts that must not be sent now. `missed` are, by group, those that came and went while they
    were held back and may be sent now.
    """

    fingerprints: Set[str] = frozenset()
    missed: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


class GroupNotified(Struct, frozen=True):
    """What the receivers of a group know: the alerts by fingerprint with their sentences, and the time of the last
    message.
    """

    last_sent: float
    firing: Mapping[str, str] = field(default_factory=dict)


class Notification(Struct, frozen=True):
    """`firing` all that is active, `fresh` of it are new; `resolved` sentences of what ended; `missed` of what came and
    went while it was held back."""

    group: str
    firing: tuple[Item, ...]
    resolved: tuple[tuple[str, str], ...]
    fresh: int
    after: GroupNotified
    missed: tuple[str, ...] = ()

    @property
    def over(self) -> bool:
        """Nothing of the group is left."""
        return not self.firing


class NotificationPlan(Struct, frozen=True):
    """`due` is when the next message is due only because time passes."""

    messages: tuple[Notification, ...]
    told: dict[str, GroupNotified]
    due: float | None


NOTHING_HELD: Final = HeldBack()
KEEP_EMPTY_SECONDS: Final = 3600.0


def plan(
    active: Iterable[Item],
    told: Mapping[str, GroupNotified],
    now: float,
    pace: NotificationPace,
    held: HeldBack = NOTHING_HELD,
) -> NotificationPlan:
    """What to send now."""
    groups: dict[str, dict[str, Item]] = {}
    for item in active:
        if item.fingerprint not in held.fingerprints:
            groups.setdefault(item.group, {})[item.fingerprint] = item
    messages, after, dues = [], dict(told), []
    for group in sorted({*groups, *told, *held.missed}):
        items, known = groups.get(group, {}), told.get(group)
        when = _when(items, known, pace, held, missed=bool(held.missed.get(group)))
        if when is not None and when <= now:
            message = _message(group, items, known, now, held)
            messages.append(message)
            after[group] = message.after
            when = _when(items, message.after, pace, held, missed=False)
        elif known and not known.firing and not items and now - known.last_sent > KEEP_EMPTY_SECONDS:
            del after[group]
        if when is not None:
            dues.append(when)
    return NotificationPlan(tuple(messages), after, min(dues, default=None))


def _when(
    items: Mapping[str, Item], known: GroupNotified | None, pace: NotificationPace, held: HeldBack, *, missed: bool
) -> float | None:
    """When the next message of this group is due; None when no time makes it due."""
    firing = known.firing if known else {}
    fresh = [item for fingerprint, item in items.items() if fingerprint not in firing]
    ended = any(f not in items and f not in held.fingerprints for f in firing)
    soonest = known.last_sent + pace.interval if known else float("-inf")
    if ended or missed:
        return soonest
    if fresh:
        return max(soonest, min(item.since for item in fresh) + pace.wait)
    if known and firing and pace.repeat and any(not item.acknowledged for item in items.values()):
        return known.last_sent + max(pace.repeat, pace.interval)
    return None


def _message(
    group: str, items: Mapping[str, Item], known: GroupNotified | None, now: float, held: HeldBack
) -> Notification:
    firing = known.firing if known else {}
    gone = {f: text for f, text in firing.items() if f not in items and f not in held.fingerprints}
    fresh = sum(f not in firing for f in items)
    order = sorted(items.values(), key=lambda item: (item.fingerprint in firing, item.since, item.fingerprint))
    still = {f: text for f, text in firing.items() if f in held.fingerprints}
    after = GroupNotified(now, still | {item.fingerprint: item.text for item in order})
    return Notification(group, tuple(order), tuple(sorted(gone.items())), fresh, after, held.missed.get(group, ()))
