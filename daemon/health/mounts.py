"""How full the file systems below our directories are, also while one of them does not answer.

`statvfs` on a network or FUSE mount may never return and can't be interrupted. Each such mount is asked by a thread of
its own, and never by a second one while the first is stuck; nobody waits for it longer than a moment. The file systems
of PROMPT answer from memory and are asked without that.
"""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from ..clock import Clock

PATIENCE_SECONDS: Final = 0.5
STUCK_SECONDS: Final = 5.0
MAX_MOUNTS: Final = 64
MAX_REMEMBERED: Final = 1000
MAX_MOUNTINFO_BYTES: Final = 4 << 20
PROMPT: Final = frozenset(("btrfs", "devtmpfs", "ext2", "ext3", "ext4", "f2fs", "ramfs", "tmpfs", "xfs"))
"""Kinds whose `statfs` is a look at counters in memory: it waits for no disk and no other machine."""

StatVfs = Callable[[str], os.statvfs_result]


@dataclass(frozen=True)
class Space:
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


@dataclass(frozen=True)
class Mount:
    """What is known of a mount. `space` None: it did not answer (yet), and `because` says how that looks."""

    mount: str
    space: Space | None
    stuck_seconds: float = 0.0
    because: str = ""

    @property
    def stuck(self) -> bool:
        return self.stuck_seconds >= STUCK_SECONDS


@dataclass
class _Asked:
    """One mount's thread. `spaces` are what it found, by mount: a path may lead to another one over a link."""

    began: float
    done: threading.Event = field(default_factory=threading.Event)
    spaces: dict[str, Space | str] = field(default_factory=dict)


class Mounts:
    """See the module. `look` belongs to one thread at a time, and not to the event loop's."""

    def __init__(self, clock: Clock, statvfs: StatVfs = os.statvfs, proc: Path = Path("/proc")) -> None:
        self._clock, self._statvfs, self._proc = clock, statvfs, proc
        self._asked: dict[str, _Asked] = {}
        self._text, self._points = b"", dict[str, str]()
        self._found: dict[str, str] = {}

    @property
    def threads(self) -> int:
        """Threads that have not come back."""
        return sum(not asked.done.is_set() for asked in self._asked.values())

    def look(self, paths: Iterable[Path]) -> tuple[Mount, ...]:
        """The mounts that hold these paths, by name; returns within PATIENCE_SECONDS whatever they do."""
        known = self._mount_points()
        below: dict[str, list[str]] = {}
        for path in dict.fromkeys(map(str, paths)):
            below.setdefault(self._mount_of(path), []).append(path)
        fresh, prompt = [], set[str]()
        for mount, places in list(below.items())[:MAX_MOUNTS]:
            if mount not in self._asked:
                self._asked[mount] = self._ask(mount, places, known, prompt)
                if not self._asked[mount].done.is_set():
                    fresh.append(mount)
        deadline = self._clock.monotonic() + PATIENCE_SECONDS
        for mount in fresh:
            self._asked[mount].done.wait(max(0.0, deadline - self._clock.monotonic()))
        return self._harvest(below)

    def _ask(self, mount: str, places: list[str], known: Mapping[str, str], prompt: set[str]) -> _Asked:
        asked = _Asked(self._clock.monotonic())
        at_once = all(self._prompt(place, prompt) for place in (mount, *places))
        resolved = os.path.normpath if at_once else os.path.realpath  # no link is on the way to what answers at once

        def ask() -> None:
            try:
                for place in (mount, *places):
                    real = mount if place == mount else _mount_of(resolved(place), known)
                    if real not in asked.spaces:
                        asked.spaces[real] = self._space(real)
            finally:
                asked.done.set()

        if at_once:
            ask()
        else:
            threading.Thread(target=ask, daemon=True, name=f"statvfs {mount}"[:64]).start()
        return asked

    def _space(self, mount: str) -> Space | str:
        try:
            v = self._statvfs(mount)
        except OSError as e:
            return e.strerror or type(e).__name__
        unit = v.f_frsize or v.f_bsize
        return Space(
            size_bytes=v.f_blocks * unit,
            free_bytes=v.f_bavail * unit,
            reserved_bytes=max(0, v.f_bfree - v.f_bavail) * unit,
            inodes=v.f_files,
            free_inodes=v.f_favail,
            read_only=bool(v.f_flag & os.ST_RDONLY),
        )

    def _harvest(self, below: Iterable[str]) -> tuple[Mount, ...]:
        now, found = self._clock.monotonic(), dict[str, Mount]()
        for mount, asked in list(self._asked.items()):
            if asked.done.is_set():
                del self._asked[mount]
                for name, space in asked.spaces.items():
                    fine = isinstance(space, Space)
                    found[name] = Mount(name, space if fine else None, because="" if fine else str(space))  # type: ignore[arg-type]
            elif mount in below:
                waited = now - asked.began
                found.setdefault(mount, Mount(mount, None, waited, f"no answer for {waited:.0f} s"))
        return tuple(found[name] for name in sorted(found))

    def _prompt(self, path: str, known: set[str]) -> bool:
        """Whether everything from the root down to `path` answers at once: no slow mount on the way, and no link.

        `known` are places that did during this look.
        """
        end = 0
        while end >= 0:
            end = path.find("/", end + 1)
            place = path[:end] if end > 0 else path
            if place in known:
                continue
            if self._points.get(self._mount_of(place)) not in PROMPT:
                return False
            try:
                if stat.S_ISLNK(os.lstat(place).st_mode):
                    return False
            except OSError:
                return True  # nothing below it either
            known.add(place)
        return True

    def _mount_of(self, path: str) -> str:
        """As below, remembered for as long as the list of mounts stays the same."""
        found = self._found.get(path)
        if found is None:
            if len(self._found) >= MAX_REMEMBERED:
                self._found.clear()
            found = self._found[path] = _mount_of(path, self._points)
        return found

    def _mount_points(self) -> Mapping[str, str]:
        """Every mount point, longest first, with its kind, from the kernel's list, which waits for no file system.

        Read into words only when the list is another than before. Of mounts one over the other the last counts.
        """
        try:
            with open(self._proc / "self/mountinfo", "rb", buffering=0) as f:
                text = b"".join(iter(lambda: f.read(1 << 16), b""))[:MAX_MOUNTINFO_BYTES]
        except OSError:
            text = b""
        if text != self._text or not self._points:
            points = {"/": ""}
            for line in text.splitlines():
                head, _, tail = line.partition(b" - ")
                if len(fields := head.split(b" ")) > 4:
                    points[_unescaped(fields[4])] = tail.partition(b" ")[0].decode("ascii", "replace")
            self._found.clear()
            self._text, self._points = text, {m: points[m] for m in sorted(points, key=len, reverse=True)}
        return self._points


def _mount_of(path: str, known: Iterable[str]) -> str:
    """The mount point that the name of a path lies below."""
    return next((m for m in known if path == m or path.startswith(m.rstrip("/") + "/")), "/")


def _unescaped(field: bytes) -> str:
    """Of mountinfo: blank, tab, newline and backslash are written as octal numbers (proc_pid_mountinfo(5))."""
    for escaped, plain in ((b"\\040", b" "), (b"\\011", b"\t"), (b"\\012", b"\n"), (b"\\134", b"\\")):
        field = field.replace(escaped, plain)
    return os.fsdecode(field)
