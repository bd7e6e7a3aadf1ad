"""Lines a second and lines lost while four processes write and their file is rotated every 100 ms, each way in turn.

The writers are the same everywhere but for what each way asks of them: to open anew on a signal, to look at the name
before each line, or to rotate themselves. At the end every line that was written is looked for in what is left.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.bench.plan import Plan
from tests.writers import Writer, losses, read_all

from modelward.daemon.system.clock import SystemClock
from modelward.daemon.upkeep.fs_port import FileSystemPort
from modelward.daemon.upkeep.logs.rotation_outcome import LogSet
from modelward.daemon.upkeep.logs.rotation_policy import RotationPolicy
from modelward.daemon.upkeep.logs.rotator import Rotator

WRITERS, EVERY_SECONDS = 4, 0.1
SECONDS, QUICK_SECONDS, ROUNDS = 3.0, 1.0, 3
_HANDLER = """
import logging, logging.handlers, sys, time
path, number, seconds, kind = sys.argv[1], sys.argv[2], float(sys.argv[3]), sys.argv[4]
if kind == "RotatingFileHandler":
    handler = logging.handlers.RotatingFileHandler(path, maxBytes=1_000_000, backupCount=10_000)
else:
    handler = logging.handlers.WatchedFileHandler(path)
handler.setFormatter(logging.Formatter("%(message)s"))
log = logging.getLogger("bench")
log.propagate, log.handlers = False, [handler]
log.setLevel("INFO")
logging.raiseExceptions = False
print("ready", flush=True)
sys.stdin.readline()
end, i, filler = time.monotonic() + seconds, 0, "x" * 90
while True:
    log.info(f"w{number} {i:09d} {filler[: i % 90]}.")
    i += 1
    if not i % 64 and time.monotonic() > end:
        break
print("wrote", i, flush=True)
"""


class LoggingWriter(Writer):
    """One process that writes the same lines through a handler of Python's logging."""

    def __init__(self, path: Path, number: int, seconds: float, kind: str) -> None:
        self.number = number
        self.process = subprocess.Popen(
            [sys.executable, "-c", _HANDLER, str(path), str(number), str(seconds), kind],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"


Rotate = Callable[[Path, list[Writer]], None]


def _ours(method: str) -> Rotate:
    rotator = Rotator(FileSystemPort(), SystemClock(), threading.Event())

    def rotate(directory: Path, writers: list[Writer]) -> None:
        policy = RotationPolicy(method=method, keep=100_000, max_total_bytes=0, max_age_seconds=0)  # type: ignore[arg-type]
        outcome = rotator.rotate([LogSet(str(directory), ("app.log",), policy, own=True)], force=True)
        if outcome.tell_writers:
            _tell(writers)

    return rotate


def _logrotate(words: str, *, signalled: bool) -> Rotate:
    def rotate(directory: Path, writers: list[Writer]) -> None:
        config, state = directory.parent / "logrotate.conf", directory.parent / "logrotate.state"
        if not config.exists():
            text = f"{directory}/app.log {{\n su root root\n rotate 1000\n missingok\n notifempty\n {words}\n}}\n"
            config.write_text(text)
            config.chmod(0o644)
        done = subprocess.run(
            ["logrotate", "--force", "--state", state, config], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise RuntimeError(done.stderr.strip()[-300:])
        if signalled:
            _tell(writers)

    return rotate


def _by_hand(directory: Path, writers: list[Writer]) -> None:
    """A rename alone: WatchedFileHandler sees it by itself."""
    path = directory / "app.log"
    if path.exists():
        path.rename(directory / f"app.log.{time.monotonic_ns():020d}")


def _tell(writers: list[Writer]) -> None:
    for writer in writers:
        if writer.running():
            writer.process.send_signal(signal.SIGUSR1)


# name → (title, how it is rotated (None: the writers do it), which handler writes ("": one write a line, O_APPEND))
WAYS: dict[str, tuple[str, Rotate | None, str]] = {
    "modelward-reopen": ("modelward, `reopen`", _ours("reopen"), ""),
    "modelward-collapse": ("modelward, `collapse` (writers need nothing)", _ours("collapse"), ""),
    "logrotate-signal": ("logrotate, create + signal", _logrotate("nocreate\n delaycompress", signalled=True), ""),
    "logrotate-copytruncate": ("logrotate, copytruncate", _logrotate("copytruncate", signalled=False), ""),
    "rotating": ("RotatingFileHandler in each process", None, "RotatingFileHandler"),
    "watched": ("WatchedFileHandler, renamed from outside", _by_hand, "WatchedFileHandler"),
}


def measure(plan: Plan) -> dict[str, Any]:
    """{"systems": {name: {title, "rounds": [{lines, lines_per_second, lost, torn, rotations}]}}, …}."""
    systems: dict[str, Any] = {name: {"title": title, "rounds": []} for name, (title, _, _) in WAYS.items()}
    for number in range(1 if plan.quick else ROUNDS):
        for name, (_, rotate, handler) in WAYS.items():
            if name.startswith("logrotate") and not shutil.which("logrotate"):
                systems[name]["missing"] = "logrotate is not installed"
                continue
            found = _round(plan, rotate, handler)
            systems[name]["rounds"].append(found)
            print(f"rotation {name} {number + 1}: {found}", file=sys.stderr, flush=True)
    versions = {"logrotate": _logrotate_version()}
    return {"systems": systems, "versions": versions, "writers": WRITERS, "every_seconds": EVERY_SECONDS}


def _round(plan: Plan, rotate: Rotate | None, handler: str) -> dict[str, Any]:
    plan.scratch.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=plan.scratch) as scratch:
        directory = Path(scratch) / "log"
        directory.mkdir(mode=0o750)
        path, seconds = directory / "app.log", QUICK_SECONDS if plan.quick else SECONDS
        writers = [
            LoggingWriter(path, n, seconds, handler) if handler else Writer(path, n, seconds) for n in range(WRITERS)
        ]
        for writer in writers:
            writer.go()
        rotations, due = 0, time.monotonic()
        while any(writer.running() for writer in writers):
            due = max(due + EVERY_SECONDS, time.monotonic())
            threading.Event().wait(due - time.monotonic())
            if rotate is not None and path.exists():
                rotate(directory, writers)
                rotations += 1
        wrote = {writer.number: writer.wrote() for writer in writers}
        data = read_all(directory, "app.log")
        total, found = sum(wrote.values()), losses(data, wrote)
        return {
            "lines": total,
            "lines_per_second": total / seconds,
            "lost": found["missing"],
            "doubled_or_torn": found["doubled"] + found["torn"],
            "rotations": rotations or len(list(directory.iterdir())) - 1,
        }


def _logrotate_version() -> str:
    if not shutil.which("logrotate"):
        return ""
    out = subprocess.run(["logrotate", "--version"], capture_output=True, text=True, check=False)
    return (out.stdout + out.stderr).split("\n")[0].removeprefix("logrotate ").strip()
