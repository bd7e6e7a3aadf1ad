"""Upkeep as the daemon uses it: from a configuration to answers ready for JSON."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace
from tests.daemon.upkeep.clocks import HandClock
from tests.support import PATIENCE_SECONDS

from modelward.daemon.answers.disk import DeletedOpen, SpaceAmount
from modelward.daemon.config.load import Config, parse
from modelward.daemon.errors import NotKnown, Refused
from modelward.daemon.system import processes
from modelward.daemon.system.clock import SystemClock
from modelward.daemon.upkeep.disk.precheck import glance
from modelward.daemon.upkeep.disk.sweep import Orders
from modelward.daemon.upkeep.from_config import log_sets, rules
from modelward.daemon.upkeep.fs_port import FileSystemPort
from modelward.daemon.upkeep.service import BACK_OFF_SECONDS, Upkeep

MONTH = 30 * 86400.0


def configuration(base: Path, extra: str = "") -> Config:
    text = f"""
[models]
root = "{base}/models"
[control]
runtime_dir = "{base}/run"
state_dir = "{base}/state"
cache_dir = "{base}/cache"
[logs]
dir = "{base}/logs"
max_size = "4KiB"
[[logs.extra]]
path = "{base}/webui/*.log"
method = "collapse"
[disk]
min_free = "0"
target_free = "0"
[[disk.class]]
name = "uploads"
path = "{base}/state/uploads"
max_age = "1d"
max_bytes = 0
{extra}
"""
    return parse(text, "test")


class House:
    """A configured daemon's directories, and upkeep that believes to run a month from now."""

    def __init__(self, base: Path) -> None:
        self.base = base
        for name in ("models", "state/uploads", "state/tmp", "cache/compiled", "logs", "webui"):
            (base / name).mkdir(parents=True, mode=0o750)
        self.config = configuration(base)
        self.clock = HandClock(wall=base.stat().st_ctime + MONTH)
        self.upkeep = Upkeep(lambda: self.config, self.clock, pids=lambda: [os.getpid()])

    def sweep(self, **kwargs: bool) -> dict[str, Any]:
        return asyncio.run(self.upkeep.sweep(**kwargs))

    def disk(self) -> dict[str, Any]:
        return asyncio.run(self.upkeep.disk())


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    found = House(tmp_path / "house")
    yield found
    found.upkeep.close()


def test_classes_come_cheapest_first_and_an_operators_class_takes_a_built_in_ones_place(tmp_path: Path) -> None:
    order = [rule.name for rule in rules(configuration(tmp_path))]
    assert order == ["tmp", "cache", "logs", "uploads", "compiled", "versions", "jobs"]
    added = (
        f'[[disk.class]]\nname = "tmp"\npath = "{tmp_path}/scratch"\n[[disk.class]]\nname = "more"\npath = "/srv/more"'
    )
    again = rules(configuration(tmp_path, added))
    assert [rule.name for rule in again] == ["tmp", "cache", "logs", "uploads", "more", "compiled", "versions", "jobs"]
    assert again[0].path == f"{tmp_path}/scratch"


def test_our_logs_are_reopened_and_others_rotated_as_configured(tmp_path: Path) -> None:
    own, extra = log_sets(configuration(tmp_path))
    assert (own.own, own.policy.method, own.policy.max_size_bytes) == (True, "reopen", 4096)
    assert (extra.directory, extra.patterns, extra.policy.method) == (f"{tmp_path}/webui", ("*.log",), "collapse")


def test_a_log_of_ours_has_its_own_policy_where_it_has_a_table_and_else_the_common_one(tmp_path: Path) -> None:
    tables = '[logs.access]\nkeep = 2\nmax_total = "1MiB"\ncompress = "none"\n[logs.error]\nmax_age = "90d"\n'
    together, access, _ = log_sets(configuration(tmp_path, tables))
    assert (together.patterns, access.patterns) == (("modelward.log", "error.log", "debug.log"), ("access.log",))
    assert access.policy == replace(together.policy, keep=2, max_total_bytes=1 << 20, compress="none")
    assert together.policies == {"error.log": replace(together.policy, max_age_seconds=90 * 86400.0)}


def test_every_answer_is_ready_for_json(house: House) -> None:
    (house.base / "logs/access.log").write_text("line\n" * 2000)
    (house.base / "state/uploads/old\udcff").write_bytes(b"x")
    answers = [
        house.disk(),
        house.upkeep.progress(),
        house.sweep(dry_run=True),
        house.sweep(),
        house.upkeep.rotate(),
        house.upkeep.compress(reopened=True),
        house.upkeep.tidy(),
        house.upkeep.logs(),
        house.upkeep.tail("access", 5),
    ]
    for answer in answers:
        msgspec.json.encode(answer)


def test_a_dry_run_lists_what_would_go_and_why(house: House) -> None:
    (house.base / "state/uploads/a.wav").write_bytes(b"x" * 100)
    (house.base / "state/tmp/b").write_bytes(b"x" * 100)
    listed = house.sweep(dry_run=True).listed
    assert [(Path(entry.path).name, entry.rule, entry.because) for entry in listed or ()] == [
        ("b", "tmp", "older than 1d"),
        ("a.wav", "uploads", "older than 1d"),
    ]
    assert (house.base / "state/uploads/a.wav").exists()


def test_versions_and_compiled_ones_are_left_to_retention(house: House) -> None:
    for name in ("models/v1", "cache/compiled/v1-abc"):
        (house.base / name).mkdir()
        (house.base / name / "model.onnx").write_bytes(b"x")
    house.config = house.config.model_copy(update={"disk": configuration(house.base).disk.model_copy(update=_all())})
    house.sweep(by_hand=True)
    assert (house.base / "models/v1/model.onnx").exists()
    assert (house.base / "cache/compiled/v1-abc/model.onnx").exists()


def _all() -> dict[str, object]:
    from modelward.daemon.units import DiskShare

    return {"min_free": DiskShare(percent=100), "target_free": DiskShare(percent=100)}


def test_a_full_disk_that_cannot_be_helped_is_said_once_and_left_for_ten_minutes(house: House) -> None:
    house.config = house.config.model_copy(update={"disk": house.config.disk.model_copy(update=_all())})
    first = house.sweep()
    assert any("cannot bring the disk" in sentence for sentence in first.trouble)
    house.clock.advance(60)
    second = house.sweep()
    assert second.resting and not second.trouble
    assert house.sweep(by_hand=True).trouble
    house.clock.advance(BACK_OFF_SECONDS + 60)
    assert house.sweep().trouble


def test_a_jump_of_the_wall_clock_removes_nothing(house: House) -> None:
    path = house.base / "state/uploads/mine"
    path.write_bytes(b"x")
    house.clock.step(-MONTH + 700)
    house.sweep()
    house.clock.advance(60)
    house.clock.step(70 * 365 * 86400.0)
    assert "jumped" in house.sweep().trouble[0]
    house.clock.advance(60)
    house.sweep()
    assert path.exists()


def test_rotates_tells_and_compresses_in_turn(house: House) -> None:
    log = house.base / "logs/access.log"
    log.write_text("line\n" * 2000)
    assert house.upkeep.rotate().tell_writers
    assert not house.upkeep.rotate().tell_writers
    house.upkeep.compress(reopened=True)
    assert len(list(log.parent.glob("access.log.*.gz"))) == 1


def test_a_request_that_comes_while_the_daemon_ends_is_refused_in_words(house: House) -> None:
    house.upkeep.close()
    for method in (house.upkeep.aside, house.upkeep.reading):
        with pytest.raises(Refused, match="the daemon is ending; nothing was changed"):
            asyncio.run(method(house.upkeep.rotate))


def test_one_log_can_be_rotated_by_its_short_name(house: House) -> None:
    for name in ("access.log", "error.log"):
        (house.base / "logs" / name).write_text("line\n")
    house.upkeep.rotate(force=True, file="error")
    assert len(list((house.base / "logs").glob("error.log.*"))) == 1
    assert not list((house.base / "logs").glob("access.log.*"))


def test_shows_logs_by_name_and_nothing_else(house: House) -> None:
    (house.base / "logs/access.log").write_text("one\ntwo\nthree\n")
    (house.base / "webui/app.log").write_text("theirs\n")
    assert house.upkeep.tail("access.log", 2).lines == ["two", "three"]
    assert house.upkeep.tail("app", 2).lines == ["theirs"]
    assert [entry.name for entry in house.upkeep.logs().logs] == ["access.log", "app.log"]
    with open(house.base / "logs/error.log", "ab"):
        (house.base / "logs/error.log").unlink()
        gone = DeletedOpen(os.getpid(), str(house.base / "logs/error.log"), 0)
        assert house.upkeep.logs([os.getpid()]).deleted_open == [gone]
    for name in ("../../../etc/passwd", "/etc/passwd", "..", "access.log/../../secret", "\x00"):
        with pytest.raises(NotKnown, match="no log of that name"):
            house.upkeep.tail(name, 5)


def test_work_runs_on_a_thread_of_its_own_one_thing_after_another(house: House) -> None:
    async def ask() -> list[str]:
        return await asyncio.gather(*(house.upkeep.aside(lambda: threading.current_thread().name) for _ in range(3)))

    assert set(asyncio.run(ask())) == {"upkeep_0"}


class Started:
    """Counts the processes that upkeep starts."""

    def __init__(self, house: House, keep: str = "") -> None:
        self.count = 0
        self.upkeep = Upkeep(lambda: house.config, house.clock, keep=lambda rule: lambda unit: keep, spawn=self)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.count += 1
        return processes.spawn(*args, **kwargs)

    def sweep(self) -> dict[str, Any]:
        return asyncio.run(self.upkeep.sweep())


def test_with_little_to_look_at_and_nothing_to_do_no_process_is_started(house: House) -> None:
    (house.base / "models/v1").mkdir()
    (house.base / "models/v1/model.onnx").write_bytes(b"x")
    house.clock.step(-MONTH + 700)  # everything is older than the minimum age, and younger than any maximum
    (house.base / "state/uploads/young.wav").write_bytes(b"x" * 5000)
    started = Started(house, keep="live")
    said = started.sweep()
    started.upkeep.close()
    assert started.count == 0
    assert not said.dry_run and not said.removed.files
    rows = {row.name: row for row in said.classes}
    assert rows["uploads"].after == rows["uploads"].before == SpaceAmount(1, 8192)
    assert rows["versions"].spared[0].because == "kept: live"


@pytest.mark.parametrize("due", ["state/uploads/old.wav", "models/.trash/left/over", "state/uploads/empty/"])
def test_whatever_is_due_goes_at_the_next_sweep(house: House, due: str) -> None:
    path = house.base / due
    (house.base / "models/.trash").mkdir(mode=0o700)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.mkdir() if due.endswith("/") else path.write_bytes(b"x")
    os.utime(path, (1e9, 1e9))
    started = Started(house)
    started.sweep()
    started.upkeep.close()
    assert started.count == 1
    assert not path.exists()


def test_more_than_a_glance_has_time_for_is_swept_by_a_process(house: House) -> None:
    for number in range(600):
        (house.base / f"state/uploads/{number}").write_bytes(b"")
    files = FileSystemPort()
    orders = Orders(rules(house.config), house.clock.wall() - MONTH + 700)
    stop = threading.Event()
    look = partial(glance, orders, files=files, clock=SystemClock(), stop=stop, keep=lambda rule: lambda unit: "")
    assert look(seconds=30) is not None
    assert look(seconds=0) is None
    stop.set()
    assert look(seconds=30) is None


def test_while_an_archive_is_compressed_logs_are_rotated_and_shown_and_the_disk_is_swept(house: House) -> None:
    """The archive's reader is held up until everything else has answered."""
    logs, read, go_on = house.base / "logs", threading.Event(), threading.Event()

    def held(fd: int, count: int) -> bytes:
        read.set()
        go_on.wait(PATIENCE_SECONDS)
        return os.read(fd, count)

    upkeep = Upkeep(lambda: house.config, house.clock, files=FileSystemPort(read=held))
    (logs / "access.log").write_text("line\n" * 2000)
    (house.base / "webui/app.log").write_text("theirs\n" * 2000)
    upload = house.base / "state/uploads/old.wav"
    upload.write_bytes(b"x")

    async def work() -> None:
        await upkeep.aside(upkeep.rotate)
        packing = asyncio.create_task(upkeep.pack(reopened=True))
        await asyncio.to_thread(read.wait, 60)
        (logs / "error.log").write_text("line\n" * 2000)
        done = await upkeep.aside(upkeep.rotate)
        assert [Path(s.path).name for s in done.steps if s.action == "rotated"] == ["error.log"]
        assert (await upkeep.reading(lambda: upkeep.tail("app", 1))).name == "app.log"
        await upkeep.sweep()
        assert not upload.exists() and not list(logs.glob("*.gz"))
        go_on.set()
        assert await packing == []
        await upkeep.pack(reopened=True)

    asyncio.run(asyncio.wait_for(work(), PATIENCE_SECONDS))
    upkeep.close()
    assert len(list(logs.glob("access.log.*.gz"))) == len(list(logs.glob("error.log.*.gz"))) == 1


def test_a_round_of_compressing_that_is_asked_for_meanwhile_follows(house: House) -> None:
    async def work() -> None:
        for name in ("access.log", "error.log"):
            (house.base / "logs" / name).write_text("line\n" * 2000)
            await house.upkeep.aside(house.upkeep.rotate)
            await asyncio.gather(*(house.upkeep.pack(reopened=True) for _ in range(5)))

    asyncio.run(asyncio.wait_for(work(), PATIENCE_SECONDS))
    assert len(list((house.base / "logs").glob("*.gz"))) == 2
