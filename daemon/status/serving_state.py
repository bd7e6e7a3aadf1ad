"""Which version is served, which one the link last named, and the one to return to; kept over
restarts.

All of it can be found on the disk, so losing it costs a scan and no service. `intent` is the link move that was about
to happen. After a crash between the move and its record, it shows that the move was the daemon's own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from msgspec import Struct, convert, to_builtins
from msgspec.structs import replace

from ...worker.shared.unreadable import UNREADABLE
from ..answers.rollouts import RolloutAnswer
from ..models.activation_policy import Named
from ..models.snapshot import LinkState, Names
from ..workers.rollout_executor import Target


class FactStore(Protocol):
    """Where it is kept."""

    def put(self, **facts: Any) -> None: ...
    def fact(self, name: str, default: Any = None) -> Any: ...


class Position(Struct, frozen=True):
    """`serving` is None only after a start, until something was decided; `good` is what served last."""

    committed: Named | None = None
    serving: Target | None = None
    good: Target | None = None
    previous: Named | None = None

    @property
    def word(self) -> Named | None:
        """What is served, by the name that the link last gave these bytes. `serving` has the name of the copy that the
        workers load, which differs when there is no copy under the link's name.
        """
        serving, committed = self.serving, self.committed
        if serving is None:
            return None
        if committed is not None and committed.digest == serving.digest:
            return committed
        return Named(serving.version, serving.digest)

    @property
    def still(self) -> str:
        """The end of a message about something that could not be done."""
        return f"still serving {self.serving.version}" if self.serving else "nothing is served yet"

    def usable_good(self, is_lost: Callable[[str], bool]) -> Target | None:
        """What served last, while its private copy exists and is whole."""
        good = self.good
        return good if good and not is_lost(good.artifact) else None


def load(store: FactStore, link: LinkState | None) -> Position:
    """The position as it was; a link move that a crash interrupted counts as made when the link shows it."""
    committed, intent = _named(store.fact("committed")), _named(store.fact("intent"))
    if intent is not None and isinstance(link, Names) and link.version == intent.name:
        committed = intent
    return Position(committed, None, _target(store.fact("good")), _named(store.fact("previous")))


def save(store: FactStore, position: Position) -> None:
    """Writes the position down; the intent is fulfilled with it."""
    store.put(
        committed=_pair(position.committed),
        good=[position.good.version, position.good.digest, position.good.artifact] if position.good else None,
        previous=_pair(position.previous),
        intent=None,
    )


def intend(store: FactStore, version: str, digest: str) -> None:
    """To be called before the link is moved."""
    store.put(intent=[version, digest])


def resumed(position: Position, is_lost: Callable[[str], bool]) -> Position:
    """What the workers that outlived a daemon serve: what served last; unknown when a link move was
    interrupted.

    A link that was moved since then is a request like any other, with a canary and a way back.
    """
    good, committed = position.usable_good(is_lost), position.committed
    known = good is not None and committed is not None and committed.digest == good.digest
    return replace(position, serving=good) if known else position


def begun(store: FactStore, rollout: RolloutAnswer) -> None:
    """Before the first step of a rollout, as it is for history."""
    store.put(rollout=to_builtins(rollout))


def settled(store: FactStore) -> None:
    """Its outcome is in the history."""
    store.put(rollout=None)


def cut_short(store: FactStore) -> RolloutAnswer | None:
    """The rollout that was under way when the daemon died, with its outcome: done when its position was kept."""
    good = _target(store.fact("good"))
    try:
        rollout = convert(store.fact("rollout"), RolloutAnswer)
    except UNREADABLE:  # none, or a damaged row
        return None
    done = good is not None and good.digest == rollout.digest
    ending = f"{rollout.because}; the daemon died " + ("as it was done" if done else "before it was")
    return replace(rollout, state="done" if done else "failed", succeeded=done, because=ending)


def served(position: Position, target: Target, *, linked: bool) -> Position:
    """The workers serve `target` now; `linked` when the link names it too."""
    good = position.good
    old = position.word or (Named(good.version, good.digest) if good else None)
    new = Named(target.version, target.digest)
    previous = old if old is not None and old != new else position.previous
    committed = new if linked else position.committed
    return Position(committed, target, target, previous)


def renamed(position: Position, version: str, digest: str, copy: Target | None) -> Position:
    """The link names the served bytes under this name. `copy` is theirs under it: the workers are to serve that.

    Without one they go on with the copy that they loaded.
    """
    position = replace(position, committed=Named(version, digest))
    return position if copy is None else replace(position, serving=copy, good=copy)


def _pair(named: Named | None) -> list[str] | None:
    return [named.name, named.digest] if named else None


def _named(value: Any) -> Named | None:
    match value:
        case [str(name), str(digest)]:
            return Named(name, digest)
    return None


def _target(value: Any) -> Target | None:
    match value:
        case [str(version), str(digest), str(artifact)]:
            return Target(version, digest, artifact)
    return None
