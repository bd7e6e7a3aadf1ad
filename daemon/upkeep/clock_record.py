"""Reads the clocks for upkeep and keeps the last good time in the state directory, over restarts and reboots.

It decides nothing: clock_guard.py does. If there is no record, the time of the newest archive of our logs is used. Any
thread may call it. Invariant: a record that cannot be read or written stops nothing; only the time in it is lost.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec
import structlog

from ...worker.shared.durable_files import replace_file
from ...worker.shared.unreadable import UNREADABLE
from ..system.clock import Clock
from .clock_guard import ClockJudgement, Trust, judge

RECORD: Final = "clock.json"
MAX_RECORD_BYTES: Final = 4096
KEEP_SECONDS: Final = 600.0
"""The time between two writes of the record while nothing changes."""
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


class _Record(msgspec.Struct, frozen=True):
    boot: str
    wall: float
    elapsed: float
    last_wall: float
    last_elapsed: float
    steady_since: float


def boot_id() -> str:
    """The kernel's identifier of this boot; "" where it cannot be read."""
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""


class TrustedClock:
    """See the module. `newest` gives when our newest archive was written, seconds since 1970; 0 for none."""

    def __init__(
        self,
        state_dir: Path,
        clock: Clock,
        *,
        newest: Callable[[], float] = lambda: 0.0,
        boot: Callable[[], str] = boot_id,
    ) -> None:
        self._path, self._clock, self._newest, self._boot_of = state_dir / RECORD, clock, newest, boot
        self._first = (clock.wall(), clock.elapsed())
        self._boot = ""
        self._trust: Trust | None = None
        self._write_at = -math.inf
        self._held = ""
        self._complaint = ""
        self._lock = threading.Lock()
        self._log = structlog.get_logger("upkeep")

    def judge(self) -> ClockJudgement:
        """The time to count ages from now, and what may not go by its age. Reads and writes a small file."""
        with self._lock:
            if self._trust is None:
                self._boot = self._boot_of()
                self._trust = self._begin()
            elapsed = self._clock.elapsed()
            self._trust, judged = judge(self._trust, self._clock.wall(), elapsed)
            if elapsed >= self._write_at or judged.refused or bool(judged.held) != bool(self._held):
                self._keep(self._trust)
                self._write_at = elapsed + KEEP_SECONDS
            self._held = judged.held
            return judged

    def _begin(self) -> Trust:
        wall, elapsed = self._first
        record = self._read()
        if record is None:
            newest = self._newest()
            return Trust.after_boot(newest, elapsed, wall, elapsed) if newest else Trust.begin(wall, elapsed)
        trust = Trust(record.wall, record.elapsed, record.last_wall, record.last_elapsed, record.steady_since)
        if record.boot and record.boot == self._boot and record.last_elapsed <= elapsed:
            return trust
        return Trust.after_boot(trust.good(), 0.0, wall, elapsed)

    def _read(self) -> _Record | None:
        try:
            with self._path.open("rb") as file:
                return msgspec.json.decode(file.read(MAX_RECORD_BYTES), type=_Record)
        except FileNotFoundError:
            return None
        except (OSError, *UNREADABLE) as e:
            self._log.warning("cannot read the last good time: it is taken from the logs", path=str(self._path), why=e)
            return None

    def _keep(self, trust: Trust) -> None:
        record = _Record(self._boot, trust.wall, trust.elapsed, trust.last_wall, trust.last_elapsed, trust.steady_since)
        complaint = ""
        try:
            replace_file(self._path, msgspec.json.encode(record))
        except OSError as e:
            complaint = e.strerror or str(e)
        if complaint and complaint != self._complaint:
            self._log.warning("cannot keep the last good time", path=str(self._path), because=complaint)
        self._complaint = complaint
