"""Looks at the clocks for upkeep and keeps the last good time in the state directory, over restarts and reboots.

Decides nothing: trusted.py does. Without a record of its own the newest archive of our logs stands in for it. Any
thread may look. Invariant: a record that cannot be read or written costs the memory of it and stops nothing.
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
from ..system.clock import Clock
from .clock_guard import ClockJudgement, Trust, judge

RECORD: Final = "clock.json"
MAX_RECORD_BYTES: Final = 4096
KEEP_SECONDS: Final = 600.0
"""Between two writings of the record while nothing changes."""
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


class _Record(msgspec.Struct, frozen=True):
    boot: str
    wall: float
    elapsed: float
    last_wall: float
    last_elapsed: float
    steady_since: float


def boot_id() -> str:
    """What this boot is called; "" where nobody says."""
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""


class TrustedClock:
    """See the module. `newest`: when our newest archive was written, seconds since 1970, 0 for none."""

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
        """The time to count ages from now, and what may not go by it. Reads and writes a small file."""
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
        except (OSError, msgspec.DecodeError, UnicodeDecodeError) as e:
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
