"""Decides which worker processes to start, retire or kill. Pure: a snapshot in, orders out, each with its reason.

Replacement first: a worker leaves only after its successor is ready, and one leaves at a time. A worker is killed only
after a second check, because the daemon may have been stopped itself and have missed its messages. A worker that only
waits for a processor or a disk is not killed. Invariant: as long as workers can start, the orders lead to `wanted`
ready workers, and no order takes the last ready one away.
"""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct


class Phase(StrEnum):
    STARTING = "starting"  # not connected, or loading its first version
    READY = "ready"
    RETIRING = "retiring"  # asked to drain


class Member(Struct, frozen=True):
    """One worker process. `since` is when its phase began, `heard` when its last message came, monotonic seconds.

    `outdated` is why it must be replaced, "" when it need not. `overdue_since` is when it was first found overdue, None
    once it sent a message after that. `spared`: a later check found that it only waits. `doomed`: it is being killed.
    """

    name: str
    phase: Phase
    since: float
    heard: float
    outdated: str = ""
    overdue_since: float | None = None
    doomed: bool = False
    spared: bool = False


class PendingStart(Struct, frozen=True):
    """A start that waits after a worker died: the deaths in a row and when it is due, monotonic seconds."""

    failures: int
    due: float
    blocked: str = ""  # why it must wait until something changes


class PoolLimits(Struct, frozen=True):
    """A starting worker loads a model, which takes as long as a reload may. `starting`: how many start at once."""

    start_seconds: float = 60.0
    drain_seconds: float = 30.0
    silence_seconds: float = 40.0
    recheck_seconds: float = 2.0
    starting: int = 64


class Start(Struct, frozen=True):
    """Starts a worker. `pending` is the start that waited; None for a new one."""

    pending: PendingStart | None
    because: str


class Retire(Struct, frozen=True):
    name: str
    because: str


class Recheck(Struct, frozen=True):
    """The worker is overdue: check again after `recheck_seconds`."""

    name: str
    because: str


class Kill(Struct, frozen=True):
    name: str
    because: str


Order = Start | Retire | Recheck | Kill


def orders(
    members: tuple[Member, ...], pending_starts: tuple[PendingStart, ...], wanted: int, now: float, limits: PoolLimits
) -> tuple[Order, ...]:
    """What to do now, in this order. Called again after all is done; `pending` are those that `places` left."""
    return (
        *_overdue(members, now, limits),
        *_starts(members, pending_starts, wanted, now, limits),
        *_retirements(members, wanted),
    )


def places(
    members: tuple[Member, ...], pending_starts: tuple[PendingStart, ...], wanted: int
) -> tuple[tuple[PendingStart, ...], int]:
    """The pending starts that are still needed, soonest first, and how many workers are missing, these included.

    Fewer workers may be wanted than have died. A worker that is being replaced makes room for one more.
    """
    staying = sum(m.phase is not Phase.RETIRING for m in members)
    surge = any(m.outdated and m.phase is not Phase.RETIRING and not m.doomed for m in members)
    missing = max(0, wanted + surge - staying)
    return tuple(sorted(pending_starts, key=lambda v: (bool(v.blocked), v.due))[:missing]), missing


def _due(m: Member, limits: PoolLimits) -> tuple[float, str]:
    """When this member has been in its phase too long, and the reason to report then."""
    match m.phase:
        case Phase.RETIRING:
            return m.since + limits.drain_seconds, f"it did not drain in {limits.drain_seconds:g} s"
        case Phase.STARTING:
            return m.since + limits.start_seconds, f"it was not ready in {limits.start_seconds:g} s"
        case Phase.READY:
            return m.heard + limits.silence_seconds, f"it sent nothing for {limits.silence_seconds:g} s"


def _overdue(members: tuple[Member, ...], now: float, limits: PoolLimits) -> list[Order]:
    found: list[Order] = []
    for m in members:
        due, because = _due(m, limits)
        if m.doomed or now < due:
            continue
        if m.overdue_since is None:
            found.append(Recheck(m.name, because))
        elif now >= m.overdue_since + limits.recheck_seconds:
            found.append(Recheck(m.name, because) if m.spared else Kill(m.name, because))
    return found


def _starts(
    members: tuple[Member, ...], pending_starts: tuple[PendingStart, ...], wanted: int, now: float, limits: PoolLimits
) -> list[Order]:
    kept, missing = places(members, pending_starts, wanted)
    found: list[Order] = []
    for pending in kept:
        if not pending.blocked and now >= pending.due:
            found.append(Start(pending, "a worker died" if pending.failures else "a worker is missing"))
    replacing = sum(m.phase is not Phase.RETIRING for m in members) >= wanted
    because = "replacement" if replacing else f"{wanted} workers are wanted"
    found += [Start(None, because) for _ in range(missing - len(kept))]
    starting = sum(m.phase is Phase.STARTING for m in members)
    return found[: max(0, limits.starting - starting)]


def _retirements(members: tuple[Member, ...], wanted: int) -> list[Order]:
    if any(m.phase is Phase.RETIRING for m in members):
        return []
    alive = [m for m in members if not m.doomed]
    ready = [m for m in alive if m.phase is Phase.READY]
    if len(ready) > wanted:
        leaving = min(ready, key=lambda m: (not m.outdated, -m.since))
        return [Retire(leaving.name, leaving.outdated or f"{wanted} workers are wanted")]
    unready = [m for m in alive if m.outdated and m.phase is Phase.STARTING]
    if unready and len(ready) == wanted:
        return [Retire(unready[0].name, unready[0].outdated)]
    return []


def next_check(
    members: tuple[Member, ...], pending_starts: tuple[PendingStart, ...], limits: PoolLimits
) -> float | None:
    """When the orders change by time alone, monotonic seconds; None when they do not."""
    full = sum(m.phase is Phase.STARTING for m in members) >= limits.starting
    due = [v.due for v in pending_starts if not v.blocked and not full]
    for m in members:
        if not m.doomed:
            due.append(_due(m, limits)[0] if m.overdue_since is None else m.overdue_since + limits.recheck_seconds)
    return min(due, default=None)
