"""Disk use and sweeps: what `GET /v1/disk` and `POST /v1/sweep` answer."""

from __future__ import annotations

from typing import Final

from msgspec import UNSET, Struct, UnsetType, field

CLASS_WORDS: Final = frozenset(("tmp", "cache", "logs", "compiled", "versions", "jobs", "uploads"))
"""Names of classes that are words of ours: people read them in their language. Others are the operator's own."""


class DiskSpace(Struct, frozen=True):
    """One disk, as a process without privileges may use it (f_bavail, f_favail): the reserve of root is not free."""

    total_bytes: int
    free_bytes: int
    total_inodes: int = 0
    free_inodes: int = 0


class ClassesDisk(DiskSpace, frozen=True, kw_only=True):
    """One disk, and the classes that are on it."""

    classes: list[str]


class LargestEntry(Struct, frozen=True):
    """An entry directly below a class, with all that it holds."""

    path: str
    bytes: int


class ClassSpace(Struct, frozen=True):
    """What one class takes: blocks on the disk. `note` is what is missing from the figures, "" when `complete`."""

    name: str = field(name="class")
    path: str
    bytes: int
    files: int
    directories: int
    largest: list[LargestEntry]
    complete: bool
    note: str


class DeletedOpen(Struct, frozen=True):
    """A deleted file that still takes space, because a process of ours has it open."""

    pid: int
    path: str
    bytes: int


class DiskAnswer(Struct, frozen=True):
    """Where the space went: by class, what the disks have left, and what deleted files still take."""

    classes: list[ClassSpace]
    disks: list[ClassesDisk]
    deleted_open: list[DeletedOpen]


class ClassProgress(Struct, frozen=True):
    """How far a count has come in one class."""

    name: str = field(name="class")
    files: int
    bytes: int


class DiskProgressAnswer(Struct, frozen=True):
    """How far a count under way has come; no class while none is under way."""

    classes: list[ClassProgress]


class SpaceAmount(Struct, frozen=True):
    """Files, and the bytes that they take."""

    files: int
    bytes: int


class SweepReason(Struct, frozen=True):
    """What went, or stayed, for one reason."""

    because: str
    files: int
    bytes: int


class ClassSwept(Struct, frozen=True):
    """One class in a sweep. `refused`, `note` and `shortfall` are sentences, "" when there is nothing to report."""

    name: str = field(name="class")
    path: str
    before: SpaceAmount
    after: SpaceAmount
    removed: list[SweepReason]
    spared: list[SweepReason]
    complete: bool
    refused: str
    note: str
    shortfall: str


class DiskSwept(Struct, frozen=True):
    """One disk, the classes on it, and its space before and after a sweep."""

    classes: list[str]
    before: DiskSpace
    after: DiskSpace


class ListedPath(Struct, frozen=True):
    """One path that a sweep would remove."""

    path: str
    bytes: int
    rule: str = field(name="class")
    because: str


class SweepAnswer(Struct, frozen=True):
    """One sweep. `more`: its budget was used up. `resting`: the disk's margin was left alone after a failure.

    `trouble` holds sentences that are worth an alert; `listed` is set for a dry run.
    """

    dry_run: bool
    seconds: float
    more: bool
    removed: SpaceAmount
    classes: list[ClassSwept]
    disks: list[DiskSwept]
    trouble: list[str]
    resting: bool
    listed: list[ListedPath] | UnsetType = UNSET
