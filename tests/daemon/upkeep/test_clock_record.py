"""A clock that jumps by days, also over a restart: no log archive and no file goes by its age, and sizes go on."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.daemon.upkeep.clocks import NOON, HandClock
from tests.daemon.upkeep.test_service import configuration
from tests.support import PATIENCE_SECONDS
from tests.worker.running import ROOT

from modelward.daemon.config.load import Config
from modelward.daemon.upkeep.clock_guard import STEADY_SECONDS
from modelward.daemon.upkeep.clock_record import RECORD, TrustedClock
from modelward.daemon.upkeep.service import Upkeep

DAY = 86400.0
LIBRARIES = (
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketime.so.1",
)
LOOKS = """
import os, sys
from pathlib import Path
from modelward.daemon.system.clock import SystemClock
from modelward.daemon.upkeep.clock_record import TrustedClock
clock = TrustedClock(Path(sys.argv[1]), SystemClock())
for line in sys.stdin:
    Path(os.environ["FAKETIME_TIMESTAMP_FILE"]).write_text(line)
    judged = clock.judge()
    print(int(judged.now), judged.refused or "-", judged.held or "-", sep="|", flush=True)
"""


@contextmanager
def running(base: Path, clock: HandClock, config: Config) -> Iterator[Upkeep]:
    upkeep = Upkeep(lambda: config, clock, pids=lambda: [os.getpid()])
    try:
        yield upkeep
    finally:
        upkeep.close()


@pytest.fixture
def base(tmp_path: Path) -> Path:
    for name in ("models", "state/uploads", "state/tmp", "cache/compiled", "logs", "webui"):
        (tmp_path / name).mkdir(parents=True, mode=0o750)
    return tmp_path


def config_of(base: Path) -> Config:
    config = configuration(base)
    return config.model_copy(update={"logs": config.logs.model_copy(update={"max_size": 10_000, "extra": ()})})


def archives(base: Path) -> list[str]:
    return sorted(path.name for path in (base / "logs").glob("access.log.*"))


def three_archives(base: Path, upkeep: Upkeep) -> list[str]:
    for _ in range(3):
        (base / "logs/access.log").write_text("line\n")
        upkeep.rotate(force=True)
    (base / "logs/access.log").write_text("line\n")
    assert len(archives(base)) == 3
    return archives(base)


def steps(done: dict[str, Any]) -> set[str]:
    return {step.action for step in done.steps}


@pytest.mark.parametrize("jump", [40 * DAY, 400 * DAY, -800 * DAY])
def test_no_archive_goes_and_none_is_made_by_age_when_the_clock_jumps(base: Path, jump: float) -> None:
    clock = HandClock(wall=base.stat().st_ctime + 60)
    with running(base, clock, config_of(base)) as upkeep:
        before = three_archives(base, upkeep)
        clock.step(jump)
        done = upkeep.rotate()
        assert steps(done) == {"spared"} and any("by size it goes on" in sentence for sentence in done.trouble)
        assert "jumped" in asyncio.run(upkeep.sweep()).trouble[0]
        for _ in range(5):
            clock.advance(60)
            assert steps(upkeep.rotate()) == {"spared"}
            asyncio.run(upkeep.sweep())
        assert archives(base) == before
        assert bool(upkeep.clock_held) == (jump > 0)
        clock.step(-jump)
        upkeep.rotate()
        clock.advance(60)
        upkeep.rotate()
        assert bool(upkeep.clock_held) == (jump < 0)  # what was written meanwhile must not look old
        assert archives(base) == before


def test_rotation_by_size_goes_on_and_its_archives_bear_no_wrong_time(base: Path) -> None:
    clock = HandClock(wall=base.stat().st_ctime + 60)
    with running(base, clock, config_of(base)) as upkeep:
        before = three_archives(base, upkeep)
        for jump in (400 * DAY, 0.0):
            clock.step(jump)
            (base / "logs/access.log").write_text("line\n" * 3000)
            assert "rotated" in steps(upkeep.rotate())
            clock.advance(60)
        assert len(archives(base)) == len(before) + 2
        assert all(name[len("access.log.") :][:4] == before[0][len("access.log.") :][:4] for name in archives(base))


def test_a_jump_that_stands_for_a_day_is_believed_and_ages_count_again(base: Path) -> None:
    clock = HandClock(wall=base.stat().st_ctime + 60)
    with running(base, clock, config_of(base)) as upkeep:
        before = three_archives(base, upkeep)
        clock.step(40 * DAY)
        upkeep.rotate()
        clock.advance(STEADY_SECONDS)
        assert "dropped" in steps(upkeep.rotate())
        assert not set(before) & set(archives(base))


def test_a_restart_with_a_wrong_clock_is_no_way_round_it(base: Path) -> None:
    clock = HandClock(wall=base.stat().st_ctime + 60)
    with running(base, clock, config_of(base)) as upkeep:
        before = three_archives(base, upkeep)
    clock.advance(30)
    clock.step(40 * DAY)
    for _ in range(3):
        with running(base, clock, config_of(base)) as upkeep:
            assert "dropped" not in steps(upkeep.rotate())
            assert upkeep.clock_held
        clock.advance(600)
    assert set(before) <= set(archives(base))  # a day may end meanwhile: that makes one more


def test_without_a_record_the_newest_archive_says_what_time_it_was(base: Path) -> None:
    clock = HandClock(wall=base.stat().st_ctime + 60)
    with running(base, clock, config_of(base)) as upkeep:
        before = three_archives(base, upkeep)
    (base / "state" / RECORD).unlink()
    clock.step(40 * DAY)
    with running(base, clock, config_of(base)) as upkeep:
        assert "dropped" not in steps(upkeep.rotate())
        assert "ahead of the time that passed" in upkeep.clock_held
    assert archives(base) == before


def test_after_a_boot_the_last_good_time_still_counts(tmp_path: Path) -> None:
    clock = HandClock()
    TrustedClock(tmp_path, clock, boot=lambda: "one").judge()
    for days, believed in ((3, True), (40, False)):
        later = HandClock(wall=NOON + days * DAY)
        judged = TrustedClock(tmp_path, later, boot=lambda: f"boot after {days}").judge()  # noqa: B023
        assert bool(judged.held) is not believed
        assert judged.now <= later.wall() and (judged.now == later.wall()) is believed


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b'{"boot":1}', b"\xff" * 100, b"x" * 10_000])
def test_a_damaged_record_costs_the_memory_of_it_and_nothing_else(tmp_path: Path, content: bytes) -> None:
    (tmp_path / RECORD).write_bytes(content)
    clock = HandClock()
    assert TrustedClock(tmp_path, clock).judge().now == clock.wall()
    assert (tmp_path / RECORD).read_bytes() != content


def test_a_state_directory_that_takes_no_file_stops_nothing(tmp_path: Path) -> None:
    clock = HandClock()
    assert TrustedClock(tmp_path / "nowhere", clock).judge().now == clock.wall()


def test_the_machines_own_clocks_are_judged_when_they_jump(tmp_path: Path) -> None:
    library = next((path for path in LIBRARIES if Path(path).exists()), None)
    if library is None:
        pytest.skip("no libfaketime here (apt install libfaketime)")
    stamps = tmp_path / "stamps"
    stamps.write_text("+0d")
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT / ".imports"),
        "LD_PRELOAD": library,
        "FAKETIME_TIMESTAMP_FILE": str(stamps),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "DONT_FAKE_MONOTONIC": "1",
    }
    done = subprocess.run(
        [sys.executable, "-c", LOOKS, str(tmp_path)],
        input="+0d\n+40d\n+40d\n+0d\n",
        capture_output=True,
        text=True,
        env=environment,
        timeout=PATIENCE_SECONDS,
        check=True,
    )
    rows = [line.split("|") for line in done.stdout.splitlines()]
    assert [row[1].split(":")[0] for row in rows][:2] == ["-", "the wall clock jumped 40d forward"]
    assert "40d ahead" in rows[2][2] and rows[3][2] == "-"
    assert max(int(row[0]) for row in rows) - int(rows[0][0]) < DAY
