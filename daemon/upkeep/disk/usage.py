"""Measures what takes the space: blocks on disk by class and by largest entry, each inode once, through no link or
mount.

It only reads, can be interrupted, and reports how far it is. Sizes are the blocks that files take (`st_blocks`), not
their length: of a sparse file the blocks count, and a file with five names counts once.
"""

from __future__ import annotations

import heapq
import os
import threading
from collections.abc import Callable, Sequence
from typing import Final

from msgspec import Struct, field
from msgspec.structs import astuple

from ...answers.disk import ClassesDisk, ClassSpace, DeletedOpen, DiskAnswer, DiskSpace, LargestEntry
from ...errors import Refused
from ...system.safe_paths import open_directory
from ...units import shown
from ..fs_port import FileSystemPort
from ..open_files import deleted_but_open
from .quota import ClassRule
from .reasons import ELSEWHERE, GONE, OWN_RULE
from .walk import (
    Directory,
    Interrupted,
    Row,
    walk,
)

LARGEST: Final = 10
PROGRESS_ENTRIES: Final = 10_000

Progress = Callable[[str, int, int], None]  # class, entries so far, bytes so far


class ClassUsage(Struct):
    """One class. `largest` holds (bytes, path relative to the class). `note` names what is missing from the figures."""

    name: str
    path: str
    bytes: int = 0
    files: int = 0
    directories: int = 0
    largest: list[tuple[int, str]] = field(default_factory=list)
    complete: bool = False
    note: str = ""


class DiskUsage(Struct):
    """All classes, their disks, and the space that deleted files still take in our processes."""

    classes: list[ClassUsage]
    disks: list[tuple[list[str], DiskSpace]]
    deleted_open: list[tuple[int, str, int]]

    def answer(self) -> DiskAnswer:
        """The result for the API."""
        return DiskAnswer(
            [
                ClassSpace(
                    c.name, c.path, c.bytes, c.files, c.directories,
                    [LargestEntry(path, used) for used, path in c.largest], c.complete, c.note,
                )
                for c in self.classes
            ],
            [ClassesDisk(*astuple(space), classes=names) for names, space in self.disks],
            [DeletedOpen(pid, path, used) for pid, path, used in self.deleted_open],
        )  # fmt: skip


def measure(
    rules: Sequence[ClassRule],
    *,
    files: FileSystemPort,
    stop: threading.Event,
    pids: Sequence[int] = (),
    progress: Progress | None = None,
) -> DiskUsage:
    """Counts every class. A directory with a class of its own does not count in the class around it.

    An interrupted count keeps its figures and marks them as partial. Entries that cannot be read never raise.
    """
    opened: list[tuple[ClassRule, ClassUsage, int]] = []
    classes = []
    for rule in rules:
        usage = ClassUsage(rule.name, rule.path)
        classes.append(usage)
        try:
            opened.append((rule, usage, open_directory(rule.path, opener=files.open, last_link=False)))
        except FileNotFoundError:
            usage.note = "does not exist yet"
        except (OSError, Refused) as e:
            usage.note = f"cannot read {rule.path}: {e.strerror if isinstance(e, OSError) else e}"
    try:
        return DiskUsage(classes, *_count(opened, files, stop, pids, progress))
    finally:
        for _, _, fd in opened:
            files.close(fd)


def _count(
    opened: list[tuple[ClassRule, ClassUsage, int]],
    files: FileSystemPort,
    stop: threading.Event,
    pids: Sequence[int],
    progress: Progress | None,
) -> tuple[list[tuple[list[str], DiskSpace]], list[tuple[int, str, int]]]:
    seen: set[tuple[int, int]] = set()
    identities = {}
    disks: dict[int, tuple[list[str], DiskSpace]] = {}
    for rule, _, fd in opened:
        found = files.fstat(fd)
        identities[rule.path] = (found.st_dev, found.st_ino)
        v = files.statvfs(fd)
        space = DiskSpace(v.f_blocks * v.f_frsize, v.f_bavail * v.f_frsize, v.f_files, v.f_favail)
        disks.setdefault(found.st_dev, ([], space))[0].append(rule.name)
    for rule, usage, fd in opened:
        others = frozenset(identities.values()) - {identities[rule.path]}
        counter = _Counter(usage, seen, progress)
        try:
            walk(fd, counter, files=files, exclude=others, stop=stop)
            usage.complete = not usage.note
        except Interrupted:
            usage.note = "interrupted: the figures are those of a part"
        usage.largest.sort(reverse=True)
    return list(disks.values()), deleted_but_open(list(pids))


class _Counter:
    """A visitor (walk.py) that adds up. The largest entries are those directly below the root, with everything
    in them.
    """

    def __init__(self, usage: ClassUsage, seen: set[tuple[int, int]], progress: Progress | None) -> None:
        self._usage, self._seen, self._progress = usage, seen, progress
        self._top = 0
        self._entries = 0

    def entered(self, directory: Directory) -> None:
        self._usage.directories += directory.depth > 0
        if directory.depth == 1:
            self._top = 0
        self._take(directory.stat)

    def _take(self, st: os.stat_result) -> int:
        if st.st_nlink > 1:
            identity = (st.st_dev, st.st_ino)
            if identity in self._seen:
                return 0
            self._seen.add(identity)
        used = st.st_blocks * 512
        self._usage.bytes += used
        self._top += used
        return used

    def met(self, directory: Directory, rows: list[Row]) -> None:
        at_root = directory.depth == 0
        for name, st in rows:
            used = self._take(st)
            if at_root:
                self._rank(used, shown(name))
        self._usage.files += len(rows)
        before = self._entries // PROGRESS_ENTRIES
        self._entries += len(rows)
        if self._progress is not None and self._entries // PROGRESS_ENTRIES > before:
            self._progress(self._usage.name, self._entries, self._usage.bytes)

    def _rank(self, used: int, name: str) -> None:
        largest = self._usage.largest
        if len(largest) < LARGEST:
            heapq.heappush(largest, (used, name))
        elif used > largest[0][0]:
            heapq.heapreplace(largest, (used, name))

    def passed_over(self, directory: Directory, name: str, found: os.stat_result | None, code: int) -> None:
        if code not in (ELSEWHERE, GONE, OWN_RULE):
            self._usage.note = f"not everything could be read: {shown(name or directory.name)}"

    def leaving(self, directory: Directory) -> None:
        if directory.depth == 1:
            self._rank(self._top, shown(directory.name) + "/")
