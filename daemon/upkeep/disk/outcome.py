"""The result of a sweep, by class and by disk: sizes before and after, and the reasons.

Plain data: the CLI, the history, the log and the panel show the same words.
"""

from __future__ import annotations

from msgspec import UNSET, Struct, UnsetType, field

from ...answers.disk import ClassSwept, DiskSwept, ListedPath, SpaceAmount, SweepAnswer, SweepReason

Reasons = dict[str, tuple[int, int]]  # sentence -> entries, bytes


class ClassOutcome(Struct):
    """One class. `refused`, `note` and `shortfall` are sentences; "" when there is nothing to report."""

    name: str
    path: str
    before_bytes: int = 0
    before_files: int = 0
    after_bytes: int = 0
    after_files: int = 0
    removed_bytes: int = 0
    removed_files: int = 0
    removed: Reasons = field(default_factory=dict)
    spared: Reasons = field(default_factory=dict)
    complete: bool = False
    refused: str = ""
    note: str = ""
    shortfall: str = ""


class SweepOutcome(Struct):
    """One pass. `more`: a budget ran out, so sweep again soon. `trouble` holds sentences for an alert."""

    classes: list[ClassOutcome] = field(default_factory=list)
    disks: list[DiskSwept] = field(default_factory=list)
    seconds: float = 0.0
    more: bool = False
    dry_run: bool = False
    trouble: list[str] = field(default_factory=list)

    @property
    def removed_bytes(self) -> int:
        """The sum over all classes."""
        return sum(c.removed_bytes for c in self.classes)

    @property
    def removed_files(self) -> int:
        """The sum over all classes."""
        return sum(c.removed_files for c in self.classes)

    def answer(self, *, resting: bool, listed: list[ListedPath] | UnsetType = UNSET) -> SweepAnswer:
        """The result for the API and for the history."""
        return SweepAnswer(
            dry_run=self.dry_run,
            seconds=round(self.seconds, 3),
            more=self.more,
            removed=SpaceAmount(self.removed_files, self.removed_bytes),
            classes=[_class_answer(c) for c in self.classes],
            disks=self.disks,
            trouble=self.trouble + [c.shortfall for c in self.classes if c.shortfall],
            resting=resting,
            listed=listed,
        )


def _class_answer(c: ClassOutcome) -> ClassSwept:
    def reasons(found: Reasons) -> list[SweepReason]:
        return [SweepReason(words, number, used) for words, (number, used) in found.items()]

    return ClassSwept(
        name=c.name,
        path=c.path,
        before=SpaceAmount(c.before_files, c.before_bytes),
        after=SpaceAmount(c.after_files, c.after_bytes),
        removed=reasons(c.removed),
        spared=reasons(c.spared),
        complete=c.complete,
        refused=c.refused,
        note=c.note,
        shortfall=c.shortfall,
    )
