"""Reads what the control groups above this process allow: CPU quota, memory, and how often memory ran out.

It reads versions 1 and 2, wherever they are mounted, at every level from our own group up to the highest visible one.
The tightest level counts. A limit that cannot be read is no limit: None. It changes nothing and starts nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Final, NamedTuple

from .safe_read import kernel_text

PROC: Final = Path("/proc")
ROOT: Final = Path("/")
MOUNTINFO_BYTES: Final = 1 << 20
_UNLIMITED: Final = 1 << 60  # version 1 writes the largest number of pages for "no limit"
_RECLAIMABLE: Final = (
    "inactive_file", "active_file", "slab_reclaimable", "total_inactive_file", "total_active_file",
)  # fmt: skip


class Memory(NamedTuple):
    """One group's limit in bytes, and what is still available below it: page cache that can be dropped counts
    as free.
    """

    limit_bytes: int
    free_bytes: int


class _Mount(NamedTuple):
    """A mounted hierarchy. `controllers` is empty for version 2. `top` is the group at the mount point."""

    controllers: frozenset[str]
    top: str
    point: str


class _Group(NamedTuple):
    """One level. `second`: of version 2. `own`: the group of this process."""

    path: str
    second: bool
    own: bool


def quota(proc: Path = PROC, root: Path = ROOT) -> float | None:
    """CPU seconds a second that the groups allow, such as 0.5 for half a processor; None for no limit."""
    found = [value for group in _levels("cpu", proc, root) if (value := _quota(group)) is not None]
    return min(found, default=None)


def memory(proc: Path = PROC, root: Path = ROOT) -> Memory | None:
    """The group with the least memory left; None when no group has a limit."""
    found = [value for group in _levels("memory", proc, root) if (value := _memory(group)) is not None]
    return min(found, key=lambda value: value.free_bytes, default=None)


def oom_kills(proc: Path = PROC, root: Path = ROOT) -> int | None:
    """How many processes of our own group the kernel killed for lack of memory; None where it does not count them."""
    for group in _levels("memory", proc, root):
        name = "memory.events" if group.second else "memory.oom_control"
        return _counters(f"{group.path}/{name}").get("oom_kill")
    return None


def _quota(group: _Group) -> float | None:
    with suppress(OSError, ValueError):
        if group.second:
            allowed, period = kernel_text(f"{group.path}/cpu.max").split()
        else:
            allowed, period = (kernel_text(f"{group.path}/cpu.cfs_{name}_us").strip() for name in ("quota", "period"))
        if allowed.isdigit() and int(period) > 0:  # not "max", not -1
            return int(allowed) / int(period)
    return None


def _memory(group: _Group) -> Memory | None:
    names = ("max", "high") if group.second else ("limit_in_bytes",)
    limits = [_number(f"{group.path}/memory.{name}") for name in names]
    stat: dict[str, int] = {}
    if group.own and not group.second:
        # This file also covers limits above the highest visible level.
        stat = _counters(f"{group.path}/memory.stat")
        limits.append(stat.get("hierarchical_memory_limit"))
    known = [limit for limit in limits if limit is not None and limit < _UNLIMITED]
    in_use = _number(f"{group.path}/memory.{'current' if group.second else 'usage_in_bytes'}") if known else None
    if in_use is None:
        return None
    stat = stat or _counters(f"{group.path}/memory.stat")  # for a whole machine this takes the kernel some time
    reclaimable = _RECLAIMABLE[:3] if group.second else _RECLAIMABLE[3:]
    in_use -= sum(stat.get(name, 0) for name in reclaimable)
    return Memory(min(known), max(0, min(known) - max(0, in_use)))


def _number(path: str) -> int | None:
    """The whole number in a file; None for "max", and when there is no such file."""
    with suppress(OSError, ValueError):
        text = kernel_text(path).strip()
        return int(text) if text.isdigit() else None
    return None


def _counters(path: str) -> dict[str, int]:
    """The lines of a file with a name and a number each; {} when there is no such file."""
    with suppress(OSError):
        pairs = (line.partition(" ") for line in kernel_text(path).splitlines())
        return {name: int(value) for name, _, value in pairs if value.isdigit()}
    return {}


def _levels(controller: str, proc: Path, root: Path) -> Iterator[_Group]:
    """Our own group of this controller, then each visible group above it."""
    with suppress(OSError, ValueError):
        ours = _ours(kernel_text(f"{proc}/self/cgroup"))
        mounts = _mounts(proc)
        for mount, path in _candidates(controller, ours, mounts):
            base = f"{root}{mount.point}".replace("//", "/")
            place = ours_below = _below(path, mount.top)
            while True:
                yield _Group(f"{base}/{place}".rstrip("/"), not mount.controllers, place == ours_below)
                if not place:
                    return
                place = place.rpartition("/")[0]


def _candidates(controller: str, ours: dict[str, str], mounts: tuple[_Mount, ...]) -> Iterator[tuple[_Mount, str]]:
    """The hierarchy that has the controller, with our group in it: version 1 where it is mounted, else version 2."""
    for mount in mounts:
        if controller in mount.controllers and controller in ours:
            yield mount, ours[controller]
            return
    for mount in mounts:
        if not mount.controllers and "" in ours:
            yield mount, ours[""]
            return


def _ours(text: str) -> dict[str, str]:
    """Our group by controller, "" for version 2, from lines like "4:cpu,cpuacct:/a/b"."""
    found = {}
    for line in text.splitlines():
        _, names, path = line.split(":", 2)
        found.update(dict.fromkeys(names.split(","), path))
    return found


def _below(path: str, top: str) -> str:
    """The path of a group below the mounted one, without slashes at the ends; "" for the mounted one itself.

    A container often sees only its own group, under a name from outside the container. Then the mount point is the
    group.
    """
    top = top.rstrip("/")
    inside = path.startswith(f"{top}/") and "/../" not in f"{path}/"
    return path[len(top) :].strip("/") if inside else ""


@lru_cache(maxsize=4)  # hierarchies stay where they were mounted at boot
def _mounts(proc: Path) -> tuple[_Mount, ...]:
    return tuple(_parsed(kernel_text(f"{proc}/self/mountinfo", MOUNTINFO_BYTES)))


def _parsed(text: str) -> Iterator[_Mount]:
    """The cgroup lines of /proc/self/mountinfo (proc_pid_mountinfo(5))."""
    for line in text.splitlines():
        before, _, after = line.partition(" - ")
        fields, kind = before.split(), after.split()
        if len(fields) < 5 or len(kind) < 3:
            continue
        top, point = (_plain(field) for field in fields[3:5])
        if kind[0] == "cgroup2":
            yield _Mount(frozenset(), top, point)
        elif kind[0] == "cgroup":
            yield _Mount(frozenset(kind[2].split(",")), top, point)


def _plain(field: str) -> str:
    r"""A path of that file: a space is written \040 there."""
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        field = field.replace(code, character)
    return field


def affinity() -> int:
    """How many processors the scheduler lets this process use."""
    return len(os.sched_getaffinity(0))
