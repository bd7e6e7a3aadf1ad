"""A rollout's commit point, every one of its calls failing in turn: link, workers and what is written down agree."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests.daemon.workers.rollouts import run
from tests.daemon.workers.room import Room, room
from tests.fakes.forms import choice_of
from tests.support import PATIENCE_SECONDS, soon

from modelward.daemon.config.load import Config, parse
from modelward.daemon.controllers.activation import Activation
from modelward.daemon.controllers.pending_command import PendingCommand
from modelward.daemon.controllers.validation import Validation
from modelward.daemon.errors import Refused
from modelward.daemon.models import link
from modelward.daemon.models.activation_policy import ActivationRequest
from modelward.daemon.models.lifecycle import VersionState
from modelward.daemon.models.snapshot import Names, RootSeen
from modelward.daemon.models.verdict import Verdict
from modelward.daemon.state.async_store import AsyncStore
from modelward.daemon.state.store import Store
from modelward.daemon.status import serving_state as pos
from modelward.daemon.system.background import Background, here
from modelward.daemon.system.clock import SystemClock
from modelward.daemon.workers.registry import WelcomeState

OLD, NEW = "v1.0", "v1.1"


@dataclass
class Trap:
    """Counts calls and fails at number `at` (0: never); all of them from there on when `lasting`."""

    at: int = 0
    error: Exception = field(default_factory=lambda: OSError(errno.EIO, "Input/output error"))
    lasting: bool = False
    calls: int = 0

    def set(self, at: int, error: Exception, *, lasting: bool = False) -> None:
        self.at, self.error, self.lasting, self.calls = at, error, lasting, 0

    def step(self) -> None:
        self.calls += 1
        if self.at and (self.calls == self.at or (self.lasting and self.calls > self.at)):
            raise self.error


class Links(link.SystemFiles):
    """The system's calls behind a trap."""

    def __init__(self, trap: Trap) -> None:
        self.trap = trap

    def symlink(self, target: str, path: Path) -> None:
        self.trap.step()
        super().symlink(target, path)

    def rename(self, source: Path, target: Path) -> None:
        self.trap.step()
        super().rename(source, target)

    def unlink(self, path: Path) -> None:
        self.trap.step()
        super().unlink(path)

    def sync_directory(self, path: Path) -> None:
        self.trap.step()
        super().sync_directory(path)


class TrappedStore(Store):
    """A store whose writes of facts go through a trap; `before_put` is run first, on the store's own thread."""

    trap = Trap()
    before_put: Callable[[], None] = staticmethod(lambda: None)

    def put(self, **facts: Any) -> None:
        self.before_put()
        self.trap.step()
        super().put(**facts)


@dataclass
class Hall:
    """An Activation with a real store, a real model root and real processes that load nothing."""

    path: Path
    it: Room
    activation: Activation
    validation: Validation
    links: Trap
    store: Trap
    kept: TrappedStore
    state: Path

    @property
    def link(self) -> str:
        return os.readlink(self.path / "models" / "current")

    def written(self) -> pos.Position:
        """The position that a daemon would find now."""
        with closing(Store(self.state, SystemClock())) as store:
            return pos.load(store, link.read(self.path / "models", "current"))

    async def ask(self, version: str) -> str:
        """The outcome of the request to activate it; "" when it was refused."""
        await self.validation.scan()
        command = self.activation.command = PendingCommand(ActivationRequest("activate", version))
        await self.activation.decide()
        await soon(lambda: command.result.done() and not self.activation.busy)
        try:
            return command.result.result()
        except Refused:
            return ""


def _config(path: Path) -> Config:
    def quoted(name: str) -> str:
        return json.dumps(str(path / name))

    return parse(
        f"""
        [models]
        root = {quoted("models")}
        activation = "manual"
        settle = 0
        [rollout]
        bake = 0
        reload_timeout = 20
        [control]
        runtime_dir = {quoted("run")}
        state_dir = {quoted("state")}
        cache_dir = {quoted("cache")}
        """,
        "test",
    )


def _version(path: Path, name: str) -> Path:
    """The version's directory and its artifact, which is given back."""
    (path / "models" / name).mkdir(parents=True)
    (path / "models" / name / "model.onnx").write_text(name)
    artifact = path / "cache" / "compiled" / name
    artifact.mkdir(parents=True)
    (artifact / "model.onnx").write_text(name)
    (artifact / "artifact.json").write_text(json.dumps({"files": {"model.onnx": {"bytes": len(name)}}}))
    return artifact


@asynccontextmanager
async def _hall(path: Path, *, bake_seconds: float = 0.0, settle_seconds: float = 0.0) -> AsyncIterator[Hall]:
    config = _config(path)
    if bake_seconds:
        rollout = config.rollout.model_copy(update={"bake": bake_seconds})
        config = config.model_copy(update={"rollout": rollout})
    if settle_seconds:
        models = config.models.model_copy(update={"settle": settle_seconds})
        config = config.model_copy(update={"models": models})
    artifacts = {name: _version(path, name) for name in (OLD, NEW)}
    (path / "models" / "current").symlink_to(OLD)
    (path / "run").mkdir()
    (path / "state").mkdir()
    clock, state = SystemClock(), path / "state" / "state.db"
    store = TrappedStore(state, clock)
    store.trap, files = Trap(), Links(Trap())
    async_store = AsyncStore(store, lambda entry: None)
    validation = Validation(
        lambda: config,
        clock=clock,
        async_store=async_store,
        happened=lambda: None,
        progress=lambda version, message: None,
    )
    async with room(path / "run") as it:
        activation = Activation(
            lambda: config,
            clock=clock,
            async_store=async_store,
            validation=validation,
            choice=choice_of(lambda: config, clock, async_store, validation),
            registry=it.registry,
            happened=lambda: None,
            progress=lambda rollout: None,
            files=files,
        )
        it.executor = activation.executor
        await validation.start()
        await validation.scan()
        for name, artifact in artifacts.items():
            verdict = Verdict(True, "all gates passed", digest=f"digest of {name}", artifact=str(artifact))
            validation.catalog.recall(name, verdict.digest, verdict, 0.0)
        await activation.start(returning=False)
        await activation.decide()
        it.welcome = WelcomeState(OLD, str(artifacts[OLD]), 0.5)
        it.pool.wanted = 2
        it.wake.set()
        await it.all_serve(OLD, 2)
        try:
            yield Hall(path, it, activation, validation, files.trap, store.trap, store, state)
        finally:
            await activation.stop()
            await async_store.close()


def _agrees(hall: Hall, version: str) -> None:
    """Link, workers, the daemon and the disk name the same version."""
    assert hall.link == version
    assert set(hall.it.serving().values()) == {version}
    for position in (hall.activation.position, hall.written()):
        assert position.committed is not None
        assert position.committed.name == version
    assert hall.activation.position.serving is not None
    assert hall.activation.position.serving.version == version
    assert isinstance(sight := hall.validation.sight, RootSeen)
    assert isinstance(sight.link, Names)


def _blameless(hall: Hall, version: str) -> None:
    entry = hall.validation.catalog.get(version)
    assert entry is not None
    assert entry.state is VersionState.ACCEPTED


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EROFS])
def test_a_link_that_cannot_be_moved_sends_the_workers_back_and_blames_nobody(tmp_path: Path, number: int) -> None:
    async def work() -> None:
        async with _hall(tmp_path) as hall:
            reached = 0
            for n in range(1, 10):
                hall.links.set(n, OSError(number, os.strerror(number)))
                answer = await hall.ask(NEW)
                if hall.links.calls < n:
                    break
                reached += 1
                assert answer == ""
                _agrees(hall, OLD)
                _blameless(hall, NEW)
                assert [p.name for p in (tmp_path / "models").glob(".current.*")] == []
            assert reached == 3  # the link beside, the rename, the sync
            assert answer == f"serving {NEW}"  # the same request, with nothing in its way
            _agrees(hall, NEW)

    run(work)


@pytest.mark.parametrize("error", [RuntimeError("unexpected"), MemoryError(), KeyError("k")])
def test_a_rollout_that_ends_by_an_unexpected_error_goes_back_and_is_tried_again(
    tmp_path: Path, error: Exception
) -> None:
    async def work() -> None:
        async with _hall(tmp_path) as hall:
            hall.links.set(1, error)
            assert await hall.ask(NEW) == ""
            _agrees(hall, OLD)
            _blameless(hall, NEW)
            (failed,) = hall.activation.rollouts.known.values()
            assert failed.decided and not failed.succeeded
            assert type(error).__name__ in failed.outcome
            assert [f.part for f in here().failures.current()] == ["rollout"]
            assert await hall.ask(NEW) == f"serving {NEW}"
            _agrees(hall, NEW)

    run(work)


def test_a_rollout_that_never_began_has_an_outcome_and_is_tried_again(tmp_path: Path) -> None:
    broken = True

    def fault(name: str) -> None:
        if broken and name == "rollout":
            raise RuntimeError("unexpected")

    async def work() -> None:
        nonlocal broken
        Background(SystemClock(), fault=fault).install()
        async with _hall(tmp_path) as hall:
            assert await hall.ask(NEW) == ""
            (failed,) = hall.activation.rollouts.known.values()
            assert (failed.decided, failed.outcome) == (True, "it ended by an error in the daemon, which is in the log")
            assert not hall.activation.busy
            broken = False
            assert await hall.ask(NEW) == f"serving {NEW}"
            _agrees(hall, NEW)

    run(work)


def test_whoever_asked_for_another_name_of_what_is_served_is_told_that_the_link_cannot_be_moved(tmp_path: Path) -> None:
    async def work() -> None:
        async with _hall(tmp_path) as hall:
            entry = hall.validation.catalog.get(NEW)
            assert entry is not None
            entry.digest = f"digest of {OLD}"
            hall.links.set(1, OSError(errno.EROFS, os.strerror(errno.EROFS)), lasting=True)
            assert await hall.ask(NEW) == ""
            assert hall.link == OLD
            hall.links.set(0, OSError())
            assert await hall.ask(NEW) == f"serving {NEW}"
            assert hall.link == NEW

    run(work)


def test_a_link_that_stays_bad_is_looked_at_once_more_after_it_settled_and_then_only_now_and_then(
    tmp_path: Path,
) -> None:
    async def work() -> None:
        async with _hall(tmp_path, settle_seconds=0.3) as hall:
            (tmp_path / "models" / "current").unlink()
            (tmp_path / "models" / "current").mkdir()
            await hall.validation.scan()
            await hall.activation.decide()
            clock, settled = SystemClock(), hall.activation.next_check()
            assert settled is not None
            await soon(lambda: clock.monotonic() > settled)
            assert hall.activation.next_check() == settled  # not decided since
            await hall.activation.decide()
            assert hall.activation.next_check() is None
            assert hall.activation.complaint.startswith("cannot put the link back")

    run(work)


def test_a_commit_on_a_disk_that_hangs_makes_no_round_due_however_long_ago_the_link_went(tmp_path: Path) -> None:
    """Else rounds follow one another without a pause: the time of the next check has passed, and none is decided."""
    begun, release = threading.Event(), threading.Event()

    def hang() -> None:
        if hall_of[0].links.calls == 0 and hall_of[0].store.calls == 1:  # the intent; before it, that it began
            begun.set()
            release.wait(PATIENCE_SECONDS)

    hall_of: list[Hall] = []

    async def work() -> None:
        async with _hall(tmp_path, settle_seconds=0.3) as hall:
            hall_of.append(hall)
            (tmp_path / "models" / "current").unlink()
            await hall.validation.scan()
            await hall.activation.decide()
            clock, settled = SystemClock(), hall.activation.next_check()
            assert settled is not None
            hall.store.calls, hall.kept.before_put = 0, hang  # type: ignore[method-assign]
            command = hall.activation.command = PendingCommand(ActivationRequest("activate", NEW))
            await hall.activation.decide()
            await soon(lambda: begun.is_set() and clock.monotonic() > settled)
            await hall.activation.decide()
            assert hall.activation.next_check() is None
            release.set()
            await soon(lambda: command.result.done() and not hall.activation.busy)
            _agrees(hall, NEW)

    try:
        run(work)
    finally:
        release.set()


def test_a_link_that_can_be_moved_neither_forth_nor_back_is_told_as_it_is(tmp_path: Path) -> None:
    async def work() -> None:
        async with _hall(tmp_path) as hall:
            hall.links.set(3, OSError(errno.EIO, "Input/output error"), lasting=True)  # from the sync on
            assert await hall.ask(NEW) == ""
            assert "nor could it be put back" in list(hall.activation.rollouts.known.values())[-1].outcome
            _blameless(hall, NEW)
            assert set(hall.it.serving().values()) == {OLD}
            hall.links.set(0, OSError())
            assert hall.link == NEW  # as it said
            assert await hall.ask(NEW) == f"serving {NEW}"
            _agrees(hall, NEW)

    run(work)


@pytest.mark.parametrize(
    "error",
    [sqlite3.OperationalError("database or disk is full"), OSError(errno.EIO, "Input/output error")],
    ids=["full", "broken"],
)
def test_a_store_that_fails_at_any_write_of_a_rollout_leaves_link_and_workers_in_agreement(
    tmp_path: Path, error: Exception
) -> None:
    async def work() -> None:
        async with _hall(tmp_path) as hall:
            outcomes = []
            target, other = NEW, OLD
            for n in range(1, 10):
                hall.store.set(n, error)
                answer = await hall.ask(target)
                outcomes.append(bool(answer))
                reached = hall.store.calls >= n
                hall.store.set(0, error)
                _blameless(hall, NEW)
                _agrees(hall, target if answer else other)
                if not answer:
                    assert await hall.ask(target) == f"serving {target}"
                    _agrees(hall, target)
                target, other = other, target
                if not reached:
                    break
            # that it began; the intent; the position, which the link tells too; that it ended; none
            assert outcomes == [True, False, True, True, True]

    run(work)


@pytest.mark.parametrize("fresh", [True, False], ids=["looks", "looked before"])
def test_a_decision_in_the_middle_of_the_commit_point_does_not_end_the_last_watch(tmp_path: Path, fresh: bool) -> None:
    async def work() -> None:
        async with _hall(tmp_path, bake_seconds=3.0) as hall:  # longer than a busy machine takes for a commit
            loop = asyncio.get_running_loop()

            def look() -> None:
                async def again() -> None:
                    if fresh:
                        await hall.validation.scan()  # the link names the new version by now
                    await hall.activation.decide()

                asyncio.run_coroutine_threadsafe(again(), loop).result(PATIENCE_SECONDS)

            hall.kept.before_put = look  # type: ignore[method-assign]
            assert await hall.ask(NEW) == f"serving {NEW}"
            _agrees(hall, NEW)
            [rollout] = [r for r in hall.activation.rollouts.known.values() if r.target.version == NEW]
            assert "watching" in [step.because for step in rollout.steps]

    run(work)


def test_a_command_that_is_refused_leaves_the_rollout_under_way_alone(tmp_path: Path) -> None:
    async def work() -> None:
        async with _hall(tmp_path, bake_seconds=3.0) as hall:
            (tmp_path / "models" / "v0.9").mkdir()
            await hall.validation.scan()
            verdict = Verdict(False, "it is no model", digest="digest of v0.9")
            hall.validation.catalog.recall("v0.9", verdict.digest, verdict, 0.0)
            right = hall.activation.command = PendingCommand(ActivationRequest("activate", NEW))
            await hall.activation.decide()
            await soon(lambda: (now := hall.activation.executor.current) is not None and now.state == "baking")
            wrong = hall.activation.command = PendingCommand(ActivationRequest("activate", "v0.9"))
            await hall.activation.decide()
            with pytest.raises(Refused, match="it is rejected: it is no model"):
                wrong.result.result()
            await soon(right.result.done)
            assert right.result.result() == f"serving {NEW}"
            _agrees(hall, NEW)

    run(work)


def test_a_version_rejected_while_copies_are_looked_at_is_not_judged_again(tmp_path: Path) -> None:
    async def work() -> None:
        async with _hall(tmp_path) as hall:
            for _ in range(20):
                entry = hall.validation.catalog.get(NEW)
                assert entry is not None
                verdict = entry.verdict
                assert verdict is not None
                rejecting = hall.validation.reject(NEW, entry.digest, "it failed every second request")
                await asyncio.gather(*(hall.validation.scan() for _ in range(3)), rejecting, hall.validation.scan())
                assert entry.state is VersionState.REJECTED
                entry.state, entry.verdict = VersionState.ACCEPTED, verdict

    run(work)
