"""Carrying decisions out, over and over, on a simulated disk: it comes to rest, wherever it is interrupted.

The simulation does what the supervisor does with each decision and nothing else, so the promises hold for any order of
operator's moves, verdicts, vanished directories and restarts.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from modelward.daemon.models.activation_policy import (
    ActivationFacts,
    ActivationPolicy,
    ActivationRequest,
    Named,
    Standing,
    decide,
)
from modelward.daemon.models.decisions import (
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
from modelward.daemon.models.lifecycle import VersionState
from modelward.daemon.models.snapshot import (
    Dangling,
    LinkState,
    Missing,
    Names,
    NotALink,
    Outside,
    Unreadable,
)

NAMES = ["v1", "v2", "v3", "v1.0", "trial", "other"]
LIMIT = 40


@dataclass
class World:
    """A disk, a store and workers."""

    facts: ActivationFacts
    verdicts: dict[str, VersionState]
    contents: dict[str, str]
    seen_decisions: list[Decision] = field(default_factory=list)

    def rest(self, policy: ActivationPolicy, steps: int = LIMIT) -> Decision | None:
        """Acts until nothing is to be done; None when it was interrupted after `steps`."""
        for _ in range(steps):
            decision = decide(self.facts, policy)
            self.seen_decisions.append(decision)
            before = self.facts
            self.act(decision)
            if isinstance(decision, Keep | Complain):
                assert self.facts == before
                return decision
        return None

    def act(self, decision: Decision) -> None:
        match decision:
            case Activate():
                assert self.accepted(decision.digest), decision
                self.serve(decision.version, decision.digest, decision.hold)
                if decision.move_link:
                    self.put(decision.version, decision.digest)
                self.answered()
            case Acknowledge() | MakeLink() | RestoreLink():
                if isinstance(decision, Acknowledge):
                    assert self.facts.link == Names(decision.version)
                serving = self.facts.serving
                assert serving is not None
                assert serving.digest == decision.digest
                self.put(decision.version, decision.digest)
                hold = () if isinstance(decision, RestoreLink) else decision.hold
                self.facts = replace(self.facts, serving=Named(decision.version, decision.digest))
                self.hold(hold)
                if not isinstance(decision, RestoreLink):
                    self.answered()
            case AwaitVerdict(version=name):
                self.judge(name)
            case Refuse() | Already():
                assert self.facts.asked is not None
                self.answered()
            case Keep() | Complain():
                pass

    def accepted(self, digest: str) -> bool:
        return self.verdicts[digest] is VersionState.ACCEPTED

    def serve(self, name: str, digest: str, hold: tuple[str, ...]) -> None:
        now, old = Named(name, digest), self.facts.serving
        previous = old if old is not None and old != now else self.facts.previous
        self.facts = replace(self.facts, serving=now, last_good=now, previous=previous)
        self.hold(hold)

    def hold(self, names: tuple[str, ...]) -> None:
        versions = tuple(replace(v, held=v.held or v.name in names) for v in self.facts.versions)
        self.facts = replace(self.facts, versions=versions)

    def put(self, name: str, digest: str) -> None:
        assert not isinstance(self.facts.link, NotALink)
        assert self.facts.version(name) is not None, f"made a dangling link to {name}"
        self.facts = replace(self.facts, link=Names(name), committed=Named(name, digest), link_bad_seconds=0)

    def answered(self) -> None:
        self.facts = replace(self.facts, asked=None)

    def judge(self, name: str) -> None:
        digest = self.contents[name]
        versions = tuple(
            replace(v, digest=digest, state=self.verdicts[digest]) if v.name == name else v for v in self.facts.versions
        )
        assert versions != self.facts.versions, f"{name} was judged already"
        self.facts = replace(self.facts, versions=versions)


digests = st.sampled_from(["a", "b", "c", "d"])
links: st.SearchStrategy[LinkState] = st.one_of(
    st.sampled_from([Missing(), Dangling("x"), Outside("/", "no"), Unreadable("EIO"), NotALink("a directory")]),
    st.sampled_from(NAMES).map(Names),
)
policies = st.builds(
    ActivationPolicy, activation=st.sampled_from(["auto", "manual"]), rejected_link=st.sampled_from(["restore", "keep"])
)


@st.composite
def worlds(draw: st.DrawFn) -> World:
    contents = draw(st.dictionaries(st.sampled_from(NAMES), digests))
    verdicts = {d: draw(st.sampled_from([VersionState.ACCEPTED, VersionState.REJECTED])) for d in "abcd"}
    versions = []
    for arrived, (name, digest) in enumerate(contents.items()):
        judged = draw(st.booleans())
        state = (
            verdicts[digest]
            if judged
            else draw(st.sampled_from([VersionState.SEEN, VersionState.SETTLING, VersionState.VALIDATING]))
        )
        versions.append(Standing(name, state, digest if judged else "", draw(st.booleans()), float(arrived)))
    good = [d for d in "abcd" if verdicts[d] is VersionState.ACCEPTED]
    named = st.builds(Named, st.sampled_from(NAMES), st.sampled_from(good)) if good else st.none()
    maybe = st.one_of(st.none(), named)
    link = draw(links)
    if isinstance(link, Names) and link.version not in contents:
        link = Dangling(link.version)
    facts = ActivationFacts(
        link,
        tuple(versions),
        committed=draw(maybe),
        serving=draw(maybe),
        last_good=draw(maybe),
        previous=draw(maybe),
        link_bad_seconds=0.0 if isinstance(link, Names) else draw(st.sampled_from([0.0, 60.0])),
        asked=draw(
            st.one_of(
                st.none(),
                st.builds(ActivationRequest, st.sampled_from(["activate", "rollback"]), st.sampled_from(NAMES)),
            )
        ),
        root_absent=draw(st.sampled_from(["", "", "", "gone"])),
    )
    return World(facts, verdicts, contents)


@given(worlds(), policies)
def test_comes_to_rest_from_anywhere_and_never_stops_serving(world: World, policy: ActivationPolicy) -> None:
    was = world.facts
    assert world.rest(policy) is not None, world.seen_decisions[-6:]
    facts = world.facts
    if was.serving is not None:
        assert facts.serving is not None
    if isinstance(was.link, NotALink) or was.root_absent:
        assert facts.link == was.link
    if facts.serving is not None and facts.serving != was.serving:
        assert world.accepted(facts.serving.digest)


@given(worlds(), policies)
def test_at_rest_the_link_names_what_is_served_unless_somebody_is_told(world: World, policy: ActivationPolicy) -> None:
    rest = world.rest(policy)
    facts = world.facts
    if isinstance(rest, Keep) and isinstance(facts.link, Names) and not facts.root_absent and facts.serving is not None:
        version = facts.version(facts.link.version)
        assert version is not None
        assert facts.serving.digest == version.digest
        assert facts.committed == Named(facts.link.version, version.digest)


@given(worlds(), policies, st.integers(0, 6))
def test_a_crash_after_any_step_ends_where_an_undisturbed_run_ends(
    world: World, policy: ActivationPolicy, steps: int
) -> None:
    """The store and the disk survive; what the workers served is forgotten."""
    undisturbed = World(world.facts, world.verdicts, world.contents)
    undisturbed.rest(policy)
    if world.rest(policy, steps) is None:
        world.facts = replace(world.facts, serving=None)
        assert world.rest(policy) is not None
        if undisturbed.facts.serving is not None and world.facts.last_good is not None:
            assert world.facts.serving is not None or _rejected(world)


def _rejected(world: World) -> bool:
    good = world.facts.last_good
    return good is not None and any(
        v.digest == good.digest and v.state is VersionState.REJECTED for v in world.facts.versions
    )


@given(worlds(), policies)
def test_the_same_facts_give_the_same_answer_with_a_reason(world: World, policy: ActivationPolicy) -> None:
    decision = decide(world.facts, policy)
    assert decide(world.facts, policy) == decision
    assert decision.because


@given(worlds(), st.sampled_from(NAMES))
def test_an_operators_move_to_an_accepted_version_stays(world: World, name: str) -> None:
    world.facts = replace(world.facts, asked=None, root_absent="")
    world.rest(ActivationPolicy())
    version = world.facts.version(name)
    if version is None or version.state is not VersionState.ACCEPTED or not isinstance(world.facts.link, Names):
        return
    if world.facts.serving is None or world.facts.committed is None:
        return
    world.facts = replace(world.facts, link=Names(name))
    world.rest(ActivationPolicy())
    assert world.facts.link == Names(name)
    assert world.facts.serving is not None
    assert world.facts.serving.digest == version.digest


@given(worlds())
def test_manual_never_moves_a_link_that_names_an_accepted_version(world: World) -> None:
    world.facts = replace(world.facts, asked=None, root_absent="")
    link = world.facts.link
    if isinstance(link, Names) and world.verdicts[world.contents[link.version]] is VersionState.ACCEPTED:
        world.rest(ActivationPolicy(activation="manual"))
        assert world.facts.link == link
