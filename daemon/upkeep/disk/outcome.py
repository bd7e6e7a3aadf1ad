"""What a sweep says when it is done: before, after and because, by class and by disk, ready for JSON.

Plain data: CLI, history, log and panel show the same words.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct, field

from .quota import DiskSpace

Reasons = dict[str, tuple[int, int]]  # sentence -> entries, bytes


class ClassOutcome(Struct):
    """One class. `refused`, `note` and `shortfall` are sentences, "" when there is nothing to say."""

    name: str
    path: str
    before_bytes: int = 0
    before_files: int = 0
    after_bytes: int = 0
    after_files: int = 0
    removed_bytes: int = 0
    removed_files: int = 0
    trash_bytes: int = 0
    removed: Reasons = field(default_factory=dict)
    spared: Reasons = field(default_factory=dict)
    complete: bool = False
    refused: str = ""
    note: str = ""
    shortfall: str = ""


class DiskOutcome(Struct, frozen=True):
    """One disk and the classes on it."""

    classes: list[str]
    before: DiskSpace
    after: DiskSpace


class SweepOutcome(Struct):
    """One pass. `more`: a budget ran out, sweep again soon. `trouble` holds sentences that are worth an alert."""

    classes: list[ClassOutcome] = field(default_factory=list)
    disks: list[DiskOutcome] = field(default_factory=list)
    seconds: float = 0.0
    more: bool = False
    dry_run: bool = False
    trouble: list[str] = field(default_factory=list)

    @property
    def removed_bytes(self) -> int:
        """Over all classes."""
        return sum(c.removed_bytes for c in self.classes)

    @property
    def removed_files(self) -> int:
        """Over all classes."""
        return sum(c.removed_files for c in self.classes)

    def as_json(self) -> dict[str, Any]:
        """For the API and for history."""
        return {
            "dry_run": self.dry_run,
            "seconds": round(self.seconds, 3),
            "more": self.more,
            "removed": {"files": self.removed_files, "bytes": self.removed_bytes},
            "classes": [_class_json(c) for c in self.classes],
            "disks": [
                {"classes": d.classes, "before": space_json(d.before), "after": space_json(d.after)} for d in self.disks
            ],
            "trouble": self.trouble + [c.shortfall for c in self.classes if c.shortfall],
        }


def space_json(space: DiskSpace) -> dict[str, int]:
    """Total and free, bytes and inodes."""
    return {
        "total_bytes": space.total_bytes,
        "free_bytes": space.free_bytes,
        "total_inodes": space.total_inodes,
        "free_inodes": space.free_inodes,
    }


def _class_json(c: ClassOutcome) -> dict[str, Any]:
    def reasons(found: Reasons) -> list[dict[str, Any]]:
        return [{"because": words, "files": number, "bytes": used} for words, (number, used) in found.items()]

    return {
        "class": c.name,
        "path": c.path,
        "before": {"files": c.before_files, "bytes": c.before_bytes},
        "after": {"files": c.after_files, "bytes": c.after_bytes},
        "removed": reasons(c.removed),
        "spared": reasons(c.spared),
        "complete": c.complete,
        "refused": c.refused,
        "note": c.note,
        "shortfall": c.shortfall,
    }
