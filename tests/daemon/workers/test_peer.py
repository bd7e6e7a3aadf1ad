"""What a worker's messages mean, in the order they come and in orders they should not."""

from __future__ import annotations

import pytest

from modelward.daemon.workers import peer as peer_state
from modelward.daemon.workers.peer import WorkerEvent, WorkerPeer, receive
from modelward.daemon.workers.rollout_planner import Figures, ObservedPace, Stage
from modelward.worker import protocol as p

V1, V2 = ("v1", "/a/v1"), ("v2", "/a/v2")


def peer(serving: str = "v1") -> WorkerPeer:
    found = WorkerPeer("w1", pid=1, attached=False, joined=0.0)
    found.serving, found.artifact = serving, f"/a/{serving}" if serving else ""
    return found


def stage(who: WorkerPeer, rollout: str = "r1", target: tuple[str, str] = V2) -> Stage:
    return peer_state.on_target(who, rollout, *target)


def test_a_rollout_goes_through_its_stages_and_counts_from_the_swap() -> None:
    w = peer()
    receive(w, p.Beat(requests=10, errors=1, p95_seconds=0.5), 1.0)
    assert peer_state.offer(w, "r1", *V2, 2.0) == p.Prepare("r1", *V2)
    assert stage(w) is Stage.PREPARING
    assert receive(w, p.Prepared("r1", "v2", seconds=3.0), 5.0) == WorkerEvent("w1", "prepared", "v2", "", 3.0)
    assert stage(w) is Stage.PREPARED
    assert peer_state.commit(w, 6.0) == p.Commit("r1")
    assert stage(w) is Stage.COMMITTING
    receive(w, p.Beat(requests=40, errors=1, p95_seconds=0.5), 6.5)
    assert receive(w, p.Serving("r1", "v2"), 7.0) == WorkerEvent("w1", "serving", "v2")
    assert stage(w) is Stage.MOVED
    assert (w.serving, w.artifact) == V2
    receive(w, p.Beat(requests=45, errors=3, p95_seconds=0.2), 8.0)
    seen = peer_state.view(w, "r1", *V2)
    assert (seen.figures, seen.since, seen.empty) == (Figures(5, 2, ObservedPace(5, 0.2)), 7.0, False)


def test_a_worker_that_tells_its_runs_is_judged_by_them_and_another_by_its_requests() -> None:
    w = peer()
    receive(w, p.Beat(requests=0), 1.0)
    receive(w, p.Beat(requests=9, p95_seconds=0.3, shared=p.RunTimes(4, 0.2), lone=p.RunTimes(7, 0.1)), 2.0)
    assert w.figures() == Figures(9, 0, ObservedPace(4, 0.2), ObservedPace(7, 0.1))
    receive(w, p.Beat(requests=9, p95_seconds=0.3), 3.0)
    assert w.figures() == Figures(9, 0, ObservedPace(9, 0.3))


def test_a_refusal_is_kept_with_its_reason_and_the_old_version_is_served_on() -> None:
    w = peer()
    peer_state.offer(w, "r1", *V2, 0.0)
    receive(w, p.CannotPrepare("r1", "v2", "x" * 9000), 1.0)
    assert (stage(w), w.serving, len(w.because)) == (Stage.REFUSED, "v1", peer_state.MAX_REASON)
    peer_state.offer(w, "r2", *V2, 0.0)
    receive(w, p.CannotPrepare("r2", "v2"), 1.0)
    assert w.because == "no reason given"


def test_answers_to_a_rollout_that_was_given_up_change_nothing_of_the_next() -> None:
    w = peer()
    peer_state.offer(w, "r1", *V2, 0.0)
    assert peer_state.abort(w, 1.0) == p.Abort("r1")
    assert receive(w, p.Prepared("r1", "v2"), 2.0) is None
    assert receive(w, p.CannotPrepare("r1", "v2", "aborted"), 2.0) is None
    assert stage(w) is Stage.OLD
    peer_state.offer(w, "r2", *V2, 3.0)
    assert receive(w, p.Prepared("r1", "v2"), 4.0) is None
    assert receive(w, p.CannotPrepare("r1", "v2", "aborted"), 4.0) is None
    assert stage(w, "r2") is Stage.PREPARING


def test_a_commit_without_an_answer_leaves_open_what_is_served() -> None:
    w = peer()
    peer_state.offer(w, "r1", *V2, 0.0)
    receive(w, p.Prepared("r1", "v2"), 1.0)
    peer_state.commit(w, 2.0)
    assert stage(w, "r1-back", V1) is Stage.OLD, "it may have swapped: it has to be asked back"
    receive(w, p.CannotPrepare("r1", "", "nothing is prepared under this rollout"), 3.0)
    assert stage(w, "r1-back", V1) is Stage.MOVED


def test_a_late_swap_is_seen_for_what_it_is_while_going_back() -> None:
    w = peer()
    peer_state.offer(w, "r1", *V2, 0.0)
    receive(w, p.Prepared("r1", "v2"), 1.0)
    peer_state.commit(w, 2.0)
    peer_state.offer(w, "r1-back", *V1, 3.0)
    receive(w, p.Serving("r1", "v2"), 4.0)
    assert (w.serving, w.artifact) == V2
    assert stage(w, "r1-back", V1) is Stage.PREPARING


def test_the_same_name_with_other_bytes_is_not_the_version_offered() -> None:
    w = peer()
    again = ("v1", "/a/v1-other")
    peer_state.offer(w, "r1", *again, 0.0)
    assert stage(w, "r1", again) is Stage.PREPARING
    receive(w, p.Prepared("r1", "v1"), 1.0)
    peer_state.commit(w, 1.0)
    peer_state.offer(w, "r2", *V1, 2.0)
    receive(w, p.Serving("r1", "v1"), 3.0)
    assert (w.serving, w.artifact) == again, "a late answer counts by what was offered then"
    assert stage(w, "r2", V1) is not Stage.MOVED


def test_a_worker_can_not_serve_under_a_rollout_what_it_did_not_offer() -> None:
    w = peer()
    peer_state.offer(w, "r1", *V2, 0.0)
    with pytest.raises(p.BadMessage, match="cannot serve 'v7' under this rollout: it offered 'v2'"):
        receive(w, p.Serving("r1", "v7"), 1.0)


def test_a_second_hello_is_refused() -> None:
    with pytest.raises(p.BadMessage, match="cannot take a second hello"):
        receive(peer(), p.Hello(pid=1), 0.0)


def test_welcomed_it_is_joining_until_it_serves_or_says_it_cannot() -> None:
    w = peer("")
    assert w.settled, "nothing to serve yet: nothing to wait for"
    peer_state.welcome(w, *V1)
    assert (stage(w), w.settled, w.ready) == (Stage.JOINING, False, False)
    receive(w, p.Serving("", "v1"), 1.0)
    assert ((w.serving, w.artifact), w.settled, w.ready) == (V1, True, True)
    w = peer("")
    peer_state.welcome(w, *V1)
    receive(w, p.CannotPrepare("", "v1", "out of memory"), 1.0)
    assert (stage(w), w.settled) == (Stage.OLD, False), "a worker that serves nothing is nobody's successor"


def test_a_worker_that_serves_its_welcome_already_has_nothing_to_load() -> None:
    w = peer()
    peer_state.welcome(w, *V1)
    assert (w.loading, stage(w)) == ("", Stage.OLD)
    peer_state.welcome(w, "", "")
    assert w.loading == ""


def test_a_worker_told_to_load_something_else_counts_for_no_version_meanwhile() -> None:
    w = peer("v2")
    peer_state.welcome(w, *V1)
    assert stage(w, "r1", V2) is Stage.JOINING
    assert w.ready, "it answers requests all the same"


def test_one_that_names_only_its_version_is_taken_at_its_word() -> None:
    w = peer("")
    receive(w, p.Serving("", "v1"), 0.0)
    assert (w.serving, w.artifact) == ("v1", "")
    assert w.on("v1", "/any/where")
    assert not w.on("v2", "/any/where")


def test_what_was_counted_before_it_joined_is_nobodys() -> None:
    w = peer()
    receive(w, p.Beat(requests=1000, errors=500), 0.0)
    assert w.figures() == Figures()
    receive(w, p.Beat(requests=1003, errors=501), 1.0)
    assert w.figures() == Figures(3, 1, ObservedPace(3, 0.0))
    receive(w, p.Beat(requests=1, errors=0), 2.0)
    assert w.figures() == Figures(), "counters that go back count nothing"


def test_a_drained_worker_is_not_ready() -> None:
    w = peer()
    assert receive(w, p.Drained(), 0.0) == WorkerEvent("w1", "drained")
    assert not w.ready
    assert receive(w, p.Reopened(), 5.0) == WorkerEvent("w1", "reopened")
    assert w.heard == 5.0


def test_offers_are_remembered_in_bounds() -> None:
    w = peer("")
    peer_state.welcome(w, *V1)
    for i in range(100):
        peer_state.offer(w, f"r{i}", *V2, 0.0)
    assert len(w.offers) <= peer_state.MAX_OFFERS
    assert "r99" in w.offers


def test_a_beat_is_an_event_when_a_worker_begins_or_ends_to_refuse_requests() -> None:
    w = peer()
    assert receive(w, p.Beat(), 1.0) is None
    assert receive(w, p.Beat(refusing="full"), 2.0) == WorkerEvent("w1", "refusing", because="full")
    assert receive(w, p.Beat(refusing="full, still"), 3.0) is None
    assert receive(w, p.Beat(), 4.0) == WorkerEvent("w1", "refusing")
    assert receive(w, p.Beat(refusing="full", stuck=1), 5.0) == WorkerEvent(
        "w1", "stuck", because="1 of its jobs do not end"
    )
    assert receive(w, p.Beat(refusing="full", stuck=1), 6.0) is None
