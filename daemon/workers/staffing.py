"""Which worker processes to start, retire or kill. Pure: a snapshot in, orders out, each with its reason.

Replacement first: a worker that has to go leaves only after its successor is ready. One leaves at a time. Invariant: as
long as starting is possible, orders lead to `wanted` ready workers, and no order takes the last ready one away.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Phase(StrEnum):
    STARTING = "starting"  # not connected, or loading its first version
    READY = "ready"
    RETIRING = "retiring"  # told to drain


@dataclass(frozen=True)
class Member:
    """One worker process. `since` is when its phase began, `heard` when it last said something, monotonic seconds.

    `outdated` says why it must be replaced; "" when it need not.
    """

    name: str
    phase: Phase
    since: float
    heard: float
    outdated: str = ""


@dataclass(frozen=True)
class Vacancy:
    """A place that a dead worker left: its count of deaths in a row and when the next start is due."""

    failures: int
    due: float
    blocked: str = ""  # why it is not filled before something changes


@dataclass(frozen=True)
class Limits:
    """Seconds. A starting worker loads a model: that takes as long as a reload may."""

    start_seconds: float = 60.0
    drain_seconds: float = 30.0
    silence_seconds: float = 40.0


@dataclass(frozen=True)
class Start:
    failures: int
    because: str


@dataclass(frozen=True)
class Retire:
    name: str
    because: str


@dataclass(frozen=True)
class Kill:
    name: str
    because: str


Order = Start | Retire | Kill


def orders(
    members: tuple[Member, ...], vacancies: tuple[Vacancy, ...], wanted: int, now: float, limits: Limits
) -> tuple[Order, ...]:
    """What to do now, in this order. Asked again after each is done."""
    staying = [m for m in members if m.phase is not Phase.RETIRING]
    return (*_kills(members, now, limits), *_starts(staying, vacancies, wanted, now), *_retirements(staying, wanted))


def _kills(members: tuple[Member, ...], now: float, limits: Limits) -> list[Order]:
    found: list[Order] = []
    for m in members:
        if m.phase is Phase.RETIRING and now - m.since > limits.drain_seconds:
            found.append(Kill(m.name, f"it did not drain in {limits.drain_seconds:g} s"))
        elif m.phase is Phase.STARTING and now - m.since > limits.start_seconds:
            found.append(Kill(m.name, f"it was not ready in {limits.start_seconds:g} s"))
        elif m.phase is Phase.READY and now - m.heard > limits.silence_seconds:
            found.append(Kill(m.name, f"it said nothing for {limits.silence_seconds:g} s"))
    return found


def _starts(staying: list[Member], vacancies: tuple[Vacancy, ...], wanted: int, now: float) -> list[Order]:
    surge = 1 if any(m.outdated for m in staying) else 0
    missing = wanted + surge - len(staying)
    open_places = sorted((v for v in vacancies if not v.blocked), key=lambda v: v.due)
    blocked = len(vacancies) - len(open_places)
    found: list[Order] = []
    for i in range(missing):
        if i < len(open_places):
            place = open_places[i]
            if now >= place.due:
                found.append(Start(place.failures, "a worker died" if place.failures else "a worker is missing"))
        elif i >= len(open_places) + blocked:
            found.append(Start(0, "replacement" if surge and i == missing - 1 else f"{wanted} workers are wanted"))
    return found


def _retirements(staying: list[Member], wanted: int) -> list[Order]:
    ready = [m for m in staying if m.phase is Phase.READY]
    if len(ready) <= wanted or len(ready) <= 1 and wanted:
        outdated_starting = [m for m in staying if m.outdated and m.phase is Phase.STARTING]
        return [Retire(m.name, m.outdated) for m in outdated_starting[:1] if len(staying) > wanted]
    leaving = min(ready, key=lambda m: (not m.outdated, -m.since))
    return [Retire(leaving.name, leaving.outdated or f"{wanted} workers are wanted")]


def next_look(members: tuple[Member, ...], vacancies: tuple[Vacancy, ...], limits: Limits) -> float | None:
    """When time alone will change the orders, monotonic seconds; None when it won't."""
    due = [v.due for v in vacancies if not v.blocked]
    for m in members:
        if m.phase is Phase.RETIRING:
            due.append(m.since + limits.drain_seconds)
        elif m.phase is Phase.STARTING:
            due.append(m.since + limits.start_seconds)
        else:
            due.append(m.heard + limits.silence_seconds)
    return min(due, default=None)
