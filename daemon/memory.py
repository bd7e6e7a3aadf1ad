"""How much memory can still be had: the machine's word and that of every control group above us, whichever is less."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

_RECLAIMABLE = ("inactive_file", "active_file", "slab_reclaimable")


def available_bytes(proc: Path = Path("/proc"), groups: Path = Path("/sys/fs/cgroup")) -> int | None:
    """Bytes that new processes can use without pushing others out; None when nobody tells."""
    known = [value for value in (_machine(proc), _groups(proc, groups)) if value is not None]
    return min(known, default=None)


def _machine(proc: Path) -> int | None:
    with suppress(OSError, ValueError, IndexError):
        for line in (proc / "meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return None


def _groups(proc: Path, groups: Path) -> int | None:
    """The tightest limit of version 2 groups from ours up to the root."""
    with suppress(OSError, ValueError):
        path = next(
            line.partition("::")[2] for line in (proc / "self/cgroup").read_text().splitlines() if line[:3] == "0::"
        )
        place = groups / path.strip("/")
        left = [free for group in (place, *place.parents) if (free := _left(group)) is not None]
        return min(left, default=None)
    return None


def _left(group: Path) -> int | None:
    try:
        limit = (group / "memory.max").read_text().strip()
        if limit == "max":
            return None
        used = int((group / "memory.current").read_text())
        for line in (group / "memory.stat").read_text().splitlines():
            name, _, value = line.partition(" ")
            if name in _RECLAIMABLE:
                used -= int(value)
        return max(0, int(limit) - used)
    except (OSError, ValueError):
        return None
