"""Decides what should be live, and what to do about it now: one decision for one snapshot of the facts.

Pure, stateless, idempotent: the caller records what it did (`committed`, `serving`, holds) and decides again until the
answer is Keep or Complain. Invariants: nothing is unloaded because something is missing; only accepted bytes are
activated; of the operator's files only a link is replaced. A digest identifies a version: other files under the same
name are a new candidate, and the same files under another name need no new proof.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal

from msgspec import Struct
from msgspec.structs import replace

from ..version_order import Relation, is_higher, order_key, relation
from .decisions import (
    Acknowledge,
    Activate,
    Already,
    AwaitVerdict,
    Complain,
    Decision,
    Keep,
    MakeLink,
    Refuse,
    RestoreLink,
)
from .lifecycle import VersionState
from .snapshot import (
    LinkState,
    Missing,
    Names,
    NotALink,
)


class Named(Struct, frozen=True):
    """A version: its name and the digest of its bytes."""

    name: str
    digest: str


class Standing(Struct, frozen=True):
    """A version that is present. `digest` is "" until its files were hashed; `arrived` is in seconds of one clock.

    `because` is for the operator: the reason of its verdict, or why it has none yet.
    """

    name: str
    state: VersionState
    digest: str = ""
    held: bool = False
    arrived: float = 0.0
    because: str = ""


FLEET_WANTS: Final = "the record of the fleet wants it"
FLEET_CHOSE: Final = "which the fleet wanted"
"""The end of the reason why newer versions are held; a newer record may want them again."""


class ActivationRequest(Struct, frozen=True):
    """A command. It ends with any decision except AwaitVerdict. For activate, `version` is the one to go to. For
    rollback, it is the one to leave, which served when the command came. `because` is who requests it.
    """

    kind: Literal["activate", "rollback"]
    version: str
    because: str = "asked for by command"


class ActivationFacts(Struct, frozen=True):
    """All facts that count. `committed`: what the daemon last put on the link or acknowledged there (stored; None at
    first).

    `serving`: what the workers were last ordered to serve; None after a start until the first decision. `last_good`:
    what served last, if its private copy is usable. `previous`: what served before it. `link_bad_seconds`: for how long
    the link has named no version. `root_absent`: why the root cannot be read, "" when it can. `link_fixed`: why the
    daemon cannot move the link, "" when it can. `itself`: what to do about a root that holds a version's files itself.
    """

    link: LinkState
    versions: tuple[Standing, ...] = ()
    committed: Named | None = None
    serving: Named | None = None
    last_good: Named | None = None
    previous: Named | None = None
    link_bad_seconds: float = 0.0
    asked: ActivationRequest | None = None
    root_absent: str = ""
    link_fixed: str = ""
    itself: str = ""

    def version(self, name: str) -> Standing | None:
        return next((v for v in self.versions if v.name == name), None)


class ActivationPolicy(Struct, frozen=True):
    """The operator's `[models]`."""

    activation: Literal["auto", "manual"] = "auto"
    rejected_link: Literal["restore", "keep"] = "restore"
    settle_seconds: float = 2.0


def decide(facts: ActivationFacts, policy: ActivationPolicy) -> Decision:
    """What to do now."""
    if facts.root_absent:
        return _without_root(facts)
    if facts.asked is not None:
        return _requested(facts, policy, facts.asked)
    if isinstance(facts.link, Names):
        return _named(facts, policy, facts.link.version)
    return _unnamed(facts, policy)


def chosen(because: str) -> str:
    """By whom a version was chosen whose rollout has this reason: the end of why newer ones are held."""
    return FLEET_CHOSE if because == FLEET_WANTS else "which was chosen by hand"


def once_accepted(facts: ActivationFacts, policy: ActivationPolicy, name: str, digest: str) -> bool:
    """Whether a version that is being validated would go live if it were accepted now with these bytes."""
    versions = tuple(
        replace(v, state=VersionState.ACCEPTED, digest=digest) if v.name == name else v for v in facts.versions
    )
    decision = decide(replace(facts, versions=versions), policy)
    return isinstance(decision, Activate) and (decision.version, decision.digest) == (name, digest)


def _without_root(facts: ActivationFacts) -> Decision:
    because = f"the model root is absent: {facts.root_absent}"
    if facts.asked is not None:
        return Refuse(f"cannot {facts.asked.kind}: {because}; {_still(facts)}")
    return _meanwhile(facts, because) or Keep(f"{because}; {_still(facts)}")


def _named(facts: ActivationFacts, policy: ActivationPolicy, name: str) -> Decision:
    """The link names a version, moved there by the operator or by the daemon."""
    version, serving, committed = facts.version(name), facts.serving, facts.committed
    if version is None:
        return _meanwhile(facts, f"{name} was not looked at yet") or AwaitVerdict(name, "it was not looked at yet")
    moved = committed is not None and committed.name != name
    if serving is not None and version.digest == serving.digest:
        if committed is None or committed != Named(name, version.digest):
            hold = _holds(facts, policy, version) if moved else ()
            return Acknowledge(name, version.digest, f"the link names {name}, and its files are those served", hold)
        return _steady(facts, policy, version)
    if version.state is VersionState.ACCEPTED:
        hold = _holds(facts, policy, version) if moved else ()
        if serving is None and not moved:
            return Activate(name, version.digest, "start", f"the link names {name}", hold)
        because = (
            f"the link was moved to {name}" if moved or committed is None else f"the files of {name} were replaced"
        )
        return Activate(name, version.digest, "operator", because, hold)
    if version.state is VersionState.REJECTED:
        because = f"the link names {name}, which is rejected: {version.because or 'no reason is known'}"
        if serving is None:
            return _start(facts, because) or Complain(f"{because}; nothing else can be served", name, version.digest)
        return _put_back(facts, policy, serving, because, version)
    because = f"the link names {name}, which is not judged yet{f' ({version.because})' if version.because else ''}"
    return _meanwhile(facts, because) or AwaitVerdict(name, f"{because}; {_still(facts)}")


def _steady(facts: ActivationFacts, policy: ActivationPolicy, live: Standing) -> Decision:
    """The link, the record and the workers agree."""
    better = _better(facts, policy, live.name)
    if facts.link_fixed and isinstance(better, Activate):
        because = f"{better.because}, and the link cannot be moved: {facts.link_fixed}; {_still(facts)}"
        return Complain(because, better.version, better.digest)
    if better and not facts.link_fixed:
        return better
    if live.state is VersionState.REJECTED:
        because = f"{live.name} is live and was rejected since: {live.because}; {_still(facts)}"
        return Complain(because, live.name, live.digest)
    return Keep(f"{live.name} is live")


def _unnamed(facts: ActivationFacts, policy: ActivationPolicy) -> Decision:
    """There is no link, or it leads to no version. That is never an order to unload."""
    link, settling = facts.link, facts.link_bad_seconds < policy.settle_seconds
    if facts.serving is not None:
        if isinstance(link, NotALink):
            return Complain(f"cannot put the link back: {link}; it was not touched; {_still(facts)}")
        if settling:
            return Keep(f"waiting for the link: {link}; {_still(facts)}")
        return _put_back(facts, policy, facts.serving, f"cannot follow the link: {link}", None)
    if isinstance(link, Missing) and facts.committed is None and facts.last_good is None:
        if policy.activation == "manual":
            return Keep("there is no link, and only the operator moves it")
        best = _highest(v for v in facts.versions if not v.held)
        if best is None and facts.itself:
            return Complain(f"there is no version: {facts.itself}")
        if best is None:
            return Keep("there is no link and no accepted version yet")
        if facts.link_fixed:  # it serves all the same, and the next decision complains
            because = f"there is no link, and none can be made; {best.name} is the highest accepted version"
            return Activate(best.name, best.digest, "start", because, move_link=False)
        return Activate(
            best.name, best.digest, "auto", f"there is no link; {best.name} is the highest accepted version"
        )
    because = f"cannot follow the link: {link}"
    if early := _meanwhile(facts, because):
        return early
    if settling:
        return Keep(f"waiting for the link: {link}; nothing is served yet")
    return _start(facts, because) or Complain(f"{because}; nothing can be served")


def _requested(facts: ActivationFacts, policy: ActivationPolicy, asked: ActivationRequest) -> Decision:
    if isinstance(facts.link, NotALink):
        return Refuse(f"cannot {asked.kind}: the link can't be moved: {facts.link}; {_still(facts)}")
    if facts.link_fixed and (asked.kind == "rollback" or facts.link != Names(asked.version)):
        return Refuse(f"cannot {asked.kind}: the link can't be moved: {facts.link_fixed}; {_still(facts)}")
    if asked.kind == "rollback":
        return _rollback(facts, asked)
    version = facts.version(asked.version)
    if version is None:
        return Refuse(f"cannot activate {asked.version}: there is no such version; {_still(facts)}")
    return _go_to(facts, version, "operator", asked.because, _holds(facts, policy, version))


def _rollback(facts: ActivationFacts, asked: ActivationRequest) -> Decision:
    serving, previous = facts.serving, facts.previous
    if serving is not None and serving.name != asked.version:
        return Already(serving.name, f"{asked.version} was left already; serving {serving.name}")
    if previous is None:
        return Refuse(f"cannot roll back: no version served before; {_still(facts)}")
    version = facts.version(previous.name)
    if version is None or version.digest != previous.digest:
        gone = "its directory is gone" if version is None else "its files are no longer those that served"
        return Refuse(f"cannot roll back to {previous.name}: {gone}; {_still(facts)}")
    hold = {asked.version} | {v.name for v in _above(facts, version)}
    return _go_to(facts, version, "rollback", f"rolled back from {asked.version}", tuple(sorted(hold)))


def _go_to(
    facts: ActivationFacts,
    version: Standing,
    origin: Literal["operator", "rollback"],
    because: str,
    hold: tuple[str, ...],
) -> Decision:
    name, digest = version.name, version.digest
    if facts.serving is not None and digest == facts.serving.digest:
        linked = facts.link == Names(name)
        if linked and facts.committed == Named(name, digest) and not hold:
            return Already(name, f"{name} is live already")
        if linked:
            return Acknowledge(name, digest, because, hold)
        return MakeLink(name, digest, f"{because}; its files are those served", hold)
    if version.state is VersionState.ACCEPTED:
        return Activate(name, digest, origin, because, hold)
    if version.state is VersionState.REJECTED:
        verb = "activate" if origin == "operator" else "roll back to"
        return Refuse(f"cannot {verb} {name}: it is rejected: {version.because}; {_still(facts)}")
    return AwaitVerdict(name, f"{because}, not judged yet; {_still(facts)}")


def _put_back(
    facts: ActivationFacts, policy: ActivationPolicy, serving: Named, because: str, rejected: Standing | None
) -> Decision:
    """The link is wrong and something serves: the link is set to that version, if its files are still there."""
    about = (rejected.name, rejected.digest) if rejected else ("", "")
    if facts.link_fixed:
        return Complain(f"{because}; it cannot be put back: {facts.link_fixed}; {_still(facts)}", *about)
    if rejected is not None and policy.rejected_link == "keep":
        return _better(facts, policy, serving.name) or Complain(f"{because}; it was left; {_still(facts)}", *about)
    same = [v for v in facts.versions if v.digest == serving.digest]
    if same:
        target = next((v for v in same if v.name == serving.name), same[0])
        return RestoreLink(target.name, target.digest, f"{because}; it was put back to {target.name}")
    lost = f"cannot put it back: the files of {serving.name} are gone or others"
    return _better(facts, policy, serving.name) or Complain(f"{because}; {lost}; {_still(facts)}", *about)


def _better(facts: ActivationFacts, policy: ActivationPolicy, base: str) -> Decision | None:
    """With auto, the highest accepted version above `base` that is not held, unless another one may be newer."""
    if policy.activation != "auto" or isinstance(facts.link, NotALink):
        return None
    above = [v for v in facts.versions if not v.held and is_higher(v.name, base)]
    best = _highest(above)
    if best is None or rivals(best, above):
        return None
    because = f"{best.name} is the highest accepted version"
    if facts.serving is not None and best.digest == facts.serving.digest:
        return MakeLink(best.name, best.digest, f"{because}; its files are those served")
    return Activate(best.name, best.digest, "auto", because)


def _meanwhile(facts: ActivationFacts, because: str) -> Decision | None:
    """Nothing serves: the last good version serves from its private copy until the version on the link can serve."""
    good = facts.last_good
    if facts.serving is not None or good is None:
        return None
    if any(v.digest == good.digest and v.state is VersionState.REJECTED for v in facts.versions):
        return None  # judged anew since it served
    because = f"{because}; {good.name} served last"
    return Activate(good.name, good.digest, "start", because, move_link=False)


def _start(facts: ActivationFacts, because: str) -> Decision | None:
    """Nothing serves and the version on the link cannot serve: the last good version does, else the highest accepted
    one.
    """
    if early := _meanwhile(facts, because):
        return early
    best = _highest(v for v in facts.versions if not v.held) or _highest(facts.versions)
    if best is None:
        return None
    because = f"{because}; {best.name} is the highest accepted version"
    return Activate(best.name, best.digest, "start", because, move_link=False)


def _holds(facts: ActivationFacts, policy: ActivationPolicy, to: Standing) -> tuple[str, ...]:
    """What a move by hand to `to` holds, so that auto doesn't undo it at once.

    To an older version than served: every newer one present. To a newer one: only those that auto would prefer now.
    """
    ref = facts.serving or facts.committed
    if policy.activation != "auto" or ref is None:
        return ()
    older = is_higher(ref.name, to.name)
    return tuple(sorted(v.name for v in _above(facts, to) if older or v.state is VersionState.ACCEPTED))


def _above(facts: ActivationFacts, than: Standing) -> list[Standing]:
    return [v for v in facts.versions if not v.held and is_higher(v.name, than.name)]


def rivals(best: Standing, versions: Iterable[Standing]) -> tuple[str, ...]:
    """Other accepted versions whose names do not show whether they are newer than `best`."""
    others = [v for v in versions if v.state is VersionState.ACCEPTED and v.digest != best.digest]
    return tuple(v.name for v in others if relation(v.name, best.name) in (Relation.UNCLEAR, Relation.SAME))


def _highest(versions: Iterable[Standing]) -> Standing | None:
    accepted = [v for v in versions if v.state is VersionState.ACCEPTED and v.digest]
    return max(accepted, key=lambda v: order_key(v.name, v.arrived), default=None)


def _still(facts: ActivationFacts) -> str:
    return f"still serving {facts.serving.name}" if facts.serving else "nothing is served yet"
