"""Drops archives of rotated logs: those that the policy names, and the oldest ones while the disk is full.

It rotates nothing. Invariant: only archives of the set's own files are dropped, and each has a step with its reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ...answers.logs import RotationStep
from ..fs_port import FileSystemPort
from . import compress as pack
from .archive_pieces import past_keep
from .log_directory import Listing, list_logs, live_names
from .rotation_outcome import LogSet, RotationOutcome, cannot
from .rotation_policy import Archive, drops, oldest_to_spare

FULL_BYTES: Final = 256 * 1024
"""With less free space than this a disk counts as full for logs."""


class Archives:
    """The archives in log directories, reached through the given file calls."""

    def __init__(self, files: FileSystemPort) -> None:
        self._files = files

    def mine(self, log_set: LogSet, listing: Listing) -> list[Archive]:
        """The archives of a set's files, also of files that no longer exist."""
        exact = {p for p in log_set.patterns if not any(c in p for c in "*?[")}
        globs = [p for p in log_set.patterns if p not in exact]
        archived = Listing(frozenset(a.live for a in listing.archives), (), (), ())
        names = exact | set(live_names(archived, globs))
        return [a for a in listing.archives if a.live in names]

    def drop(self, log_set: LogSet, dir_fd: int, live_bytes: int, outcome: RotationOutcome, now: float) -> None:
        archives = self.mine(log_set, list_logs(dir_fd, self._files))
        surplus, own = self._surplus(dir_fd, archives, log_set), log_set.policies
        for drop in drops(archives, log_set.policy, now, live_bytes=live_bytes, surplus=surplus, policies=own):
            path = f"{log_set.directory}/{drop.name}"
            if not outcome.dry_run:
                try:
                    self._files.unlink(drop.name, dir_fd=dir_fd)
                except FileNotFoundError:
                    continue
                except OSError as e:
                    outcome.trouble.append(cannot("drop", path, e))
                    continue
            outcome.steps.append(RotationStep("dropped", path, drop.because, bytes=drop.bytes))

    def _surplus(self, dir_fd: int, archives: Sequence[Archive], log_set: LogSet) -> frozenset[str]:
        """The archives that go by number. How long each one's lines are is looked at only where there are too many."""
        found: frozenset[str] = frozenset()
        by_file: dict[str, list[Archive]] = {}
        for archive in archives:
            by_file.setdefault(archive.live, []).append(archive)
        for live, mine in by_file.items():
            policy = log_set.policy_of(live)
            if policy.keep and len(mine) > policy.keep:
                lengths = {a.name: pack.length(dir_fd, a.name, self._files) for a in mine}
                found |= past_keep(mine, policy, {name: n for name, n in lengths.items() if n is not None})
        return found

    def give_up_oldest(self, log_set: LogSet, dir_fd: int, outcome: RotationOutcome) -> bool:
        oldest = oldest_to_spare(self.mine(log_set, list_logs(dir_fd, self._files)))
        if oldest is None:
            return False
        try:
            self._files.unlink(oldest.name, dir_fd=dir_fd)
        except OSError:
            return False
        path = f"{log_set.directory}/{oldest.name}"
        outcome.steps.append(
            RotationStep("dropped", path, "the disk is full: the oldest archive goes", bytes=oldest.bytes)
        )
        return True

    def relieve(self, log_set: LogSet, dir_fd: int, outcome: RotationOutcome) -> None:
        """On a full disk drops archives, the oldest first, so that lines can be written again."""
        while self._full(dir_fd) and self.give_up_oldest(log_set, dir_fd, outcome):
            continue

    def _full(self, dir_fd: int) -> bool:
        try:
            v = self._files.statvfs(dir_fd)
        except OSError:
            return False
        return v.f_bavail * v.f_frsize < FULL_BYTES or (v.f_files > 0 and v.f_favail == 0)
