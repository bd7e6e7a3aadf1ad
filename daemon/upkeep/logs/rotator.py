"""Rotates log files: does what rotation_policy decides, by reopen, rename or collapse.

Synchronous, for a thread of its own. It keeps no state except what is on disk. After a `reopen` the caller asks the
writers to reopen and calls `compress` when all have answered. Invariant: nothing is closed, truncated or renamed before
its successor is safe. If something fails, the writers keep the file that they have.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import threading
from collections.abc import Iterator, Sequence

from ...answers.logs import RotationStep
from ...errors import Refused
from ...system.clock import Clock
from ..clock_guard import ClockJudgement
from ..disk.walk import lock
from ..fs_port import FileSystemPort
from . import collapse as collapsing
from . import compress as pack
from .archive_pieces import MAX_PIECES, pieces
from .archives import Archives
from .copytruncate import truncate_after_copy
from .log_directory import Listing, list_logs, live_file, live_names, open_log_directory
from .rotation_outcome import LogSet, RotationOutcome, cannot
from .rotation_policy import Live, RotationPolicy, next_stamp, parse_archive, why_rotate

_FULL = (errno.ENOSPC, errno.EDQUOT)
TO_APPEND = (
    "have the program append (>> instead of >), or set copytruncate = true in its [[logs.extra]], which loses what is "
    "written during the cut"
)
SETTLED_AT_START_BYTES = 1 << 30  # of a larger pair is found out when archives are compressed: nothing waits for that
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Rotator:
    """Rotates with the given file calls and clock. `stop` ends long copies early."""

    def __init__(self, files: FileSystemPort, clock: Clock, stop: threading.Event) -> None:
        self._files, self._clock, self._stop, self._archives = files, clock, stop, Archives(files)

    def tidy(self, sets: Sequence[LogSet]) -> RotationOutcome:
        """At the start: removes half-written archives, finishes or undoes interrupted collapses, settles doubled
        archives.
        """
        outcome = RotationOutcome()
        for log_set in sets:
            with self._opened(log_set, outcome) as dir_fd:
                if dir_fd is not None:
                    self._tidy(log_set, dir_fd, outcome)
        return outcome

    def rotate(
        self,
        sets: Sequence[LogSet],
        *,
        force: bool = False,
        only: str = "",
        dry_run: bool = False,
        judged: ClockJudgement | None = None,
    ) -> RotationOutcome:
        """Rotates what is due, then drops archives. `force`: everything that is not empty. `only`: one path.

        `judged` is the time to count ages from (None: the wall clock). While it refuses ages, only sizes and numbers
        count.
        """
        outcome = RotationOutcome(dry_run=dry_run)
        moment = judged or ClockJudgement(self._clock.wall())
        if moment.refused:
            outcome.trouble.append(f"cannot rotate by age: {moment.refused}; by size it goes on")
            sets = [log_set.by_size_alone() for log_set in sets]
        for log_set in sets:
            with self._opened(log_set, outcome) as dir_fd:
                if dir_fd is not None:
                    self._rotate_set(log_set, dir_fd, outcome, force, only, moment.now)
        if only and not any(step.path == only for step in outcome.steps) and not outcome.trouble:
            outcome.trouble.append(f"cannot rotate {only}: it is not among the files that are rotated here")
        return outcome

    def compress(self, sets: Sequence[LogSet], *, reopened: bool) -> RotationOutcome:
        """Compresses rotated files; those of method `reopen` only when every writer has `reopened` since `rotate`.

        Our own first, then the smallest first, so that a large one delays no other in the same round. The directory is
        locked only while it is read, so that rotation and sweeps continue meanwhile.
        """
        outcome = RotationOutcome()
        jobs: list[tuple[bool, int, str, LogSet]] = []
        for log_set in sets:
            if log_set.policy.method == "reopen" and not reopened:
                continue
            with self._opened(log_set, outcome) as dir_fd:
                if dir_fd is not None:
                    mine = self._archives.mine(log_set, list_logs(dir_fd, self._files))
                    plain = (a for a in mine if not a.packed and log_set.policy_of(a.live).compress != "none")
                    jobs += [(not log_set.own, a.bytes, a.name, log_set) for a in plain]
        for _, _, name, log_set in sorted(jobs, key=lambda job: job[:3]):
            if self._stop.is_set():
                break
            with self._opened(log_set, outcome, locked=False) as dir_fd:
                if dir_fd is not None:
                    self._compress_one(log_set, dir_fd, name, outcome)
        return outcome

    @contextlib.contextmanager
    def _opened(self, log_set: LogSet, outcome: RotationOutcome, *, locked: bool = True) -> Iterator[int | None]:
        """The directory of a set, locked or not; None, with the reason in the outcome, when it cannot be used."""
        try:
            fd = open_log_directory(log_set.directory, self._files)
        except FileNotFoundError:
            outcome.steps.append(RotationStep("spared", log_set.directory, "no such directory yet"))
            yield None
            return
        except (Refused, OSError) as e:
            outcome.trouble.append(str(e) if isinstance(e, Refused) else cannot("rotate in", log_set.directory, e))
            yield None
            return
        try:
            if not locked or lock(fd, self._files):
                yield fd
            else:
                outcome.steps.append(RotationStep("spared", log_set.directory, "locked by another process"))
                yield None
        finally:
            self._files.close(fd)

    def _rotate_set(
        self, log_set: LogSet, dir_fd: int, outcome: RotationOutcome, force: bool, only: str, now: float
    ) -> None:
        if not outcome.dry_run:
            self._archives.relieve(log_set, dir_fd, outcome)
        listing = list_logs(dir_fd, self._files)
        live_bytes = 0
        for name in live_names(listing, log_set.patterns):
            path = f"{log_set.directory}/{name}"
            try:
                live = live_file(dir_fd, name, listing.archives, self._files, now)
            except Refused as e:
                outcome.trouble.append(str(e).replace(f"rotate {name}", f"rotate {path}", 1))
                continue
            except OSError as e:
                outcome.trouble.append(cannot("look at", path, e))
                continue
            live_bytes += live.bytes if live else 0
            if only and path != only:
                continue
            if live is None:
                outcome.steps.append(RotationStep("spared", path, "no such file"))
                continue
            due, because = self._due(log_set.policy_of(name), live, listing, force, now)
            if not due:
                outcome.steps.append(RotationStep("spared", path, because, bytes=live.bytes))
                continue
            self._rotate_file(log_set, dir_fd, live, listing, because, outcome, now)
        if not only:
            self._archives.drop(log_set, dir_fd, live_bytes, outcome, now)

    def _due(self, policy: RotationPolicy, live: Live, listing: Listing, force: bool, now: float) -> tuple[bool, str]:
        due, because = why_rotate(live, policy, now)
        if not force or due:
            return due, because
        if pieces([a for a in listing.archives if a.live == live.name], policy, now) >= MAX_PIECES:
            return False, f"rotated by hand {MAX_PIECES} times already in this period"
        return why_rotate(live, policy, now, force=True)

    def _rotate_file(
        self,
        log_set: LogSet,
        dir_fd: int,
        live: Live,
        listing: Listing,
        because: str,
        outcome: RotationOutcome,
        now: float,
    ) -> None:
        path = f"{log_set.directory}/{live.name}"
        used = _stamps(listing, live.name)
        archive = f"{live.name}.{next_stamp(now, used)}"
        if outcome.dry_run:
            outcome.steps.append(RotationStep("rotated", path, because, archive, live.bytes))
            return
        for attempt in (1, 2):
            try:
                moved = self._move(log_set.policy_of(live.name), dir_fd, live.name, archive)
            except collapsing.Spared as e:
                if isinstance(e, collapsing.NotAppending):
                    outcome.trouble.append(f"cannot collapse {path}: {e}; it keeps growing; {TO_APPEND}")
                elif isinstance(e, collapsing.Unsupported | collapsing.NotCollapsible):
                    outcome.trouble.append(f"cannot collapse {path}: {e}; it keeps growing")
                outcome.steps.append(RotationStep("spared", path, str(e), bytes=live.bytes))
                return
            except OSError as e:
                if attempt == 1 and e.errno in _FULL and self._archives.give_up_oldest(log_set, dir_fd, outcome):
                    continue
                outcome.trouble.append(cannot("rotate", path, e) + "; writing goes on to the old file")
                return
            outcome.steps.append(RotationStep("rotated", path, because, archive, moved))
            outcome.tell_writers |= log_set.policy.method == "reopen"
            return

    def _move(self, policy: RotationPolicy, dir_fd: int, name: str, archive: str) -> int:
        """Does one rotation and returns the bytes that went to the archive. Raises Spared or OSError."""
        files = self._files
        if policy.method == "collapse":
            try:
                return collapsing.collapse(dir_fd, name, archive, files, self._stop).archived_bytes
            except (collapsing.Unsupported, collapsing.NotAppending):
                if not policy.truncate_if_unsupported:
                    raise
                return truncate_after_copy(dir_fd, name, archive, files, self._stop).archived_bytes
        like = files.stat(name, dir_fd=dir_fd, follow_symlinks=False)
        files.rename_noreplace(name, archive, source_dir=dir_fd, target_dir=dir_fd)
        with contextlib.suppress(OSError):
            self._create(dir_fd, name, like)
        files.fsync(dir_fd)
        return like.st_size

    def _create(self, dir_fd: int, name: str, like: os.stat_result) -> None:
        """Creates the new live file, unless a writer was faster. A failure does no harm: writers create it
        themselves.
        """
        fd = self._files.open(name, _CREATE, 0o600, dir_fd=dir_fd)
        try:
            with contextlib.suppress(PermissionError):
                os.fchown(fd, like.st_uid, like.st_gid)
            os.fchmod(fd, stat.S_IMODE(like.st_mode) & 0o666)
        finally:
            self._files.close(fd)

    def _compress_one(self, log_set: LogSet, dir_fd: int, name: str, outcome: RotationOutcome) -> None:
        for ending in pack.ENDINGS.values():
            try:
                self._files.stat(name + ending, dir_fd=dir_fd, follow_symlinks=False)
            except OSError:
                continue
            self._settle(log_set, dir_fd, name, name + ending, outcome)
            return
        self._compress_file(log_set, dir_fd, name, outcome)

    def _compress_file(self, log_set: LogSet, dir_fd: int, name: str, outcome: RotationOutcome) -> None:
        path, method = f"{log_set.directory}/{name}", pack.available(log_set.policy_of(_live_of(name)).compress)
        for attempt in (1, 2):
            try:
                packed = pack.pack(dir_fd, name, method, self._files, self._stop)
            except pack.NotYet as e:
                outcome.steps.append(RotationStep("spared", path, str(e)))
                if isinstance(e, pack.NotCompressible):
                    outcome.trouble.append(f"cannot compress {path}: {e}; it stays as it is")
            except FileNotFoundError:
                return
            except OSError as e:
                if attempt == 1 and e.errno in _FULL and self._archives.give_up_oldest(log_set, dir_fd, outcome):
                    continue
                outcome.trouble.append(cannot("compress", path, e) + "; it stays as it is")
            else:
                outcome.steps.append(RotationStep("packed", path, f"{method}, every writer has left it", packed))
            return

    def _tidy(self, log_set: LogSet, dir_fd: int, outcome: RotationOutcome) -> None:
        listing = list_logs(dir_fd, self._files)
        mine = set(live_names(Listing(_lives(listing), (), (), ()), log_set.patterns))
        for name in (*listing.parts, *listing.heads):
            if _live_of(name) not in mine:
                continue
            path = f"{log_set.directory}/{name}"
            try:
                because = "half written when something stopped it"
                if name in listing.heads:
                    because = collapsing.recover(dir_fd, name, self._files)
                else:
                    self._files.unlink(name, dir_fd=dir_fd)
                outcome.steps.append(RotationStep("cleaned", path, because))
            except OSError as e:
                outcome.trouble.append(cannot("clean up", path, e))
        for archive in self._archives.mine(log_set, list_logs(dir_fd, self._files)):
            for ending in pack.ENDINGS.values():
                if not archive.packed and archive.name + ending in listing.names:
                    self._settle(log_set, dir_fd, archive.name, archive.name + ending, outcome, SETTLED_AT_START_BYTES)

    def _settle(
        self,
        log_set: LogSet,
        dir_fd: int,
        plain: str,
        packed: str,
        outcome: RotationOutcome,
        most_bytes: int = pack.MAX_BYTES,
    ) -> None:
        path = f"{log_set.directory}/{plain}"
        try:
            if pack.settle_pair(dir_fd, plain, packed, self._files, self._stop, most_bytes):
                outcome.steps.append(RotationStep("cleaned", path, f"{packed} holds the same lines"))
            else:
                outcome.trouble.append(f"cannot settle {path} and {packed}: they differ; both were kept")
        except pack.NotYet as e:
            outcome.steps.append(RotationStep("spared", path, f"not compared with {packed}: {e}"))
            if isinstance(e, pack.NotCompressible) and most_bytes == pack.MAX_BYTES:
                outcome.trouble.append(f"cannot settle {path} and {packed}: {e}; both were kept")
        except OSError as e:
            outcome.trouble.append(cannot("clean up", path, e))


def _lives(listing: Listing) -> frozenset[str]:
    return frozenset(_live_of(name) for name in (*listing.parts, *listing.heads))


def _live_of(leftover: str) -> str:
    parsed = parse_archive(leftover) or parse_archive(leftover.rpartition(".")[0])
    return parsed[0] if parsed else ""


def _stamps(listing: Listing, live: str) -> list[str]:
    """Every stamp in use for a file, also of unfinished archives, so that none is used again."""
    found = []
    for name in listing.names:
        parsed = parse_archive(name) or parse_archive(name.rpartition(".")[0])
        if parsed and parsed[0] == live:
            found.append(parsed[1])
    return found
