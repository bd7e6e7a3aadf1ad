"""Upkeep on its timer and by hand: what must stay, when logs are compressed, what is told; on real files.

Store, catalog, sweeping process and files are the real ones; who is connected is in the test's hands.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.daemon.upkeep.clocks import HandClock
from tests.fakes.forms import choice_of, forms_of
from tests.support import PATIENCE_SECONDS, soon

from modelward.daemon.answers.disk import ClassSwept, DiskProgressAnswer, SweepAnswer
from modelward.daemon.config.load import Config, parse
from modelward.daemon.controllers.activation import Activation
from modelward.daemon.controllers.maintenance import REOPEN_SECONDS, Maintenance
from modelward.daemon.controllers.validation import Validation
from modelward.daemon.errors import Refused
from modelward.daemon.models.activation_policy import Named
from modelward.daemon.models.verdict import Verdict
from modelward.daemon.state.async_store import AsyncStore
from modelward.daemon.state.store import HistoryEntry, Store
from modelward.daemon.status.serving_state import Position
from modelward.daemon.system.clock import SystemClock
from modelward.daemon.upkeep.service import BACK_OFF_SECONDS
from modelward.daemon.workers.peer import WorkerPeer
from modelward.daemon.workers.registry import WelcomeState, WorkerRegistry
from modelward.daemon.workers.rollout_executor import Target

MONTH = 30 * 86400.0
NAMES = [f"v1.{number}" for number in range(7)]


def configuration(base: Path, extra: str = "", tables: str = "") -> Config:
    return parse(
        f"""
[models]
root = "{base}/models"
keep = 1
[control]
runtime_dir = "{base}/run"
state_dir = "{base}/state"
cache_dir = "{base}/cache"
[logs]
dir = "{base}/logs"
max_size = "4KiB"
[disk]
check = 1
min_age = 0
{extra or 'min_free = "0"'}
target_free = "{"100%" if extra else "0"}"
class = []
{tables}
""",
        "test",
    )


class Home:
    """Seven versions with their copies, and a month gone by since they came."""

    def __init__(self, base: Path, extra: str = "") -> None:
        self.base, self.config = base, configuration(base, extra)
        for name in ("models", "state/tmp", "cache/compiled", "logs", "run"):
            (base / name).mkdir(parents=True, mode=0o750)
        for name in NAMES:
            self.version(name)
        (base / "models" / "current").symlink_to(NAMES[-1])
        self.clock = HandClock(wall=base.stat().st_ctime + MONTH)
        self.peers: list[WorkerPeer] = []
        self.told: list[HistoryEntry] = []
        self.owing: list[str] = []
        self.asked = 0

    def version(self, name: str) -> None:
        (self.base / "models" / name).mkdir()
        (self.base / "models" / name / "model.onnx").write_text(name)
        copy = self.copy(name)
        copy.mkdir()
        (copy / "model.onnx").write_text(name)
        (copy / "artifact.json").write_text(json.dumps({"files": {"model.onnx": {"bytes": len(name)}}}))

    def copy(self, name: str) -> Path:
        return self.base / "cache" / "compiled" / f"{name}-copy"

    def target(self, name: str) -> Target:
        return Target(name, f"digest of {name}", str(self.copy(name)))

    def reopen(self) -> list[str]:
        self.asked += 1
        return list(self.owing)

    @property
    def versions(self) -> list[str]:
        return sorted(p.name for p in (self.base / "models").glob("v*"))

    @property
    def copies(self) -> list[str]:
        return sorted(p.name.removesuffix("-copy") for p in (self.base / "cache" / "compiled").glob("v*"))

    def kinds(self) -> list[str]:
        return [entry.kind for entry in self.told]

    @asynccontextmanager
    async def kept(self, clock: Any = None) -> AsyncIterator[Maintenance]:
        """Everything looked at and accepted; v1.6 is live and v1.5 served before."""
        clock = clock or self.clock
        async_store = AsyncStore(Store(self.base / "state" / "state.db", self.clock), self.told.append)
        self.validation = Validation(
            lambda: self.config,
            clock=clock,
            async_store=async_store,
            happened=lambda: None,
            progress=lambda name, message: None,
        )
        registry = WorkerRegistry(clock=clock, welcome=WelcomeState, happened=lambda event: None, offered=os.close)
        self.activation = Activation(
            lambda: self.config,
            clock=clock,
            async_store=async_store,
            validation=self.validation,
            choice=choice_of(lambda: self.config, clock, async_store, self.validation),
            registry=registry,
            happened=lambda: None,
            progress=lambda rollout: None,
        )
        connected: Any = SimpleNamespace(peers=lambda: tuple(self.peers))
        keeping = Maintenance(
            lambda: self.config,
            clock,
            validation=self.validation,
            forms=forms_of(lambda: self.config, clock, async_store),
            activation=self.activation,
            registry=connected,
            async_store=async_store,
            reopen=self.reopen,
        )
        await self.validation.start()
        await self.validation.scan()
        for name in NAMES:
            verdict = Verdict(True, "all gates passed", digest=f"digest of {name}", artifact=str(self.copy(name)))
            self.validation.catalog.recall(name, verdict.digest, verdict, 0.0)
        live = self.target("v1.6")
        self.activation.kept.now = Position(
            Named("v1.6", live.digest), live, live, Named("v1.5", self.target("v1.5").digest)
        )
        try:
            yield keeping
        finally:
            await keeping.stop()
            await async_store.close()


def peer(name: str, serving: str, artifact: str = "") -> WorkerPeer:
    return WorkerPeer(name, os.getpid(), False, 0.0, serving=serving, artifact=artifact)


def run(home: Home, work: Callable[[Maintenance], Awaitable[None]]) -> None:
    async def whole() -> None:
        async with home.kept() as keeping:
            await work(keeping)

    asyncio.run(asyncio.wait_for(whole(), PATIENCE_SECONDS))


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


def rows(done: SweepAnswer) -> dict[str, ClassSwept]:
    return {row.name: row for row in done.classes}


def test_only_versions_that_nobody_needs_go_and_their_copies_a_sweep_later(home: Home) -> None:
    home.peers = [peer("w1", "v1.4")]

    async def work(keeping: Maintenance) -> None:
        home.activation.held["v1.0"] = "asked for"
        home.activation.wanted = "v1.1"
        dry = await keeping.sweep(dry_run=True)
        assert [e.path for e in dry.listed or () if e.rule == "versions"] == [str(home.base / "models" / "v1.2")]
        assert home.versions == NAMES and keeping.sweeps == 0
        done = await keeping.sweep(dry_run=False)
        assert home.versions == ["v1.0", "v1.1", "v1.3", "v1.4", "v1.5", "v1.6"]
        assert home.copies == NAMES  # while the catalog knows its version a copy stays
        assert (keeping.sweeps, keeping.removed_files) == (1, 1) and keeping.last == done
        await home.validation.scan()
        await keeping.sweep(dry_run=False)
        assert home.copies == home.versions

    run(home, work)
    assert home.kinds().count("sweep") == 2 and "vanished" in home.kinds()


def test_a_version_under_rollout_stays(home: Home) -> None:
    async def work(keeping: Maintenance) -> None:
        executor: Any = home.activation.executor
        executor.current = SimpleNamespace(target=home.target("v1.0"))
        await keeping.sweep(dry_run=False)
        assert "v1.0" in home.versions and "v1.1" not in home.versions

    run(home, work)


def test_nothing_of_a_version_goes_while_the_model_root_cannot_be_read(home: Home) -> None:
    async def work(keeping: Maintenance) -> None:
        (home.base / "models").rename(home.base / "elsewhere")
        await home.validation.scan()
        (home.base / "elsewhere").rename(home.base / "models")  # it is back, and nobody has looked yet
        done = await keeping.sweep(dry_run=False)
        for name in ("versions", "compiled"):
            assert not rows(done)[name].removed
            assert any("can't be read" in reason.because for reason in rows(done)[name].spared), rows(done)[name]

    run(home, work)
    assert home.versions == home.copies == NAMES


def test_a_version_that_came_after_the_last_look_stays(home: Home) -> None:
    async def work(keeping: Maintenance) -> None:
        (home.base / "models" / "v0.1").mkdir()
        await keeping.sweep(dry_run=False)
        assert "v0.1" in home.versions

    run(home, work)


def test_a_copy_that_a_worker_maps_outlives_its_version(home: Home) -> None:
    home.peers = [peer("w1", "v0.9", str(home.copy("v0.9"))), peer("webui", "v0.8")]
    for name in ("v0.9", "v0.8"):
        home.copy(name).mkdir()
        (home.copy(name) / "model.onnx").write_text(name)

    async def work(keeping: Maintenance) -> None:
        await keeping.sweep(dry_run=False)
        assert "v0.9" in home.copies and "v0.8" not in home.copies

    run(home, work)


def test_what_a_validator_left_goes_when_none_is_at_work(home: Home) -> None:
    left = home.base / "cache" / "compiled" / ".tmp-left"

    async def work(keeping: Maintenance) -> None:
        left.mkdir()
        (left / "model.onnx").write_text("half")
        home.validation._work.start("judgement", partial(asyncio.sleep, 60), lambda task: None)
        await keeping.sweep(dry_run=False)
        assert left.exists()
        await home.validation.stop()
        await keeping.sweep(dry_run=False)
        assert not left.exists()

    run(home, work)


def archives(home: Home) -> list[str]:
    return sorted(p.name for p in (home.base / "logs").iterdir() if p.name.startswith("access.log."))


def full_log(home: Home) -> None:
    (home.base / "logs" / "access.log").write_text("a line\n" * 1000)


def test_logs_are_compressed_once_every_writer_has_let_go(home: Home) -> None:
    home.owing = ["w1", "w2", "w3"]
    home.peers = [peer("w1", "v1.6"), peer("w2", "v1.6")]  # w3 has left since it was asked
    full_log(home)

    async def work(keeping: Maintenance) -> None:
        rotating = asyncio.create_task(keeping.rotate())
        await soon(lambda: home.asked == 1)
        keeping.reopened("w1")
        await asyncio.sleep(0.05)
        assert not rotating.done() and not archives(home)[0].endswith(".gz")
        keeping.reopened("w2")
        done = await rotating
        assert done.tell_writers and archives(home)[0].endswith(".gz")

    run(home, work)
    assert home.kinds() == ["rotated"]


@pytest.mark.parametrize("method", ["collapse", "rename"])
def test_history_tells_of_a_rotation_of_another_programs_log_too(home: Home, method: str) -> None:
    (home.base / "other").mkdir(mode=0o750)
    (home.base / "other" / "app.log").write_text("a line\n" * 2000)
    table = f'[[logs.extra]]\npath = "{home.base}/other/*.log"\nmethod = "{method}"\nmax_size = "8KiB"'
    home.config = configuration(home.base, tables=table)

    async def work(keeping: Maintenance) -> None:
        await keeping.rotate()
        await keeping.rotate()

    run(home, work)
    assert home.asked == 0
    [told] = home.told
    rotated = [step["path"] for step in told.detail["rotation"]["steps"] if step["action"] == "rotated"]
    assert (told.kind, rotated) == ("rotated", [f"{home.base}/other/app.log"])


def test_a_writer_that_never_answers_holds_compression_up_for_so_long_and_no_longer(home: Home) -> None:
    home.owing, home.peers = ["w1"], [peer("w1", "v1.6")]
    full_log(home)

    async def work(keeping: Maintenance) -> None:
        rotating = asyncio.create_task(keeping.rotate())
        await soon(lambda: home.asked == 1)
        home.clock.advance(REOPEN_SECONDS + 1)
        await rotating
        assert archives(home)[0].endswith(".gz")

    run(home, work)


def test_a_dry_run_and_a_rotation_of_nothing_tell_nobody(home: Home) -> None:
    async def work(keeping: Maintenance) -> None:
        await keeping.rotate()
        full_log(home)
        done = await keeping.rotate(dry_run=True, force=True)
        assert done.steps and not archives(home)

    run(home, work)
    assert home.asked == 0 and home.kinds() == []


def test_one_log_is_rotated_and_shown_by_its_name_and_no_other_file_is(home: Home) -> None:
    full_log(home)
    (home.base / "logs" / "error.log").write_text("bad\n" * 2000)

    async def work(keeping: Maintenance) -> None:
        done = await keeping.rotate(force=True, file="access")
        assert [Path(step.path).name for step in done.steps] == ["access.log"]
        assert len(archives(home)) == 1
        assert (home.base / "logs" / "error.log").stat().st_size == 8000
        assert {entry.name for entry in (await keeping.logs()).logs} >= {"error.log"}
        assert (await keeping.tail("error", 2)).lines == ["bad", "bad"]
        with pytest.raises(Refused, match="no log of that name"):
            await keeping.tail("../state/state.db", 2)

    run(home, work)


def test_the_space_is_told_by_class(home: Home) -> None:
    async def work(keeping: Maintenance) -> None:
        assert {row.name for row in (await keeping.disk()).classes} >= {"logs", "compiled", "versions"}
        assert await keeping.disk(progress=True) == DiskProgressAnswer([])

    run(home, work)


def test_trouble_is_said_once_whatever_its_figures_and_forgotten_when_it_is_over(tmp_path: Path) -> None:
    home = Home(tmp_path / "home", 'min_free = "100%"')

    async def work(keeping: Maintenance) -> None:
        for _ in range(2):
            await keeping.sweep(dry_run=False)
            assert any("cannot bring the disk" in sentence for sentence in keeping.trouble)
        home.config = configuration(home.base)
        await keeping.sweep(dry_run=False)
        assert keeping.trouble == ()

    run(home, work)
    assert home.kinds().count("upkeep-trouble") == 1


def test_what_is_wrong_with_a_log_is_an_alert_once_beside_what_is_wrong_with_the_disk(tmp_path: Path) -> None:
    home = Home(tmp_path / "home", 'min_free = "100%"')
    (home.base / "other").mkdir(mode=0o777)
    (home.base / "other").chmod(0o777)
    table = f'[[logs.extra]]\npath = "{home.base}/other/*.log"'
    home.config = configuration(home.base, 'min_free = "100%"', tables=table)

    async def work(keeping: Maintenance) -> None:
        for _ in range(2):
            await keeping._tick()
            assert len(keeping.trouble) == 2 and "every user may write to it" in keeping.trouble[0]
        home.config = configuration(home.base, 'min_free = "100%"')
        await keeping._tick()
        [left] = keeping.trouble
        assert "cannot bring the disk" in left

    run(home, work)
    assert home.kinds().count("upkeep-trouble") == 2


def test_a_full_disk_stays_an_alert_while_it_is_left_alone_for_a_while(tmp_path: Path) -> None:
    home = Home(tmp_path / "home", 'min_free = "100%"')

    async def work(keeping: Maintenance) -> None:
        for seconds in (0, 60, 60, BACK_OFF_SECONDS):
            home.clock.advance(seconds)
            await keeping._tick()
            assert any("cannot bring the disk" in sentence for sentence in keeping.trouble)

    run(home, work)
    assert home.kinds().count("upkeep-trouble") == 1


def test_it_goes_on_by_itself_whatever_goes_wrong_and_ends_when_told(home: Home) -> None:
    logs = home.base / "logs"
    logs.rename(home.base / "moved")
    logs.write_text("no directory")

    async def whole() -> None:
        async with home.kept(SystemClock()) as keeping:
            keeping.start()
            await soon(lambda: keeping.sweeps >= 1)
            logs.unlink()
            (home.base / "moved").rename(logs)
            full_log(home)
            await soon(lambda: archives(home) and archives(home)[0].endswith(".gz"))
            await asyncio.wait_for(keeping.stop(), PATIENCE_SECONDS)
            sweeps = keeping.sweeps
            assert home.asked == 1
            await asyncio.sleep(0)
            assert keeping.sweeps == sweeps

    asyncio.run(asyncio.wait_for(whole(), PATIENCE_SECONDS))
