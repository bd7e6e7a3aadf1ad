"""What a daemon remembers of where it was, and what a crash between two notes makes of it."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest
from tests.fakes.answers import made
from tests.fakes.clock import FakeClock

from modelward.daemon.answers.rollouts import RolloutAnswer
from modelward.daemon.models.activation_policy import Named
from modelward.daemon.models.artifacts import is_whole
from modelward.daemon.models.snapshot import (
    Dangling,
    LinkState,
    Missing,
    Names,
)
from modelward.daemon.state.store import Store
from modelward.daemon.status import serving_state as pos
from modelward.daemon.status.serving_state import Position
from modelward.daemon.workers.rollout_executor import Target

V1, V2 = Target("v1", "d1", "/a/v1"), Target("v2", "d2", "/a/v2")
N1, N2 = Named("v1", "d1"), Named("v2", "d2")


def reloaded(path: Path, link: LinkState | None) -> Position:
    with closing(Store(path / "state.db", FakeClock())) as store:
        return pos.load(store, link)


def test_a_daemon_that_knows_nothing_begins_with_nothing(tmp_path: Path) -> None:
    assert reloaded(tmp_path, Missing()) == Position()


def test_what_served_is_known_again_after_a_restart_but_nothing_counts_as_served_yet(tmp_path: Path) -> None:
    position = pos.served(pos.served(Position(), V1, linked=True), V2, linked=True)
    assert position == Position(N2, V2, V2, N1)
    with closing(Store(tmp_path / "state.db", FakeClock())) as store:
        pos.save(store, position)
    assert reloaded(tmp_path, Names("v2")) == Position(N2, None, V2, N1)


@pytest.mark.parametrize(
    ("link", "committed"),
    [
        (Names("v2"), N2),  # the crash came after the move: ours
        (Names("v1"), N1),  # before it
        (Names("v3"), N1),  # somebody else moved it
        (Missing(), N1),
        (Dangling("v2"), N1),
        (None, N1),
    ],
)
def test_a_link_move_cut_short_by_a_crash_counts_when_the_link_says_so(
    tmp_path: Path, link: LinkState | None, committed: Named
) -> None:
    with closing(Store(tmp_path / "state.db", FakeClock())) as store:
        pos.save(store, pos.served(Position(), V1, linked=True))
        pos.intend(store, "v2", "d2")
    assert reloaded(tmp_path, link).committed == committed


def test_an_intent_ends_with_the_note_that_fulfils_it(tmp_path: Path) -> None:
    with closing(Store(tmp_path / "state.db", FakeClock())) as store:
        pos.intend(store, "v2", "d2")
        pos.save(store, pos.served(Position(), V1, linked=True))
    assert reloaded(tmp_path, Names("v2")).committed == N1


def test_the_same_bytes_again_are_no_step_and_leave_the_previous_version_alone() -> None:
    position = pos.served(pos.served(Position(), V1, linked=True), V2, linked=True)
    again = Target("v2", "d2", "/a/elsewhere")
    assert pos.served(position, again, linked=True).previous == N1
    assert pos.served(position, V1, linked=False) == Position(N2, V1, V1, N2)


def test_after_a_restart_the_last_that_served_is_the_previous_one(tmp_path: Path) -> None:
    with closing(Store(tmp_path / "state.db", FakeClock())) as store:
        pos.save(store, pos.served(Position(), V1, linked=True))
    assert pos.served(reloaded(tmp_path, Names("v2")), V2, linked=True).previous == N1


def test_the_same_bytes_under_another_name_are_a_step_that_can_be_taken_back() -> None:
    twin = Target("v1-again", "d1", "/a/v1-again")
    position = pos.served(pos.served(Position(), V1, linked=True), twin, linked=True)
    assert position == Position(Named("v1-again", "d1"), twin, twin, N1)


def test_another_name_for_the_served_bytes_comes_with_its_copy_and_keeps_the_old_one_without() -> None:
    position = pos.served(Position(), V1, linked=True)
    twin = Target("v1-again", "d1", "/a/v1-again")
    assert pos.renamed(position, "v1-again", "d1", twin) == Position(Named("v1-again", "d1"), twin, twin, None)
    renamed = pos.renamed(position, "v1-again", "d1", None)
    assert renamed.committed == Named("v1-again", "d1")
    assert renamed.serving is not None
    assert renamed.serving.artifact == V1.artifact
    other = pos.renamed(position, "v9", "d9", None)
    assert (other.committed, other.serving) == (Named("v9", "d9"), V1)


def is_lost(artifact: str) -> bool:
    return not is_whole(artifact)


def test_what_served_last_is_of_use_only_while_its_copy_is_whole(tmp_path: Path) -> None:
    position = Position(good=Target("v1", "d1", str(tmp_path)))
    assert position.usable_good(is_lost) is None
    (tmp_path / "artifact.json").write_text('{"files": {"model.onnx": {"bytes": 2}}}')
    assert position.usable_good(is_lost) is None
    (tmp_path / "model.onnx").write_text("ab")
    assert position.usable_good(is_lost) == position.good
    assert Position().usable_good(is_lost) is None


@pytest.mark.parametrize("junk", [1, "v1", ["v1"], ["v1", 2], ["a", "b", "c", "d"], {"name": "v1"}, [None, None], []])
def test_notes_that_make_no_sense_are_as_good_as_none(tmp_path: Path, junk: object) -> None:
    with closing(Store(tmp_path / "state.db", FakeClock())) as store:
        store.put(committed=junk, good=junk, previous=junk, intent=junk)
    assert reloaded(tmp_path, Names("v1")) == Position()


def whole(path: Path, target: Target) -> Target:
    """The same with a copy that can be loaded."""
    artifact = path / target.version
    artifact.mkdir()
    (artifact / "model.onnx").write_bytes(b"model")
    (artifact / "artifact.json").write_text('{"files": {"model.onnx": {"bytes": 5}}}')
    return Target(target.version, target.digest, str(artifact))


def test_workers_that_outlived_the_daemon_serve_what_served_last(tmp_path: Path) -> None:
    good = whole(tmp_path, V1)
    assert pos.resumed(Position(N1, None, good), is_lost).serving == good
    assert pos.resumed(Position(N2, None, good), is_lost).serving is None  # a move cut short: the link leads
    assert pos.resumed(Position(N1, None, V1), is_lost).serving is None  # its copy is gone


@pytest.mark.parametrize(("good", "kept"), [(V1, False), (V2, True)])
def test_a_rollout_cut_short_was_done_when_its_position_was_kept(tmp_path: Path, good: Target, kept: bool) -> None:
    with closing(Store(tmp_path / "state.db", FakeClock())) as store:
        pos.begun(store, made(RolloutAnswer, {"id": "r", "version": "v2", "digest": "d2", "because": "newest"}))
        pos.save(store, pos.served(Position(), good, linked=True))
        former = pos.cut_short(store)
        assert former is not None
        assert former.succeeded is kept
        assert former.because.startswith("newest; the daemon died")
        pos.settled(store)
        assert pos.cut_short(store) is None
