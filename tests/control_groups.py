"""A control group of a test's own, of version 1 or 2: so much CPU time a second, so much memory, and what was used.

Needs root and a kernel whose groups may be changed here; `missing` says what is not there. A group is removed when its
last process is gone.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.support import eventually

TOP: Final = Path("/sys/fs/cgroup")
PERIOD_US: Final = 100_000


@dataclass
class Group:
    """`places` are its directories. `peak_bytes` is the most that was in use at a time without page cache."""

    places: tuple[Path, ...]
    first: bool
    peak_bytes: int = 0
    _over: threading.Event = field(default_factory=threading.Event)

    @property
    def prefix(self) -> tuple[str, ...]:
        """A command line that goes into the group and becomes the program whose command line follows."""
        joins = "; ".join(f"echo $$ > {place}/cgroup.procs" for place in self.places)
        return "/bin/sh", "-ec", f'{joins}; exec "$@"', "sh"

    @property
    def memory(self) -> Path:
        return self.places[-1]

    def oom_kills(self) -> int:
        name = "memory.oom_control" if self.first else "memory.events"
        return _stat(self.memory / name).get("oom_kill", 0)

    def used_bytes(self) -> int:
        """In use now, without page cache; what the kernel itself keeps for the group included."""
        stat = _stat(self.memory / "memory.stat")
        if self.first:
            used = int((self.memory / "memory.usage_in_bytes").read_text())
            return used - stat["total_inactive_file"] - stat["total_active_file"]
        used = int((self.memory / "memory.current").read_text())
        return used - stat["inactive_file"] - stat["active_file"]

    def most_bytes(self) -> int:
        """The most that was charged at a time, page cache included."""
        name = "memory.max_usage_in_bytes" if self.first else "memory.peak"
        return int((self.memory / name).read_text())

    def cpu_seconds(self) -> float:
        stat = _stat(self.places[0] / "cpu.stat")
        return stat.get("usage_usec", 0) / 1e6

    def watch(self) -> None:
        """Keeps `peak_bytes` up to date until the group is removed, on a thread."""
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        while not self._over.wait(0.1):
            with suppress(OSError, KeyError, ValueError):
                self.peak_bytes = max(self.peak_bytes, self.used_bytes())

    def stop(self) -> None:
        self._over.set()


def missing() -> str:
    """Why no group can be had here; "" when one can."""
    if os.geteuid() != 0:
        return "control groups need root"
    try:
        with group("probe", quota=0.5, memory_bytes=64 << 20):
            return ""
    except OSError as e:
        return f"control groups cannot be made here: {e}"


@contextmanager
def group(name: str, *, quota: float, memory_bytes: int) -> Iterator[Group]:
    """A group with these limits. Raises OSError where it can't be had."""
    first = (TOP / "memory" / "memory.limit_in_bytes").exists()
    label = f"modelward-{name}-{os.getpid()}"
    places = (TOP / "cpu" / label, TOP / "memory" / label) if first else (TOP / label,)
    made = Group(places, first)
    try:
        for place in places:
            place.mkdir()
        if first:
            (places[0] / "cpu.cfs_period_us").write_text(str(PERIOD_US))
            (places[0] / "cpu.cfs_quota_us").write_text(str(int(quota * PERIOD_US)))
            (places[1] / "memory.limit_in_bytes").write_text(str(memory_bytes))
        else:
            (places[0] / "cpu.max").write_text(f"{int(quota * PERIOD_US)} {PERIOD_US}")
            (places[0] / "memory.max").write_text(str(memory_bytes))
        yield made
    finally:
        made.stop()
        for place in places:
            if place.exists():
                eventually(lambda place=place: not (place / "cgroup.procs").read_text())  # type: ignore[misc]
                place.rmdir()


def _stat(path: Path) -> dict[str, int]:
    pairs = (line.split() for line in path.read_text().splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdigit()}
