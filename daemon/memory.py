"""How much memory can still be had: the machine's word and that of every control group above us, whichever is less."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from .reading import told

_RECLAIMABLE = ("inactive_file", "active_file", "slab_reclaimable")


def available_bytes(proc: Path = Path("/proc"), groups: Path = Path("/sys/fs/cgroup")) -> int | None:
    """Bytes that new processes can use without pushing others out; None when nobody tells."""
    known = [value for value in (_machine(proc), _groups(proc, groups)) if value is not None]
    return min(known, default=None)


def _machine(proc: Path) -> int | None:
    with suppress(OSError, ValueError, IndexError):
        for line in told(f"{proc}/meminfo").splitlines():
            if line.startswith("MemAvailable:"):
                return max(0, int(line.split()[1])) * 1024
    return None


def group_limit(proc: Path = Path("/proc"), groups: Path = Path("/sys/fs/cgroup")) -> tuple[int, int] | None:
    """Limit and free bytes of the version 2 group, from ours up to the root, that has least left; None for no limit."""
    with suppress(OSError, ValueError, StopIteration):
        path = next(line.partition("::")[2] for line in told(f"{proc}/self/cgroup").splitlines() if line[:3] == "0::")
        place, limits = path.strip("/"), []
        while True:
            if (found := _left(f"{groups}/{place}")) is not None:
                limits.append(found)
            if not place:
                return min(limits, key=lambda found: found[1], default=None)
            place = place.rpartition("/")[0]
    return None


def _groups(proc: Path, groups: Path) -> int | None:
    found = group_limit(proc, groups)
    return None if found is None else found[1]


def _left(group: str) -> tuple[int, int] | None:
    try:
        limit = told(f"{group}/memory.max").strip()
        if not limit.isdigit():  # "max"
            return None
        used = int(told(f"{group}/memory.current"))
        for line in told(f"{group}/memory.stat").splitlines():
            name, _, value = line.partition(" ")
            if name in _RECLAIMABLE:
                used -= int(value)
        return int(limit), max(0, int(limit) - used)
    except (OSError, ValueError):
        return None
