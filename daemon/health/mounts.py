"""Reads how full the file systems below our directories are, also while one of them does not answer.

`statvfs` on a network or FUSE mount may never return and cannot be interrupted. So each such mount has one thread, and
the caller waits for it only a moment. Mounts of the kinds in PROMPT answer from memory and are read directly. The ways
from paths to mounts are computed once. Each reading lists the mounts, checks that no link is on the way, and asks.
"""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final

from msgspec import Struct, field

from ...worker.shared.started import start_thread
from ..system.clock import Clock
from ..system.safe_read import kernel_bytes

PATIENCE_SECONDS: Final = 0.5
STUCK_SECONDS: Final = 5.0
MAX_MOUNTS: Final = 64
MAX_MOUNTINFO_BYTES: Final = 4 << 20
PROMPT: Final = frozenset(("btrfs", "devtmpfs", "ext2", "ext3", "ext4", "f2fs", "ramfs", "tmpfs", "xfs"))
"""Kinds whose `statfs` reads counters in memory: it waits for no disk and no other machine."""

StatVfs = Callable[[str], os.statvfs_result]


class MountSpace(Struct, frozen=True):
    """One file system. `free` is what ordinary users get; inodes are 0 where their number is not fixed."""

    size_bytes: int
    free_bytes: int
    reserved_bytes: int
    inodes: int
    free_inodes: int
    read_only: bool = False

    @property
    def used_percent(self) -> float:
        """As df shows it: of what ordinary users could have."""
        used = self.size_bytes - self.free_bytes - self.reserved_bytes
        return 100.0 * used / (used + self.free_bytes) if used + self.free_bytes > 0 else 0.0

    @property
    def inodes_used_percent(self) -> float | None:
        return 100.0 * (self.inodes - self.free_inodes) / self.inodes if self.inodes else None


class Mount(Struct, frozen=True):
    """What is known of a mount. With `space` None it did not answer, and `because` describes that."""

    mount: str
    space: MountSpace | None
    stuck_seconds: float = 0.0
    because: str = ""

    @property
    def stuck(self) -> bool:
        return self.stuck_seconds >= STUCK_SECONDS


class _Way(Struct, frozen=True):
    """The way to our paths below one mount. `steps` lead from the root down to each; None when a slow mount is on the
    way. `mounts` are read when no step is a link.
    """

    places: tuple[str, ...]
    steps: tuple[str, ...] | None
    mounts: tuple[str, ...]


class _MountThread(Struct):
    """The thread of one mount. `spaces` are its results by mount: over a link, a path may lead to another mount."""

    began: float
    done: threading.Event = field(default_factory=threading.Event)
    spaces: dict[str, MountSpace | str] = field(default_factory=dict)


class Mounts:
    """See the module. `read` belongs to one thread at a time, and not to the event loop's."""

    def __init__(self, clock: Clock, statvfs: StatVfs = os.statvfs, proc: Path = Path("/proc")) -> None:
        self._clock, self._statvfs, self._proc = clock, statvfs, proc
        self._asked: dict[str, _MountThread] = {}
        self._text, self._points = b"", dict[str, str]()
        self._paths: tuple[Path, ...] = ()
        self._ways: dict[str, _Way] = {}

    @property
    def threads(self) -> int:
        """The number of threads that have not returned."""
        return sum(not asked.done.is_set() for asked in self._asked.values())

    def read(self, paths: Iterable[Path]) -> tuple[Mount, ...]:
        """The mounts that hold these paths, by name. It returns within PATIENCE_SECONDS."""
        paths = tuple(paths)
        if self._mounts_changed() or paths != self._paths:
            self._paths, self._ways = paths, self._ways_to(dict.fromkeys(map(str, paths)))
        found, fresh = dict[str, Mount](), list[_MountThread]()
        for mount, way in self._ways.items():
            if mount in self._asked:
                continue
            if _at_once(way.steps):
                for name in way.mounts:
                    if name not in found:
                        found[name] = _mount(name, self._space(name))
            else:
                self._asked[mount] = asked = self._read_mount(mount, way.places)
                fresh.append(asked)
        deadline = self._clock.monotonic() + PATIENCE_SECONDS if fresh else 0.0
        for asked in fresh:
            asked.done.wait(max(0.0, deadline - self._clock.monotonic()))
        return self._harvest(found)

    def _ways_to(self, paths: Iterable[str]) -> dict[str, _Way]:
        below: dict[str, list[str]] = {}
        for path in paths:
            below.setdefault(_mount_of(path, self._points), []).append(path)
        ways = {}
        for mount, places in list(below.items())[:MAX_MOUNTS]:
            steps = dict.fromkeys(step for place in (mount, *places) for step in _steps(place))
            prompt = all(self._points.get(_mount_of(step, self._points)) in PROMPT for step in steps)
            mounts = dict.fromkeys((mount, *(_mount_of(os.path.normpath(place), self._points) for place in places)))
            ways[mount] = _Way(tuple(places), tuple(steps) if prompt else None, tuple(mounts))
        return ways

    def _read_mount(self, mount: str, places: Iterable[str]) -> _MountThread:
        asked, known = _MountThread(self._clock.monotonic()), self._points

        def ask() -> None:
            try:
                for place in (mount, *places):
                    real = mount if place == mount else _mount_of(os.path.realpath(place), known)
                    if real not in asked.spaces:
                        asked.spaces[real] = self._space(real)
            finally:
                asked.done.set()

        start_thread(f"statvfs {mount}"[:64], ask)
        return asked

    def _space(self, mount: str) -> MountSpace | str:
        try:
            v = self._statvfs(mount)
        except OSError as e:
            return e.strerror or type(e).__name__
        unit = v.f_frsize or v.f_bsize
        return MountSpace(
            size_bytes=v.f_blocks * unit,
            free_bytes=v.f_bavail * unit,
            reserved_bytes=max(0, v.f_bfree - v.f_bavail) * unit,
            inodes=v.f_files,
            free_inodes=v.f_favail,
            read_only=bool(v.f_flag & os.ST_RDONLY),
        )

    def _harvest(self, found: dict[str, Mount]) -> tuple[Mount, ...]:
        """The mounts that were read at once, and the results of the threads so far."""
        for mount, asked in list(self._asked.items()):
            if asked.done.is_set():
                del self._asked[mount]
                found |= {name: _mount(name, space) for name, space in asked.spaces.items()}
            elif mount in self._ways:
                waited = self._clock.monotonic() - asked.began
                found.setdefault(mount, Mount(mount, None, waited, f"no answer for {waited:.0f} s"))
        return tuple(found[name] for name in sorted(found))

    def _mounts_changed(self) -> bool:
        """Reads the kernel's list, which waits for no file system; into words only when it is another than before.

        Every mount point, longest first, with its kind. Of mounts one over the other the last counts.
        """
        try:
            text = kernel_bytes(f"{self._proc}/self/mountinfo", MAX_MOUNTINFO_BYTES)
        except OSError:
            text = b""
        if text == self._text and self._points:
            return False
        points = {"/": ""}
        for line in text.splitlines():
            head, _, tail = line.partition(b" - ")
            if len(fields := head.split(b" ")) > 4:
                points[_unescaped(fields[4])] = tail.partition(b" ")[0].decode("ascii", "replace")
        self._text, self._points = text, {m: points[m] for m in sorted(points, key=len, reverse=True)}
        return True


def _mount(name: str, space: MountSpace | str) -> Mount:
    """The answer of its file system: its space, or the reason why there is none."""
    return Mount(name, None, because=space) if isinstance(space, str) else Mount(name, space)


def _steps(path: str) -> Iterator[str]:
    """Every name on the way from the root down to `path`, itself last."""
    end = path.find("/", 1)
    while end > 0:
        yield path[:end]
        end = path.find("/", end + 1)
    yield path


def _at_once(steps: tuple[str, ...] | None) -> bool:
    """Whether nothing on the way can take long. No step may be a link, because a link can lead anywhere."""
    if steps is None:
        return False
    missing = ""
    for step in steps:
        if missing and step.startswith(missing):
            continue
        try:
            if stat.S_ISLNK(os.lstat(step).st_mode):
                return False
        except OSError:
            missing = f"{step}/"  # nothing below it either
    return True


def _mount_of(path: str, known: Iterable[str]) -> str:
    """The mount point that the name of a path lies below."""
    return next((m for m in known if path == m or path.startswith(m.rstrip("/") + "/")), "/")


def _unescaped(field: bytes) -> str:
    """Of mountinfo: blank, tab, newline and backslash are written as octal numbers (proc_pid_mountinfo(5))."""
    for escaped, plain in ((b"\\040", b" "), (b"\\011", b"\t"), (b"\\012", b"\n"), (b"\\134", b"\\")):
        field = field.replace(escaped, plain)
    return os.fsdecode(field)
