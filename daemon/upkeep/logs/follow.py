"""Reads the end of a log and follows it through any number of rotations of any kind, each line once.

First it reads what archives took since the last poll, compressed or not, and then what the live file holds now. It
reads a renamed file until its writers have left it, and a truncated file from its beginning. It only reads. Of other
programs' archives (`a.log.1`) it reads only the file that it had open. Invariant: a poll reads POLL_BYTES at most, and
the next poll goes on from there.
"""

from __future__ import annotations

import os
from collections import deque
from typing import Final

from ...system.safe_paths import open_directory
from ..fs_port import FileSystemPort
from . import compress
from .collapse import NotCollapsible
from .copytruncate import data_pieces
from .log_directory import archives_of, stamp_of
from .log_reader import (
    CHUNK_BYTES,
    MAX_LINE_BYTES,
    PackedLog,
    PlainLog,
    mark_of,
    opened,
    start_of_lines,
    start_of_tail,
)
from .rotation_policy import HEAD, Archive, stamp_micros, stamp_seconds

__all__ = ["CHUNK_BYTES", "MAX_LINE_BYTES", "MAX_TAIL_LINES", "POLL_BYTES", "Follower", "opened", "start_of_tail"]

MAX_TAIL_LINES: Final = 100_000
LOOK_BACK_BYTES: Final = 16 << 20
POLL_BYTES: Final = 2 * LOOK_BACK_BYTES
"""The most that one poll reads; the next poll goes on from there."""
_LINGER_LOOKS: Final = 20  # polls of a renamed file after its end, for writers that have not reopened yet
_MOST_LEAVING: Final = 8  # renamed files that are read at once
_TRIES: Final = 5  # a directory that is rotated while it is listed is listed again


class _Waiting:
    """An archive that is to be read; it is opened only when it is next."""

    def __init__(self, name: str, skip_bytes: int = 0, held: bytes = b"") -> None:
        self.name, self.skip_bytes, self.held = name, skip_bytes, held


class _Leaving:
    """A renamed file that a process may still write to. `silent` counts the polls that found nothing."""

    def __init__(self, log: PlainLog) -> None:
        self.log, self.silent = log, 0


class Follower:
    """Follows one path. `first` holds the lines to begin with; `poll()` returns the whole lines since the last call.

    Call `poll` several times a second. `behind` is true while the last poll left something unread. `remarks` are
    sentences about archives that could not be read; the caller clears them.
    """

    def __init__(self, path: str, *, lines: int = 0, since: float | None = None) -> None:
        """Begins `lines` lines before the end, archives included; with `since` (seconds since 1970) with the first file
        that holds what was written from then on. Raises OSError when the file cannot be read.
        """
        self._path, self._files = path, FileSystemPort()
        self._directory, _, self._name = path.rpartition("/")
        self._current: PlainLog | None = None
        self._identity = (0, 0)
        self._directory_moment, self._look_again, self._held_back, self._waits = 0, False, False, 0
        self._mark: tuple[int, int] | None = None
        self._body = 0  # where the lines begin in the current file
        self._stamp = ""  # of the newest archive whose lines were read, or are older than what is asked for
        self._before: deque[_Waiting | PackedLog | _Leaving] = deque()
        self.first: list[bytes] = []
        self.remarks: list[str] = []
        self.behind = False
        archives = self._open_first()
        if since is not None:
            self._before.extend(_Waiting(a.name) for a in archives if stamp_seconds(a.stamp) >= since)
            self.behind = True
        elif self._current is not None:
            try:
                self._go_to_end(self._current, min(lines, MAX_TAIL_LINES), archives)
            except BaseException:  # no caller has this object to close it
                self.close()
                raise

    def close(self) -> None:
        """Closes the files."""
        for entry in (*self._before, self._current):
            if isinstance(entry, _Leaving):
                entry.log.close()
            elif isinstance(entry, PackedLog | PlainLog):
                entry.close()
        self._before.clear()
        self._current = None

    def poll(self, most_bytes: int = POLL_BYTES) -> list[bytes]:
        """New whole lines without their newlines, of about so many bytes. While the file is missing, there are none."""
        if self._current is None:
            if not self._open_first(after=self._stamp):
                self.behind = bool(self._before)
        else:
            self._look_for_rotations(self._current)
        lines = self._read_before(most_bytes)
        left = most_bytes - sum(map(len, lines)) - len(lines)
        self.behind = left <= 0 or any(not isinstance(entry, _Leaving) for entry in self._before)
        if self._current is not None and not self.behind and not self._held_back:
            lines += self._current.read(left, mark=self._mark, checked=True)
            self.behind = left > 0 and os.fstat(self._current.fd).st_size > self._current.offset
        return lines

    # beginning

    def _open_first(self, after: str | None = None) -> list[Archive]:
        """Opens the live file, if there is one; the archives there are. With `after`, younger ones wait to be read."""
        for _ in range(_TRIES):
            try:
                live = opened(self._path)
            except FileNotFoundError:
                live = None
            archives, _heads = self._list()
            if live is None or self._is_live(live.identity):
                break
            os.close(live.fd)
        else:
            return archives
        if after is not None and live is not None:
            self._before.extend(_Waiting(a.name) for a in archives if a.stamp > after)
        if live is not None:
            self._take(PlainLog(live.fd))
        if live is not None or after is None:
            self._stamp = max((self._stamp, *(a.stamp for a in archives)))
        return archives

    def _take(self, log: PlainLog) -> None:
        """Reads this file from now on. Closes it when its beginning cannot be read, and raises OSError."""
        try:
            mark, body, identity = mark_of(log.fd), start_of_lines(log.fd), log.identity
        except OSError:
            log.close()
            raise
        self._current, self._identity, self._mark, self._body = log, identity, mark, body
        log.offset = max(log.offset, body)

    def _go_to_end(self, log: PlainLog, lines: int, archives: list[Archive]) -> None:
        end = os.fstat(log.fd).st_size
        offset = max(self._body, start_of_tail(log.fd, end, lines, LOOK_BACK_BYTES))
        log.go_to(offset, self._data_before(log, offset))
        whole = log.offset == self._body
        found = log.read(max(0, end - log.offset), mark=self._mark, checked=True)
        found = found[-lines:] if lines else []
        for archive in reversed(archives):
            if len(found) >= lines or not whole:
                break
            found = [*self._last_of(archive, lines - len(found)), *found]
        self.first = found

    def _data_before(self, log: PlainLog, offset: int) -> int:
        """The bytes of data between the body and this offset, as a copy of the file has them."""
        if self._mark is not None:
            return offset - self._body
        try:
            pieces = data_pieces(log.fd, offset, self._files)
        except NotCollapsible:  # too many holes: it is not copied either
            return offset - self._body
        return sum(end - start for start, end in pieces)

    def _last_of(self, archive: Archive, lines: int) -> list[bytes]:
        last: deque[bytes] = deque(maxlen=lines)
        if (log := self._opened(_Waiting(archive.name))) is None:
            return []
        while True:
            before = log.offset if isinstance(log, PlainLog) else 0
            last.extend(log.read(CHUNK_BYTES))
            if log.over if isinstance(log, PackedLog) else log.offset == before:
                break
        last.extend(log.lines.rest())
        self._remark(log)
        log.close()
        return list(last)

    # rotations

    def _list(self) -> tuple[list[Archive], list[str]]:
        return archives_of(self._directory, self._name, self._files)

    def _is_live(self, identity: tuple[int, int]) -> bool:
        try:
            other = opened(self._path)
        except OSError:
            return False
        os.close(other.fd)
        return identity == other.identity

    def _look_for_rotations(self, log: PlainLog) -> None:
        self._held_back = False
        try:
            there = opened(self._path)
        except OSError:
            return
        if there.identity == self._identity:
            os.close(there.fd)
            if mark_of(log.fd) != self._mark:
                self._shift(log)
            else:
                self._look_for_a_cut(log, there.found.st_size)
            return
        archives, _ = self._list()
        if not self._is_live(there.identity):
            os.close(there.fd)
            return  # rotated while it was listed: the next poll finds it
        younger = [a for a in archives if a.stamp > self._stamp]
        ours = next((i for i, a in enumerate(younger) if self._is_archive_of(log, a.name)), -1)
        self._take(PlainLog(there.fd))  # may raise: then the former file stays the current one
        self._before.append(_Leaving(log))
        self._before.extend(_Waiting(a.name) for a in younger[ours + 1 :])
        self._stamp = max((self._stamp, *(a.stamp for a in archives)))

    def _look_for_a_cut(self, log: PlainLog, size_bytes: int) -> None:
        """Whether the file was copied aside and truncated. It may be longer again by now: then an archive shows it.

        While a copy is being made, nothing is read: what is cut next is read from the archive.
        """
        if size_bytes >= log.offset and not self._is_directory_changed():
            return
        archives, heads = self._list()
        if not self._is_live(self._identity):
            return  # renamed while it was listed: the next poll finds it
        if any(a.stamp > self._stamp for a in archives):
            self._shift(log)
        elif any(stamp_of(head) > self._stamp for head in heads) and self._waits < _LINGER_LOOKS:
            self._held_back, self._waits = True, self._waits + 1
        elif size_bytes < log.offset:
            self._shift(log)
        if not self._held_back:
            self._waits = 0

    def _is_directory_changed(self) -> bool:
        """Whether names came or went since the last look, or at about that time; also while a copy is waited for."""
        try:
            moment = os.stat(self._directory or "/").st_mtime_ns
        except OSError:
            return False
        changed = moment != self._directory_moment
        again, self._look_again = changed or self._look_again or self._waits > 0, changed
        self._directory_moment = moment
        return again

    def _is_archive_of(self, log: PlainLog, name: str) -> bool:
        """Whether an archive is what became of the open file: the same file, or as long and as old once compressed."""
        try:
            archive = opened(f"{self._directory}/{name}")
        except OSError:
            return False
        os.close(archive.fd)
        if not name.endswith((".gz", ".zst")):
            return archive.identity == self._identity
        here = os.fstat(log.fd)
        same_time = archive.found.st_mtime_ns == here.st_mtime_ns
        return same_time and self._length(name) in (None, here.st_size % (1 << 32))

    def _shift(self, log: PlainLog) -> None:
        """Sets the offset after the head was removed, once or more often, or the file was truncated or written anew."""
        for _ in range(_TRIES):
            mark, body = mark_of(log.fd), start_of_lines(log.fd)
            archives, heads = self._list()
            if mark_of(log.fd) == mark:
                break
        younger = [(a.stamp, a.name) for a in archives if a.stamp > self._stamp]
        known = {stamp for stamp, _ in younger}
        for head in heads:
            stamp = stamp_of(head)
            if mark is not None and mark[0] == stamp_micros(stamp) and stamp not in known:
                younger.append((stamp, head))  # cut already, and not renamed yet
        taken = mark[1] if mark is not None and mark != self._mark else None
        if younger:
            offset = body + self._skip_archived(log, log.data_bytes, [name for _, name in younger])
            self._stamp = younger[-1][0]
        elif taken is not None:
            offset = log.offset - taken
        else:
            offset, log.lines.held = body, b""
        self._mark, self._body = mark, body
        offset = max(body, min(offset, os.fstat(log.fd).st_size))
        log.go_to(offset, offset - body)

    def _skip_archived(self, log: PlainLog, read_bytes: int, names: list[str]) -> int:
        """Queues what was not read of these archives; returns the bytes of the live file that were read."""
        for name in names:
            length = self._length(name)
            if length is not None and read_bytes >= length:
                read_bytes -= length
                continue
            self._before.append(_Waiting(name, read_bytes, log.lines.held))
            log.lines.held, read_bytes = b"", 0
        return read_bytes

    def _length(self, name: str) -> int | None:
        try:
            fd = open_directory(self._directory or "/")
        except OSError:
            return None
        try:
            return compress.length(fd, name, self._files)
        finally:
            os.close(fd)

    # reading

    def _read_before(self, left: int) -> list[bytes]:
        """What comes before the live file, from the oldest to the newest."""
        lines: list[bytes] = []
        for _ in range(len(self._before)):
            if left <= 0:
                break
            entry = self._before.popleft()
            if isinstance(entry, _Waiting):
                if (log := self._opened(entry)) is None:
                    continue
                entry = _Leaving(log) if isinstance(log, PlainLog) else log
            found = (entry.log if isinstance(entry, _Leaving) else entry).read(left)
            left -= sum(map(len, found)) + len(found)
            lines += found
            if isinstance(entry, PackedLog):
                if not entry.over:
                    self._before.appendleft(entry)
                    break
                self._remark(entry)
                entry.close()
            elif left <= 0:
                self._before.appendleft(entry)
            else:
                entry.silent = 0 if found else entry.silent + 1
                self._before.append(entry)
        lines += self._let_go()
        return lines

    def _let_go(self) -> list[bytes]:
        """Closes renamed files that were silent for long, or are too many; the ends of their lines."""
        lines: list[bytes] = []
        leaving = [entry for entry in self._before if isinstance(entry, _Leaving)]
        for index, entry in enumerate(leaving):
            if entry.silent >= _LINGER_LOOKS or (entry.silent and index < len(leaving) - _MOST_LEAVING):
                lines += entry.log.lines.rest()
                entry.log.close()
                self._before.remove(entry)
        return lines

    def _opened(self, waiting: _Waiting) -> PlainLog | PackedLog | None:
        """The archive, under the name that it has by now; None, with a remark, when it cannot be read."""
        plain = waiting.name.removesuffix(HEAD)
        for name in dict.fromkeys((waiting.name, plain, f"{plain}.gz", f"{plain}.zst")):
            try:
                fd, _found = opened(f"{self._directory}/{name}")
            except FileNotFoundError:
                continue
            except OSError as e:
                self.remarks.append(f"cannot read {self._directory}/{name}: {e.strerror or e}; its lines are left out")
                return None
            if not name.endswith((".gz", ".zst")):
                log = PlainLog(fd, start_of_lines(fd) + waiting.skip_bytes)
                log.lines.held = waiting.held
                return log
            try:
                packed = PackedLog(fd, f"{self._directory}/{name}", waiting.skip_bytes)
            except OSError as e:
                self.remarks.append(f"{e}; its lines are left out")
                return None
            packed.lines.held = waiting.held
            return packed
        self.remarks.append(f"{self._directory}/{waiting.name} was removed before it was read; its lines are left out")
        return None

    def _remark(self, log: PlainLog | PackedLog) -> None:
        if isinstance(log, PackedLog) and log.because:
            self.remarks.append(f"cannot read the rest of {log.path}: {log.because}; its lines are left out")
