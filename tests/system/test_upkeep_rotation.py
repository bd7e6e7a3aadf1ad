"""Four processes write at full rate while their file is rotated every 100 ms: what is left of their lines."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.support import PATIENCE_SECONDS
from tests.writers import (
    NO_LOSSES,
    Writer,
    losses,
    read_all,
    whole_lines,
)

from modelward.daemon.system.clock import SystemClock
from modelward.daemon.upkeep.fs_port import FileSystemPort
from modelward.daemon.upkeep.logs.rotation_outcome import LogSet, RotationOutcome
from modelward.daemon.upkeep.logs.rotation_policy import RotationPolicy
from modelward.daemon.upkeep.logs.rotator import Rotator

pytestmark = pytest.mark.system

SECONDS = float(os.environ.get("MODELWARD_ROTATION_SECONDS", "3"))
EVERY_SECONDS = 0.1


def run(
    directory: Path,
    rotate: Callable[[list[Writer]], None],
    *,
    opens_each: bool = False,
    enough: Callable[[], bool] = lambda: True,
) -> dict[int, int]:
    """Runs four writers on `app.log`, calling `rotate` every 100 ms; says how many lines each wrote.

    They write for SECONDS, and on a slow machine until `enough`.
    """
    writers = [Writer(directory / "app.log", n, PATIENCE_SECONDS, opens_each=opens_each) for n in range(4)]
    for writer in writers:
        writer.go()
    due = time.monotonic()
    end = due + SECONDS
    while any(writer.running() for writer in writers):
        if time.monotonic() > end and enough():
            for writer in writers:
                writer.process.send_signal(signal.SIGUSR2)
        due += EVERY_SECONDS
        time.sleep(max(0.0, due - time.monotonic()))
        rotate(writers)
    return {writer.number: writer.wrote() for writer in writers}


def rotator() -> Rotator:
    return Rotator(FileSystemPort(), SystemClock(), threading.Event())


def wanted_steps(outcomes: list[RotationOutcome], action: str) -> int:
    return sum(step.action == action for outcome in outcomes for step in outcome.steps)


def tell(writers: list[Writer]) -> None:
    for writer in writers:
        if writer.running():
            writer.process.send_signal(signal.SIGUSR1)


def test_reopen_keeps_every_line_of_four_writers_at_full_rate(tmp_path: Path) -> None:
    sets = [LogSet(str(tmp_path), ("app.log",), RotationPolicy(method="reopen"), own=True)]
    ours, outcomes = rotator(), []

    def rotate(writers: list[Writer]) -> None:
        outcomes.append(ours.rotate(sets, force=True))
        tell(writers)
        outcomes.append(ours.compress(sets, reopened=True))

    wrote = run(tmp_path, rotate)
    ours.compress(sets, reopened=True)

    assert losses(read_all(tmp_path, "app.log"), wrote) == NO_LOSSES
    assert wanted_steps(outcomes, "rotated") >= 3
    assert not [t for outcome in outcomes for t in outcome.trouble]
    assert any(p.name.endswith(".gz") for p in tmp_path.iterdir())


def test_collapse_keeps_every_line_of_four_writers_that_never_reopen(tmp_path: Path) -> None:
    sets = [LogSet(str(tmp_path), ("*.log",), RotationPolicy(method="collapse", compress="none"))]
    ours, outcomes = rotator(), []

    def rotate(writers: list[Writer]) -> None:
        outcomes.append(ours.rotate(sets, force=True))

    def enough() -> bool:
        return wanted_steps(outcomes, "rotated") >= SECONDS or any(outcome.trouble for outcome in outcomes)

    wrote = run(tmp_path, rotate, enough=enough)
    if any("cannot collapse a file" in t for outcome in outcomes for t in outcome.trouble):
        pytest.skip("the file system of the test directory cannot collapse files")

    assert losses(read_all(tmp_path, "app.log"), wrote) == NO_LOSSES
    assert not [t for outcome in outcomes for t in outcome.trouble]
    assert wanted_steps(outcomes, "rotated") >= SECONDS
    archives = [p for p in tmp_path.iterdir() if p.name != "app.log"]
    assert all(whole_lines(p.read_bytes()) for p in archives)
    assert all(not p.read_bytes()[:1].isspace() for p in archives), "no archive carries a mark"


def test_rename_keeps_every_line_of_writers_that_open_for_each_line(tmp_path: Path) -> None:
    sets = [LogSet(str(tmp_path), ("app.log",), RotationPolicy(method="rename"))]
    ours = rotator()

    def rotate(writers: list[Writer]) -> None:
        ours.rotate(sets, force=True)
        ours.compress(sets, reopened=False)

    wrote = run(tmp_path, rotate, opens_each=True)

    assert losses(read_all(tmp_path, "app.log"), wrote) == NO_LOSSES


@pytest.mark.skipif(shutil.which("logrotate") is None, reason="logrotate is not installed: nothing to compare with")
def test_copytruncate_of_logrotate_loses_lines_where_collapse_loses_none(tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir(mode=0o755)
    config = tmp_path / "logrotate.conf"
    log = theirs / "app.log"
    config.write_text(
        f'"{log}" {{\n copytruncate\n rotate 10000\n size 1\n nocompress\n dateext\n dateformat .%s\n missingok\n}}\n'
    )
    config.chmod(0o644)
    turn = 0

    def rotate(writers: list[Writer]) -> None:
        nonlocal turn
        turn += 1
        state = str(tmp_path / "state")
        subprocess.run(["logrotate", "-f", "-s", state, str(config)], check=False, capture_output=True)
        for made in theirs.glob("app.log.1*"):
            made.rename(theirs / f"app.log.{turn:05d}")

    wrote = run(theirs, rotate)
    found = losses(read_all(theirs, "app.log"), wrote)

    print(f"logrotate copytruncate, {turn} rotations, {sum(wrote.values())} lines: {found}")
    assert found["missing"] + found["torn"] > 0
