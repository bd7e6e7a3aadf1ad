"""What to tell, given what was told: one message a group, when something joined or ended, or it is time to repeat.

Pure. A group is a severity. What is held back (muted, quiet hours) counts neither as new nor as ended until it is no
longer held back; one message then says all of it. Invariants: an alert that was never told as firing is never told as
resolved, but for those that came and went while they were held back; between two messages of a group lie at least
`interval` seconds, however many alerts come and go. Times are monotonic seconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from typing import Final

from msgspec import Struct, field


class NotificationPace(Struct, frozen=True):
    """`wait`: for others to join before the first message; `interval`: between two; `repeat`: the same (0: never)."""

    wait: float = 10.0
    interval: float = 120.0
    repeat: float = 4 * 3600.0


class Item(Struct, frozen=True):
    """An active alert as it will be told. `since`: when it began; `not_to`: the channel that it is about.

    `acknowledged`: it is not told again by time alone.
    """

    fingerprint: str
    group: str
    since: float
    text: str
    not_to: str = ""
    acknowledged: bool = False


class MissedAlert(Struct, frozen=True):
    """An alert that came and went while it was held back: its rule, which one it was, and what is to be told of it."""

    rule: str
    fingerprint: str
    text: str


class HeldBack(Struct, frozen=True):
    """`fingerprints` of alerts that must not be told now; `missed`: by group, what came and went while it was held back
    and may be told by now."""

    fingerprints: Set[str] = frozenset()
    missed: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


class GroupNotified(Struct, frozen=True):
    """What a group's receivers know: the alerts by fingerprint with their sentences, and when they were last told."""

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
    """`due`: when time alone will ask for another message."""

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
    """What is to be sent now."""
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
    """When this group's next message is due; None: not by time alone."""
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
