"""A compiled form comes to the workers like a version, and what is wrong with it costs the form alone."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.daemon.workers.room import Room, room
from tests.support import soon

from modelward.daemon.config.load import parse
from modelward.daemon.controllers.activation import Activation
from modelward.daemon.controllers.form_choice import FormChoice
from modelward.daemon.controllers.forms import Forms
from modelward.daemon.controllers.pending_command import PendingCommand
from modelward.daemon.controllers.validation import Validation
from modelward.daemon.models.activation_policy import ActivationRequest
from modelward.daemon.models.lifecycle import VersionState
from modelward.daemon.models.verdict import Verdict
from modelward.daemon.state.async_store import AsyncStore
from modelward.daemon.state.store import HistoryEntry, Store
from modelward.daemon.system.clock import SystemClock
from modelward.daemon.workers.registry import WelcomeState

OLD, NEW = "v1.0", "v1.1"


@dataclass
class Hall:
    """Two workers that serve v1.0 as it came; real link, store and artifacts, no compiler."""

    root: Path
    it: Room
    activation: Activation
    validation: Validation
    forms: Forms
    told: list[HistoryEntry]

    def kinds(self) -> list[str]:
        return [entry.kind for entry in self.told]

    async def make(self, version: str, kind: str) -> str:
        """Leaves a form of this version on the disk, as a compiler would; the directory."""
        digest = _digest(version)
        await self.look()
        key = self.forms.keys(digest)["mapped" if kind == "mapped" else "rewritten"]
        return _artifact(self.root, version, kind, level="mapped" if kind == "mapped" else "exact", key=key)

    async def look(self) -> None:
        await self.validation.scan()
        await self.forms.read_disk([_digest(OLD), _digest(NEW)])

    async def round(self) -> None:
        """One round of the supervisor, as far as rollouts go, and the rollout that it began."""
        await self.look()
        await self.activation.decide()
        if not self.activation.busy and not self.activation.converge():
            self.activation.improve()
        await soon(lambda: not self.activation.busy)

    def artifacts(self) -> set[str]:
        return {Path(peer.artifact).name for peer in self.it.registry.peers()}


def _digest(version: str) -> str:
    return f"{version.encode().hex():0<64}"


def _artifact(root: Path, version: str, kind: str, **more: object) -> str:
    path = root / f"{version}-{kind}"
    path.mkdir(parents=True)
    (path / "model.onnx").write_text(version)
    described = {"version": version, "digest": _digest(version), "form": kind, "load_bytes": 5, **more}
    described["files"] = {"model.onnx": {"bytes": len(version)}}
    if kind != "plain":
        described["compiled_model"] = "model.onnx"
        described["compiled"] = {"cpu_ratio_5s": 0.5, "load_seconds": 0.1, "load_seconds_original": 1.0}
    (path / "artifact.json").write_text(json.dumps(described))
    return str(path)


@asynccontextmanager
async def _hall(path: Path, script: dict[str, object]) -> AsyncIterator[Hall]:
    lines = [
        "[models]", f'root = "{path}/models"', 'activation = "manual"', "[rollout]", "bake = 0.2", "reload_timeout = 5",
        "[control]", f'runtime_dir = "{path}/run"', f'state_dir = "{path}/state"', f'cache_dir = "{path}/cache"',
    ]  # fmt: skip
    config, root = parse("\n".join(lines), "test"), path / "cache" / "compiled"
    plain = {name: _artifact(root, name, "plain") for name in (OLD, NEW)}
    for name in (OLD, NEW):
        (path / "models" / name).mkdir(parents=True)
        (path / "models" / name / "model.onnx").write_text(name)
    (path / "models" / "current").symlink_to(OLD)
    (path / "run").mkdir()
    clock, told = SystemClock(), list[HistoryEntry]()
    async_store = AsyncStore(Store(path / "state" / "state.db", clock), told.append)
    validation = Validation(
        lambda: config,
        clock=clock,
        async_store=async_store,
        happened=lambda: None,
        progress=lambda version, message: None,
    )
    forms = Forms(lambda: config, clock=clock, async_store=async_store, happened=lambda: None)
    async with room(path / "run", scripts={"": script}) as it:
        activation = Activation(
            lambda: config,
            clock=clock,
            async_store=async_store,
            validation=validation,
            choice=FormChoice(forms, validation, clock),
            registry=it.registry,
            happened=lambda: None,
            progress=lambda rollout: None,
        )
        it.executor = activation.executor
        await validation.start()
        await validation.scan()
        for name, artifact in plain.items():
            verdict = Verdict(True, "all gates passed", digest=_digest(name), artifact=artifact)
            validation.catalog.recall(name, verdict.digest, verdict, 0.0)
        await activation.start(returning=False)
        await activation.decide()
        it.welcome = WelcomeState(OLD, plain[OLD], 0.5)
        it.pool.wanted = 2
        it.wake.set()
        await it.all_serve(OLD, 2)
        try:
            yield Hall(root, it, activation, validation, forms, told)
        finally:
            await activation.stop()
            await async_store.close()


def test_a_better_form_of_what_serves_is_taken_up_and_then_the_best(tmp_path: Path) -> None:
    async def work() -> None:
        async with _hall(tmp_path, {}) as hall:
            await hall.round()
            assert hall.artifacts() == {"v1.0-plain"}
            for kind in ("mapped", "exact"):
                form = await hall.make(OLD, kind)
                await hall.round()
                assert hall.artifacts() == {f"v1.0-{kind}"}
                serving = hall.activation.position.serving
                assert serving is not None and serving.artifact == form
            await hall.round()
            assert len(hall.activation.rollouts.known) == 2
            assert hall.activation.position.previous is None  # no version came or went
            await soon(lambda: hall.kinds().count("form-live") == 2)
            because = next(entry.because for entry in hall.told if entry.kind == "form-live")
            assert "CPU time 0.50 at 5s" in because and "loads in 0.10 s instead of 1.00" in because
            await hall.forms.tidy(hall.activation.artifacts_in_use())
            assert sorted(p.name for p in hall.root.iterdir()) == ["v1.0-exact", "v1.0-plain", "v1.1-plain"]

    asyncio.run(asyncio.wait_for(work(), 90))


@pytest.mark.parametrize("fault", ["refuse", "dies", "hang", "no commit"])
def test_a_form_that_fails_its_canary_is_not_used_again_and_nothing_is_held_against_the_version(
    tmp_path: Path, fault: str
) -> None:
    async def work() -> None:
        async with _hall(tmp_path, {"v1.0-exact": fault}) as hall:
            await hall.make(OLD, "exact")
            await hall.round()
            await hall.it.all_serve(OLD, 2)
            [rollout] = hall.activation.rollouts.known.values()
            assert not rollout.succeeded
            entry = hall.validation.catalog.get(OLD)
            assert entry is not None and entry.state is VersionState.ACCEPTED
            await hall.round()
            await hall.it.all_serve(OLD, 2)
            assert [r.origin for r in hall.activation.rollouts.known.values()].count("form") == 1
            serving = hall.activation.position.serving
            assert serving is not None and serving.artifact.endswith("v1.0-plain")
            await soon(lambda: {"form-failed", "form-refused"} <= set(hall.kinds()))
            assert "rejected" not in hall.kinds() and "rollout-failed" not in hall.kinds()

    asyncio.run(asyncio.wait_for(work(), 120))


def test_a_version_whose_form_fails_goes_as_it_came(tmp_path: Path) -> None:
    async def work() -> None:
        async with _hall(tmp_path, {"v1.1-exact": "dies"}) as hall:
            await hall.make(NEW, "exact")
            await hall.look()
            command = hall.activation.command = PendingCommand(ActivationRequest("activate", NEW))
            await hall.activation.decide()
            await soon(lambda: command.result.done() and not hall.activation.busy)
            assert command.result.result() == f"serving {NEW}"
            # the successor of the one that died was told of the old version
            await soon(lambda: sorted(filter(None, hall.it.serving().values())) == [OLD, NEW])
            await hall.round()
            await hall.it.all_serve(NEW, 2)
            serving, entry = hall.activation.position.serving, hall.validation.catalog.get(NEW)
            assert serving is not None and serving.artifact.endswith("v1.1-plain")
            assert entry is not None and entry.state is VersionState.ACCEPTED
            await soon(lambda: "activated" in hall.kinds())
            assert "form-refused" in hall.kinds()

    asyncio.run(asyncio.wait_for(work(), 120))


def test_a_version_that_fails_in_every_form_is_rejected(tmp_path: Path) -> None:
    async def work() -> None:
        async with _hall(tmp_path, {NEW: "refuse"}) as hall:
            await hall.make(NEW, "exact")
            await hall.look()
            command = hall.activation.command = PendingCommand(ActivationRequest("activate", NEW))
            await hall.activation.decide()
            await soon(lambda: command.result.done() and not hall.activation.busy)
            assert isinstance(command.result.exception(), Exception)
            entry = hall.validation.catalog.get(NEW)
            assert entry is not None and entry.state is VersionState.REJECTED
            await hall.it.all_serve(OLD, 2)

    asyncio.run(asyncio.wait_for(work(), 120))


def test_a_form_that_somebody_removed_is_left_for_the_version_as_it_came(tmp_path: Path) -> None:
    async def work() -> None:
        async with _hall(tmp_path, {}) as hall:
            form = Path(await hall.make(OLD, "exact"))
            await hall.round()
            assert hall.artifacts() == {"v1.0-exact"}
            (form / "artifact.json").unlink()
            await hall.round()
            await soon(lambda: hall.artifacts() == {"v1.0-plain"})
            serving = hall.activation.position.serving
            assert serving is not None and serving.artifact.endswith("v1.0-plain")

    asyncio.run(asyncio.wait_for(work(), 90))
