"""What should be live: the contract's sentences as tables."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from modelward.daemon.models.activation_policy import (
    ActivationFacts,
    ActivationPolicy,
    ActivationRequest,
    Named,
    Standing,
    decide,
    once_accepted,
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
from modelward.daemon.models.unchosen import unchosen

AUTO, MANUAL = ActivationPolicy(), ActivationPolicy(activation="manual")
KEEP_REJECTED = ActivationPolicy(rejected_link="keep")
BAD_LINKS = [Missing(), Dangling("x"), Outside("/etc", "elsewhere"), Unreadable("I/O error")]


def v(name: str, state: VersionState = VersionState.ACCEPTED, digest: str | None = None, **more: object) -> Standing:
    judged = state in (VersionState.ACCEPTED, VersionState.REJECTED)
    return Standing(name, state, digest if digest is not None else f"d-{name}" if judged else "", **more)  # type: ignore[arg-type]


def n(name: str) -> Named:
    return Named(name, f"d-{name}")


def live(name: str, *versions: Standing, **more: object) -> ActivationFacts:
    """Link, word and workers agree on `name`."""
    present = versions or (v(name),)
    return ActivationFacts(Names(name), present, committed=n(name), serving=n(name), last_good=n(name), **more)  # type: ignore[arg-type]


def brief(decision: Decision) -> tuple[object, ...]:
    """Kind, version and what else counts, without the words."""
    kind = type(decision).__name__
    match decision:
        case Activate(version=version, origin=origin, hold=hold, move_link=move):
            return (kind, version, origin, hold, move)
        case Acknowledge(version=version, hold=hold) | MakeLink(version=version, hold=hold):
            return (kind, version, hold)
        case Keep() | Complain() | Refuse():
            return (kind,)
        case _:
            return (kind, decision.version)


# no link yet


def test_without_a_link_the_highest_accepted_version_goes_live_under_auto() -> None:
    facts = ActivationFacts(
        Missing(), (v("m-v1.9"), v("m-v1.10"), v("m-v2", VersionState.REJECTED), v("m-v3", VersionState.VALIDATING))
    )
    assert brief(decide(facts, AUTO)) == ("Activate", "m-v1.10", "auto", (), True)


def test_without_a_link_nothing_goes_live_under_manual() -> None:
    assert brief(decide(ActivationFacts(Missing(), (v("v1"),)), MANUAL)) == ("Keep",)


def test_without_an_accepted_version_there_is_nothing_to_do_yet() -> None:
    assert brief(
        decide(ActivationFacts(Missing(), (v("v1", VersionState.SETTLING), v("v2", VersionState.REJECTED))), AUTO)
    ) == ("Keep",)


def test_a_held_version_is_not_chosen() -> None:
    assert brief(decide(ActivationFacts(Missing(), (v("v1"), v("v2", held=True))), AUTO))[1] == "v1"


def test_where_nothing_serves_one_of_several_that_cannot_be_compared_does() -> None:
    assert brief(decide(ActivationFacts(Missing(), (v("newest", arrived=9), v("v0.1", arrived=1))), AUTO))[1] == "v0.1"
    assert brief(decide(ActivationFacts(Missing(), (v("early", arrived=1), v("late", arrived=2))), AUTO))[1] == "late"


# the link names what is live


def test_nothing_to_do_when_the_highest_version_is_live() -> None:
    assert brief(decide(live("v1.1", v("v1.0"), v("v1.1")), AUTO)) == ("Keep",)


def test_a_higher_accepted_version_goes_live_under_auto_only() -> None:
    facts = live("v1.9", v("v1.9"), v("v1.10"))
    assert brief(decide(facts, AUTO)) == ("Activate", "v1.10", "auto", (), True)
    assert brief(decide(facts, MANUAL)) == ("Keep",)


@pytest.mark.parametrize(
    "state", [VersionState.SEEN, VersionState.SETTLING, VersionState.VALIDATING, VersionState.REJECTED]
)
def test_a_higher_version_that_is_not_accepted_changes_nothing(state: VersionState) -> None:
    assert brief(decide(live("v1", v("v1"), v("v2", state)), AUTO)) == ("Keep",)


def test_it_is_known_before_the_verdict_whether_a_version_would_go_live() -> None:
    facts = live("v2", v("v1", VersionState.VALIDATING), v("v2"), v("v3", VersionState.VALIDATING))
    assert once_accepted(facts, AUTO, "v3", "d-v3")
    assert not once_accepted(facts, AUTO, "v1", "d-v1")
    assert not once_accepted(facts, MANUAL, "v3", "d-v3")
    assert not once_accepted(facts, AUTO, "v3", "d-v2")  # the bytes that are live: no rollout
    moved = replace(facts, link=Names("v1"))
    assert once_accepted(moved, MANUAL, "v1", "d-v1")
    asked = replace(facts, asked=ActivationRequest("activate", "v1"))
    assert once_accepted(asked, MANUAL, "v1", "d-v1")


@pytest.mark.parametrize(
    ("serves", "came"),
    [
        ("trial", "v0.1"),
        ("v0.1", "trial"),
        ("a", "b"),
        ("m-v1.0", "m-20240717"),
        ("m-v2.1", "m-v2.1-int8"),
        ("m-v2.1", "m-v2.1-final"),
        ("sensevoice-v1", "paraformer-v2"),
    ],
)
def test_what_cannot_be_compared_with_the_live_version_does_not_go_live_by_itself(serves: str, came: str) -> None:
    facts = live(serves, v(serves, arrived=1), v(came, arrived=2))
    assert brief(decide(facts, AUTO)) == ("Keep",)
    because = unchosen(facts.versions, facts.serving)[came]
    assert f"`modelward activate {came}`" in because and f"`modelward hold {came}`" in because
    more = replace(facts, versions=(*facts.versions, v("other-v9", arrived=3), v("x", arrived=4)))
    assert brief(decide(more, AUTO)) == ("Keep",), "others change nothing"


def test_two_newer_versions_that_cannot_be_compared_with_each_other_both_wait() -> None:
    facts = live("m-v1", v("m-v1", arrived=5), v("m-v2-int8", arrived=1), v("m-v2-fp16", arrived=1), v("m-v1.5"))
    assert brief(decide(facts, AUTO)) == ("Keep",)
    assert unchosen(facts.versions, facts.serving).keys() == {"m-v2-int8", "m-v2-fp16"}
    assert brief(decide(replace(facts, versions=(*facts.versions, v("m-v3"))), AUTO))[1] == "m-v3"


@pytest.mark.parametrize(
    "other",
    [
        v("trial", arrived=1),
        v("trial", arrived=3, held=True),
        v("trial", digest="d-m-v1", arrived=3),
        v("trial", VersionState.REJECTED, arrived=3),
        v("before", arrived=3),
        v("m-v0.9", arrived=3),
        v("m-v1.1", arrived=3),
    ],
    ids=["came earlier", "held", "the same files", "rejected", "served before", "older", "newer"],
)
def test_nothing_is_reported_of_a_version_that_somebody_or_something_decided_about(other: Standing) -> None:
    facts = live("m-v1", v("m-v1", arrived=2), other)
    assert unchosen(facts.versions, facts.serving, n("before")) == {}


def test_an_unnumbered_version_whose_directory_is_gone_is_not_replaced_by_an_earlier_one() -> None:
    facts = replace(live("b", v("a", arrived=1)), link=Dangling("b"), link_bad_seconds=9)
    assert brief(decide(facts, AUTO)) == ("Complain",)


def test_a_live_version_that_is_held_stays_live() -> None:
    assert brief(decide(live("v2", v("v1"), v("v2", held=True)), AUTO)) == ("Keep",)


def test_the_same_files_under_a_higher_name_only_move_the_link() -> None:
    assert brief(decide(live("v1", v("v1"), v("v2", digest="d-v1")), AUTO)) == ("MakeLink", "v2", ())


def test_a_live_version_that_is_judged_again_stays_live() -> None:
    assert brief(decide(live("v1", v("v1", VersionState.VALIDATING, "d-v1")), AUTO)) == ("Keep",)


def test_a_live_version_that_fails_when_judged_again_serves_on_and_is_complained_of() -> None:
    decision = decide(live("v1", v("v1", VersionState.REJECTED, because="gate load: no")), AUTO)
    assert brief(decision) == ("Complain",)
    assert "still serving v1" in decision.because


# the operator moved the link


def test_a_link_moved_to_a_newer_version_is_followed() -> None:
    facts = replace(live("v1", v("v1"), v("v2")), link=Names("v2"))
    for policy in (AUTO, MANUAL):
        assert brief(decide(facts, policy)) == ("Activate", "v2", "operator", (), True)


def test_a_link_moved_to_an_older_version_is_followed_and_the_newer_ones_are_held_under_auto() -> None:
    present = (v("v1"), v("v2"), v("v3"), v("v4", VersionState.VALIDATING), v("v5", held=True), v("v0"))
    facts = replace(live("v3", *present), link=Names("v1"))
    assert brief(decide(facts, AUTO)) == ("Activate", "v1", "operator", ("v2", "v3", "v4"), True)
    assert brief(decide(facts, MANUAL)) == ("Activate", "v1", "operator", (), True)


def test_a_version_that_arrives_after_a_move_back_competes_again() -> None:
    facts = live("v1", v("v1"), v("v2", held=True), v("v3", held=True))
    assert brief(decide(facts, AUTO)) == ("Keep",)
    assert brief(decide(replace(facts, versions=(*facts.versions, v("v4"))), AUTO))[:3] == ("Activate", "v4", "auto")


def test_a_move_up_to_less_than_the_highest_is_not_undone_by_auto() -> None:
    facts = replace(live("v1", v("v1"), v("v2"), v("v3"), v("v4", VersionState.VALIDATING)), link=Names("v2"))
    assert brief(decide(facts, AUTO)) == ("Activate", "v2", "operator", ("v3",), True)


def test_a_move_to_a_version_not_judged_yet_waits_for_its_verdict() -> None:
    for state in (VersionState.SEEN, VersionState.SETTLING, VersionState.VALIDATING):
        decision = decide(replace(live("v1", v("v1"), v("v2", state), v("v3")), link=Names("v2")), AUTO)
        assert brief(decision) == ("AwaitVerdict", "v2")
        assert "still serving v1" in decision.because


def test_a_move_to_a_rejected_version_is_put_back() -> None:
    facts = replace(live("v1", v("v1"), v("v2", VersionState.REJECTED, because="gate golden: 0.4")), link=Names("v2"))
    decision = decide(facts, AUTO)
    assert brief(decision) == ("RestoreLink", "v1")
    assert decision.because == "the link names v2, which is rejected: gate golden: 0.4; it was put back to v1"


def test_a_move_to_a_rejected_version_is_left_and_complained_of_under_keep() -> None:
    facts = replace(live("v1", v("v1"), v("v2", VersionState.REJECTED)), link=Names("v2"))
    decision = decide(facts, KEEP_REJECTED)
    assert isinstance(decision, Complain)
    assert (decision.version, decision.digest) == ("v2", "d-v2")
    assert "still serving v1" in decision.because


def test_a_link_left_on_a_rejected_version_does_not_keep_a_higher_one_out() -> None:
    facts = replace(live("v1", v("v1"), v("v2", VersionState.REJECTED), v("v3")), link=Names("v2"))
    assert brief(decide(facts, KEEP_REJECTED))[:3] == ("Activate", "v3", "auto")


def test_a_move_to_the_same_files_under_another_name_is_acknowledged_without_a_rollout() -> None:
    facts = replace(live("v2", v("v1", digest="d-v2"), v("v2")), link=Names("v1"))
    assert brief(decide(facts, AUTO)) == ("Acknowledge", "v1", ("v2",))


def test_files_replaced_under_the_live_name_are_another_candidate() -> None:
    for state, expected in [
        (VersionState.SETTLING, ("AwaitVerdict", "v1")),
        (VersionState.ACCEPTED, ("Activate", "v1", "operator", (), True)),
        (VersionState.REJECTED, ("Complain",)),
    ]:
        decision = decide(live("v1", v("v1", state, "" if state is VersionState.SETTLING else "other")), AUTO)
        assert brief(decision) == expected
        assert isinstance(decision, Activate) or "still serving v1" in decision.because


def test_files_replaced_by_bad_ones_do_not_keep_a_higher_version_out() -> None:
    facts = live("v1", v("v1", VersionState.REJECTED, "other"), v("v2"))
    assert brief(decide(facts, AUTO))[:3] == ("Activate", "v2", "auto")


def test_a_first_link_by_the_operator_is_followed_without_holds() -> None:
    facts = ActivationFacts(Names("v1"), (v("v1"), v("v2")), serving=n("v2"), last_good=n("v2"))
    assert brief(decide(facts, MANUAL)) == ("Activate", "v1", "operator", (), True)


# the link is gone, broken or no link


@pytest.mark.parametrize("link", BAD_LINKS)
def test_a_bad_link_unloads_nothing_and_is_put_back_after_the_quiet_time(link: LinkState) -> None:
    facts = replace(live("v1"), link=link)
    assert brief(decide(replace(facts, link_bad_seconds=1.9), AUTO)) == ("Keep",)
    for policy in (AUTO, MANUAL, KEEP_REJECTED):
        assert brief(decide(replace(facts, link_bad_seconds=2.0), policy)) == ("RestoreLink", "v1")


def test_a_bad_link_is_never_put_back_to_other_files() -> None:
    for present in ((), (v("v1", VersionState.SETTLING),), (v("v1", VersionState.REJECTED, "other"),)):
        facts = replace(live("v1"), versions=present, link=Missing(), link_bad_seconds=9)
        decision = decide(facts, AUTO)
        assert brief(decision) == ("Complain",)
        assert "still serving v1" in decision.because


def test_a_bad_link_is_put_back_to_the_same_files_under_another_name() -> None:
    facts = replace(live("v1"), versions=(v("v1-copy", digest="d-v1"),), link=Missing(), link_bad_seconds=9)
    assert brief(decide(facts, AUTO)) == ("RestoreLink", "v1-copy")


def test_an_unmounted_root_that_looks_empty_changes_nothing() -> None:
    facts = replace(live("v1"), versions=(), link=Missing(), link_bad_seconds=99)
    assert brief(decide(facts, AUTO)) == ("Complain",)


@pytest.mark.parametrize("asked", [None, ActivationRequest("activate", "v2"), ActivationRequest("rollback", "v1")])
def test_a_directory_in_the_links_place_is_never_touched(asked: ActivationRequest | None) -> None:
    facts = replace(live("v1", v("v1"), v("v2")), link=NotALink("a directory"), link_bad_seconds=99, asked=asked)
    assert brief(decide(facts, AUTO)) == (("Complain",) if asked is None else ("Refuse",))


def test_an_absent_root_changes_nothing() -> None:
    facts = replace(live("v1"), versions=(), link=Missing(), link_bad_seconds=99, root_absent="Input/output error")
    decision = decide(facts, AUTO)
    assert decision == Keep("the model root is absent: Input/output error; still serving v1")


# start


def start(link: LinkState, *versions: Standing, **more: object) -> ActivationFacts:
    return ActivationFacts(link, versions, committed=n("v2"), link_bad_seconds=9, **more)  # type: ignore[arg-type]


def test_starts_on_the_live_version_when_it_is_accepted() -> None:
    facts = start(Names("v2"), v("v1"), v("v2"), v("v3"), last_good=n("v1"))
    assert brief(decide(facts, AUTO)) == ("Activate", "v2", "start", (), True)


def test_starts_on_the_last_good_version_when_the_live_one_is_rejected() -> None:
    facts = start(Names("v2"), v("v1"), v("v2", VersionState.REJECTED), v("v3"), last_good=n("v1"))
    assert brief(decide(facts, AUTO)) == ("Activate", "v1", "start", (), False)


def test_starts_on_the_last_good_version_while_the_live_one_is_judged() -> None:
    facts = start(Names("v2"), v("v1"), v("v2", VersionState.SETTLING), last_good=n("v1"))
    assert brief(decide(facts, AUTO)) == ("Activate", "v1", "start", (), False)
    assert brief(decide(replace(facts, last_good=None), AUTO)) == ("AwaitVerdict", "v2")


def test_starts_on_the_highest_accepted_version_when_nothing_better_is_known() -> None:
    for link in (Names("v2"), NotALink("a directory"), *BAD_LINKS):
        facts = start(link, v("v1"), v("v2", VersionState.REJECTED), v("v3"))
        assert brief(decide(facts, AUTO)) == ("Activate", "v3", "start", (), False)


def test_serves_a_held_version_rather_than_none() -> None:
    facts = start(Dangling("v2"), v("v1", held=True))
    assert brief(decide(facts, AUTO)) == ("Activate", "v1", "start", (), False)


def test_waits_with_a_bad_link_at_the_first_start() -> None:
    facts = replace(start(Dangling("v9"), v("v1")), committed=None, link_bad_seconds=0.5)
    assert brief(decide(facts, AUTO)) == ("Keep",)


def test_complains_when_nothing_can_be_served() -> None:
    decision = decide(start(Names("v2"), v("v2", VersionState.REJECTED)), AUTO)
    assert brief(decision) == ("Complain",)


def test_starts_on_the_last_good_version_though_the_root_is_absent() -> None:
    facts = start(Missing(), root_absent="No such file or directory", last_good=n("v2"))
    assert brief(decide(facts, AUTO)) == ("Activate", "v2", "start", (), False)


def test_does_not_start_on_a_last_good_version_that_was_rejected_since() -> None:
    facts = start(Dangling("v9"), v("v1"), v("v2", VersionState.REJECTED), last_good=n("v2"))
    assert brief(decide(facts, AUTO))[1] == "v1"


def test_a_link_moved_while_the_daemon_was_down_is_the_operators_word() -> None:
    facts = start(Names("v1"), v("v1"), v("v2"), v("v3", VersionState.SEEN), last_good=n("v2"))
    assert brief(decide(facts, AUTO)) == ("Activate", "v1", "operator", ("v2", "v3"), True)


# by command


def test_activate_by_command() -> None:
    facts = live(
        "v2", v("v1"), v("v2"), v("v3", VersionState.REJECTED, because="gate load: no"), v("v4", VersionState.SEEN)
    )
    answers = {
        name: brief(decide(replace(facts, asked=ActivationRequest("activate", name)), AUTO))
        for name in ("v1", "v2", "v3")
    }
    assert answers == {
        "v1": ("Activate", "v1", "operator", ("v2", "v3", "v4"), True),
        "v2": ("Already", "v2"),
        "v3": ("Refuse",),
    }
    assert brief(decide(replace(facts, asked=ActivationRequest("activate", "v4")), AUTO)) == ("AwaitVerdict", "v4")
    refusal = decide(replace(facts, asked=ActivationRequest("activate", "v9")), AUTO)
    assert refusal == Refuse("cannot activate v9: there is no such version; still serving v2")


def test_activating_the_same_files_under_another_name_moves_the_link_only() -> None:
    facts = live("v1", v("v1"), v("v2", digest="d-v1"), asked=ActivationRequest("activate", "v2"))
    assert brief(decide(facts, MANUAL)) == ("MakeLink", "v2", ())


def test_activating_what_is_live_holds_what_auto_would_go_to_instead() -> None:
    facts = live("v1", v("v1"), v("v2"), v("v3", VersionState.SEEN), asked=ActivationRequest("activate", "v1"))
    assert brief(decide(facts, AUTO)) == ("Acknowledge", "v1", ("v2",))
    assert brief(decide(facts, MANUAL)) == ("Already", "v1")


def test_rollback_goes_to_what_served_before_and_holds_what_it_left() -> None:
    facts = live("v3", v("v1"), v("v2"), v("v3"), previous=n("v1"), asked=ActivationRequest("rollback", "v3"))
    assert brief(decide(facts, MANUAL))[:2] == ("Activate", "v1")
    assert brief(decide(facts, AUTO)) == ("Activate", "v1", "rollback", ("v2", "v3"), True)


def test_a_rollback_that_was_done_is_not_done_again() -> None:
    facts = live("v1", v("v1"), v("v2", held=True), previous=n("v2"), asked=ActivationRequest("rollback", "v2"))
    assert isinstance(decide(facts, AUTO), Already)


@pytest.mark.parametrize(
    ("previous", "present", "because"),
    [
        (None, v("v1"), "no version served before"),
        (n("v1"), v("v1", digest="other"), "no longer those that served"),
        (n("v1"), v("v0"), "its directory is gone"),
        (n("v1"), v("v1", VersionState.REJECTED), "it is rejected"),
    ],
)
def test_a_rollback_that_cannot_be_says_why(previous: Named | None, present: Standing, because: str) -> None:
    facts = live("v2", present, v("v2"), previous=previous, asked=ActivationRequest("rollback", "v2"))
    decision = decide(facts, AUTO)
    assert isinstance(decision, Refuse)
    assert because in decision.because
    assert decision.because.endswith("still serving v2")


def test_a_wish_while_the_root_is_absent_is_refused() -> None:
    facts = live("v1", root_absent="gone", asked=ActivationRequest("activate", "v2"))
    assert brief(decide(facts, AUTO)) == ("Refuse",)


def test_only_what_needs_it_is_put_back() -> None:
    assert isinstance(decide(replace(live("v1"), link=Missing(), link_bad_seconds=9), AUTO), RestoreLink)
    assert isinstance(
        decide(replace(live("v1", v("v1"), v("v2", VersionState.SEEN)), link=Names("v2")), AUTO), AwaitVerdict
    )
    same = replace(live("v1", v("v1"), v("w1", digest="d-v1")), link=Names("w1"))
    assert isinstance(decide(same, MANUAL), Acknowledge)
    assert isinstance(decide(live("v1", v("v1"), v("v2", digest="d-v1")), AUTO), MakeLink)


# a link that the daemon cannot move

FIXED = "cannot write in /models: Read-only file system"


@pytest.mark.parametrize(
    ("facts", "decision"),
    [
        (live("v1", link_fixed=FIXED), ("Keep",)),
        (live("v1", v("v1"), v("v2"), link_fixed=FIXED), ("Complain",)),
        (live("v1", v("v1"), v("v2", digest="d-v1"), link_fixed=FIXED), ("Keep",)),
        (
            replace(live("v1", v("v1"), v("v2"), link_fixed=FIXED), link=Names("v2")),
            ("Activate", "v2", "operator", (), True),
        ),
        (
            replace(live("v1", v("v1"), v("v2", VersionState.REJECTED), link_fixed=FIXED), link=Names("v2")),
            ("Complain",),
        ),
        (replace(live("v1", link_fixed=FIXED, link_bad_seconds=9), link=Dangling("x")), ("Complain",)),
        (ActivationFacts(Missing(), (v("v1"), v("v2")), link_fixed=FIXED), ("Activate", "v2", "start", (), False)),
    ],
)  # fmt: skip
def test_a_link_that_cannot_be_moved_is_followed_and_what_it_prevents_is_said(
    facts: ActivationFacts, decision: tuple[object, ...]
) -> None:
    found = decide(facts, AUTO)
    assert brief(found) == decision
    if isinstance(found, Complain):
        assert FIXED in found.because and "still serving v1" in found.because


@pytest.mark.parametrize(("kind", "version", "decision"), [
    ("activate", "v2", "Refuse"), ("rollback", "v1", "Refuse"), ("activate", "v1", "Acknowledge"),
])  # fmt: skip
def test_a_command_that_would_move_such_a_link_is_refused(kind: str, version: str, decision: str) -> None:
    facts = live("v1", v("v1"), v("v2"), link_fixed=FIXED, previous=n("v2"), asked=ActivationRequest(kind, version))  # type: ignore[arg-type]
    found = decide(facts, AUTO)
    assert brief(found)[0] == decision
    assert decision == "Acknowledge" or FIXED in str(found)


def test_a_root_that_holds_a_models_files_itself_is_a_complaint_until_there_is_a_version() -> None:
    assert brief(decide(ActivationFacts(Missing(), itself="move the files"), AUTO)) == ("Complain",)
    assert brief(decide(ActivationFacts(Missing(), (v("v1"),), itself="move"), AUTO))[0] == "Activate"
