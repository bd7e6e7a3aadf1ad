"""The visitor for classes whose unit is a file: removes old files during the walk and adds the rest to a table.

Removal in the same pass uses what the kernel has just read: a second pass over the same files would cost half as much
again. A directory gets its times back after a removal inside it. It is removed too when it is empty and old.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from typing import Final

from ..fs_port import KIND
from ..logs.rotation_policy import is_ours
from . import reasons
from .file_table import FileTable
from .quota import Ages, ClassRule, by_age
from .remover import Remover
from .walk import Directory, Interrupted, Row

_REGULAR: Final = stat.S_IFREG
Report = Callable[[str, int, int], None]  # path, bytes, code: removed or spared


class VisitTally:
    """How many entries and bytes there were for each reason."""

    def __init__(self) -> None:
        self.by_code: dict[int, list[int]] = {}

    def add(self, code: int, used_bytes: int, number: int = 1) -> None:
        """Counts entries; `used_bytes` is their sum."""
        found = self.by_code.setdefault(code, [0, 0])
        found[0] += number
        found[1] += used_bytes


class Cleaner:
    """A visitor (walk.py) for one class whose unit is the file."""

    def __init__(
        self, rule: ClassRule, ages: Ages, table: FileTable, remover: Remover, *, report: Report | None
    ) -> None:
        self.table, self.tally = table, VisitTally()
        self._rule, self._ages, self._remover, self._report = rule, ages, remover, report
        self.before_bytes = 0
        self.before_files = 0
        self._linked: set[int] = set()

    def entered(self, directory: Directory) -> None:
        parent = directory.parent.place if directory.parent else -1
        directory.place = self.table.add_place(parent, directory.name, directory.stat.st_ino)

    def met(self, directory: Directory, rows: list[Row]) -> None:
        if not self._remover.may_go_on():
            raise Interrupted
        names = [name for name, _ in rows]
        used = [st.st_blocks * 512 for _, st in rows]
        codes, stamps = by_age([st for _, st in rows], self._ages)
        if reasons.HARD_LINKED in codes or reasons.YOUNG in codes:
            self._count_links_once(rows, used)
        if directory.depth == 0:
            codes = [self._by_name(name) or code for name, code in zip(names, codes, strict=True)]
        self.before_bytes += sum(used)
        self.before_files += len(rows)
        if reasons.OLDER in codes:
            self._remove_old(directory, rows, used, stamps, codes)
        gone = codes.count(reasons.REMOVED)
        directory.removed += gone
        directory.left_over += len(rows) - gone
        if gone == len(rows):
            return
        kept = range(len(rows)) if not gone else [i for i, code in enumerate(codes) if code != reasons.REMOVED]
        first = len(self.table)
        self.table.specials.update(first + place for place, i in enumerate(kept) if _is_special(rows[i][1]))
        self.table.extend(
            directory.place,
            [names[i] for i in kept],
            [rows[i][1].st_ino for i in kept],
            [used[i] for i in kept],
            [stamps[i] for i in kept],
            [codes[i] for i in kept],
        )

    def _by_name(self, name: str) -> int:
        """The code that follows from the name of an entry directly below the root, else 0."""
        rule = self._rule
        if name in rule.active:
            return reasons.ACTIVE
        return reasons.FOREIGN if rule.ours and not is_ours(name, rule.ours) else 0

    def _remove_old(
        self, directory: Directory, rows: list[Row], used: list[int], stamps: list[float], codes: list[int]
    ) -> None:
        """Removes the rows with the code OLDER. Their code becomes REMOVED, or that of what spares them."""
        remover, device, fd = self._remover, self._ages.device, directory.fd
        number, freed, older = 0, 0, reasons.OLDER
        try:
            for i, code in enumerate(codes):
                if code != older:
                    continue
                if (not i % 64 or remover.removed >= remover.most_files) and not remover.may_go_on():
                    raise Interrupted
                name, st = rows[i]
                special = _is_special(st)
                spared = remover.remove(fd, name, device, st.st_ino, stamps[i], used[i], special=special)
                codes[i] = spared or reasons.REMOVED
                if not spared:
                    number += 1
                    freed += used[i]
                    if self._report is not None:
                        self._say(directory, name, used[i], code)
        finally:
            if number:
                self.tally.add(older, freed, number)

    def _count_links_once(self, rows: list[Row], used: list[int]) -> None:
        for i, (_, st) in enumerate(rows):
            if st.st_nlink > 1:
                if st.st_ino in self._linked:
                    used[i] = 0
                self._linked.add(st.st_ino)

    def _say(self, directory: Directory, name: str, used: int, code: int) -> None:
        if self._report is not None:
            path = "/".join([self.table.root.rstrip("/"), *self.table.parts(directory.place), name])
            self._report(path, used, code)

    def passed_over(self, directory: Directory, name: str, found: os.stat_result | None, code: int) -> None:
        used = found.st_blocks * 512 if found is not None else 0
        self.tally.add(code, used)
        self._say(directory, name, used, code)

    def leaving(self, directory: Directory) -> None:
        parent = directory.parent
        gone = parent is not None and self._remove_empty(directory, parent)
        if parent is not None:
            parent.removed += gone
            parent.left_over += not gone
        if directory.removed and not gone:
            restore_times(directory.fd, directory.stat, self._remover)

    def _remove_empty(self, directory: Directory, parent: Directory) -> bool:
        """Whether the emptied directory could be removed too. Only if the class has an age limit and the directory is
        old enough.
        """
        if directory.left_over or directory.stat.st_mtime >= self._ages.old_before:
            return False
        files = self._remover.files
        if not self._remover.dry_run:
            try:
                now = files.stat(directory.name, dir_fd=parent.fd, follow_symlinks=False)
                if (now.st_dev, now.st_ino) != (directory.stat.st_dev, directory.stat.st_ino):
                    return False
                files.rmdir(directory.name, dir_fd=parent.fd)
            except OSError:
                return False
        self._say(parent, directory.name, 0, reasons.OLDER)
        return True


def _is_special(st: os.stat_result) -> bool:
    return st.st_mode & KIND != _REGULAR


def restore_times(fd: int, before: os.stat_result, remover: Remover) -> None:
    """Gives a directory its times back. Otherwise each removal inside would make it look young again."""
    if not remover.dry_run:
        try:
            remover.files.utime(fd, ns=(before.st_atime_ns, before.st_mtime_ns))
        except OSError:
            return
