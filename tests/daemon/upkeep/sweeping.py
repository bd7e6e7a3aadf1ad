"""Runs sweeps in tests: old files made with `utime`, seen from a month later, for nobody can set a change time."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable
from pathlib import Path

from msgspec.structs import replace

from modelward.daemon.system.clock import SystemClock
from modelward.daemon.upkeep.disk import reasons
from modelward.daemon.upkeep.disk.outcome import ClassOutcome, SweepOutcome
from modelward.daemon.upkeep.disk.quota import ClassRule, Margin
from modelward.daemon.upkeep.disk.remover import Budget
from modelward.daemon.upkeep.disk.sweep import Orders, sweep
from modelward.daemon.upkeep.fs_port import FileSystemPort

DAY = 86400.0
LATER = time.time() + 30 * DAY  # when the sweep believes to run: everything made by a test is a month old


def make(path: Path, size: int = 100, *, age_seconds: float = 30 * DAY) -> Path:
    """A file that is so old at LATER; younger than a month by its modification time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * size)
    stamp = LATER - age_seconds
    os.utime(path, (stamp, stamp))
    return path


def orders(root: Path | Iterable[ClassRule], **changes: object) -> Orders:
    """Orders for one class `uploads` with an age of a day, or for the given rules."""
    rules = [ClassRule("uploads", str(root), max_age_seconds=DAY)] if isinstance(root, Path) else list(root)
    budget = Budget(files=0, bytes=0, seconds=0)
    return replace(Orders(rules, LATER, budget=budget), **changes)  # type: ignore[arg-type]


def run(given: Orders, **kwargs: object) -> SweepOutcome:
    """One sweep, now."""
    arguments: dict[str, object] = {"files": FileSystemPort(), "clock": SystemClock(), "stop": threading.Event()}
    return sweep(given, **(arguments | kwargs))  # type: ignore[arg-type]


def names(root: Path) -> list[str]:
    """Paths of all files below, relative."""
    return sorted(str(p.relative_to(root)) for p in root.rglob("*") if not p.is_dir())


def spared(outcome: SweepOutcome, code: int, index: int = 0) -> int:
    """How many entries were spared for a reason."""
    return of(outcome, index).spared.get(reasons._WORDS.get(code, ""), (0, 0))[0]


def of(outcome: SweepOutcome, index: int = 0) -> ClassOutcome:
    return outcome.classes[index]


def listed(given: Orders, **kwargs: object) -> dict[str, str]:
    """path -> because, for everything removed and spared."""
    found: dict[str, str] = {}

    def report(path: str, used: int, code: int) -> None:
        rule = next(r for r in given.rules if path.startswith(r.path))
        found[path] = reasons.sentence(
            code,
            rule.name,
            max_age_seconds=rule.max_age_seconds,
            max_bytes=rule.max_bytes,
            max_files=rule.max_files,
            min_age_seconds=given.min_age_seconds,
        )

    run(given, report=report, **kwargs)
    return found


def nothing(*_: object) -> None:
    return


FREE = Margin()
