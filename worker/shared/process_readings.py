"""Reads what a process did, from /proc: CPU time, waiting for a processor, reading from disks.

It decides nothing. A figure that cannot be read is 0, which never counts as progress.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Final

from .progress import ProcessReading

_TICK: Final = os.sysconf("SC_CLK_TCK")
_NANO: Final = 1e9
_DISK: Final = (b"read_bytes:", b"write_bytes:")
MOST_THREADS: Final = 256
MOST_FILES: Final = 10_000


def read(pid: int, proc: Path = Path("/proc"), *, without: int = 0) -> ProcessReading | None:
    """The process now; None when it is gone. `without` is a thread that does not count: the one that reads."""
    place = f"{proc}/{pid}"
    try:
        fields = _stat(f"{place}/stat")
        cpu = sum(int(field) for field in fields[11:15]) / _TICK  # with children that were waited for
        faults, state = int(fields[9]), fields[0].decode()
    except (OSError, ValueError, IndexError):
        return None
    if state in "ZX":
        return None
    if without == pid:
        state = "S"
    ran = waited = 0.0
    for thread, alone in _threads(place):
        ran, waited = ran + alone[0], waited + alone[1]
        if thread != without and _runs(f"{place}/task/{thread}/stat"):
            state = "R"
    return ProcessReading(time.monotonic(), max(cpu, ran), waited, _disk_bytes(f"{place}/io"), faults, state)


def size_of(directory: str) -> int:
    """Bytes of the files directly in a directory; of a part of them when there are very many or some cannot be read."""
    total = 0
    with suppress(OSError, ValueError), os.scandir(directory) as entries:
        for entry in islice(entries, MOST_FILES):
            total += entry.stat(follow_symlinks=False).st_size
    return total


def _threads(place: str) -> Iterator[tuple[int, tuple[float, float]]]:
    """Each thread with the seconds that it ran, and waited for a processor (Documentation/scheduler/sched-stats)."""
    names: list[str] = []
    with suppress(OSError):
        names = os.listdir(f"{place}/task")[:MOST_THREADS]
    for name in names:
        with suppress(OSError, ValueError):
            ran, waited, _ = _content(f"{place}/task/{name}/schedstat").split()
            yield int(name), (int(ran) / _NANO, int(waited) / _NANO)


def _runs(path: str) -> bool:
    with suppress(OSError, ValueError, IndexError):
        return _stat(path)[0] == b"R"
    return False


def _stat(path: str) -> list[bytes]:
    """The fields from the state on (proc_pid_stat(5)): the name before them may hold ")". Raises OSError,
    ValueError.
    """
    content = _content(path)
    return content[content.rindex(b")") + 2 :].split()


def _disk_bytes(path: str) -> int:
    """Bytes from and to disks; 0 for a process of another user."""
    with suppress(OSError, ValueError, IndexError):
        lines = _content(path).splitlines()
        return sum(int(line.split()[1]) for line in lines if line.startswith(_DISK))
    return 0


def _content(path: str) -> bytes:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(fd, 4096)
    finally:
        os.close(fd)
