"""The versions that are present: the state of each, its verdict, and when it is to be validated.

It keeps the states by the table in `lifecycle`, and reads no disk and no clock. A version stays the same while its
fingerprint does; other bytes under an old name are a new candidate.
"""

from __future__ import annotations

from math import inf

from msgspec import Struct

from . import lifecycle
from .lifecycle import VersionEvent, VersionState
from .settle import (
    ARRIVING,
    Ready,
    Unfit,
    WaitUntil,
    judge_now,
)
from .snapshot import RootSeen, VersionSeen
from .verdict import Verdict


class CatalogEntry(Struct):
    """One version. `first_seen` and `changed` are monotonic seconds; `arrived` is wall seconds, for ordering.
    `restless_since`: since when it changes again and again without a quiet time; inf: not known.
    `insisted`: a command requested these files, so they are validated as they are.
    """

    seen: VersionSeen
    state: VersionState
    first_seen: float
    changed: float
    arrived: float
    digest: str = ""
    verdict: Verdict | None = None
    waiting: str = ""
    due: float = 0.0
    insisted: bool = False
    restless_since: float = inf

    @property
    def name(self) -> str:
        return self.seen.name

    @property
    def artifact(self) -> str:
        """The path of its accepted form; "" when it has none."""
        return self.verdict.artifact if self.verdict and self.state is VersionState.ACCEPTED else ""

    def take(self, event: VersionEvent) -> None:
        self.state = lifecycle.step(self.state, event)


class Note(Struct, frozen=True):
    """A change to a version that a scan found."""

    version: str
    kind: str  # seen | changed | vanished


class Catalog:
    """All versions present, by name."""

    def __init__(self) -> None:
        self._entries: dict[str, CatalogEntry] = {}

    def get(self, name: str) -> CatalogEntry | None:
        return self._entries.get(name)

    def entries(self) -> tuple[CatalogEntry, ...]:
        return tuple(self._entries.values())

    def update(self, sight: RootSeen, monotonic: float, wall: float, quiet_seconds: float = 0.0) -> list[Note]:
        """Takes the result of a scan; returns what changed. One without a change for `quiet_seconds` was at rest."""
        notes = []
        present = {seen.name for seen in sight.versions}
        for name in [name for name in self._entries if name not in present]:
            self._entries.pop(name).take(VersionEvent.VANISHED)
            notes.append(Note(name, "vanished"))
        for seen in sight.versions:
            entry = self._entries.get(seen.name)
            if entry is None:
                self._entries[seen.name] = CatalogEntry(
                    seen, VersionState.SEEN, monotonic, monotonic, wall, restless_since=monotonic
                )
                notes.append(Note(seen.name, "seen"))
            elif seen.passing and not entry.seen.error:
                continue  # what was seen last still holds
            elif seen.fingerprint != entry.seen.fingerprint:
                if monotonic - entry.changed >= quiet_seconds:
                    entry.restless_since = monotonic
                entry.seen, entry.changed = seen, monotonic
                entry.digest, entry.verdict, entry.due, entry.insisted = "", None, 0.0, False
                entry.take(VersionEvent.CHANGED)
                notes.append(Note(seen.name, "changed"))
            else:
                entry.seen = seen
        return notes

    def recall(self, name: str, digest: str, verdict: Verdict, arrived: float) -> None:
        """Applies the stored verdict on the same bytes."""
        entry = self._entries[name]
        entry.digest, entry.verdict, entry.arrived = digest, verdict, arrived
        entry.take(VersionEvent.PASSED if verdict.accepted else VersionEvent.FAILED)

    def forget(self, entry: CatalogEntry) -> None:
        """Drops the verdict on these files: they are validated again."""
        entry.digest, entry.verdict, entry.due, entry.waiting = "", None, 0.0, ""
        entry.take(VersionEvent.CHANGED)

    def hurry(self, name: str) -> None:
        """Ends the wait of this version, if it waits."""
        if entry := self._entries.get(name):
            entry.due, entry.waiting = 0.0, ""

    def insist(self, name: str) -> None:
        """A command requests this version as it is: it does not wait for files that may still come."""
        if entry := self._entries.get(name):
            entry.insisted = True
            if entry.waiting.startswith(ARRIVING):
                self.hurry(name)

    def reconsider(self) -> None:
        """The rules changed: versions that wait are checked again now."""
        for entry in self._entries.values():
            entry.due = 0.0

    def candidates(self, now: float, settle_seconds: float, arrive_seconds: float = 0.0) -> list[CatalogEntry]:
        """Versions that are ready to be validated, the longest waiting first. It notes why the others wait."""
        ready = []
        for entry in self._entries.values():
            if entry.state not in (VersionState.SEEN, VersionState.SETTLING) or now < entry.due:
                continue
            arrive = 0.0 if entry.insisted else arrive_seconds
            answer = judge_now(
                entry.seen, entry.first_seen, entry.changed, now, settle_seconds, arrive, entry.restless_since
            )
            if isinstance(answer, Ready):
                ready.append(entry)
            elif isinstance(answer, WaitUntil):
                self.wait(entry, answer.because, answer.until)
        return sorted(ready, key=lambda entry: entry.changed)

    def unfit(self, now: float, settle_seconds: float) -> list[tuple[CatalogEntry, Unfit]]:
        """Versions that cannot be read, each with the reason."""
        waiting = [
            e for e in self._entries.values() if e.state in (VersionState.SEEN, VersionState.SETTLING) and now >= e.due
        ]
        answers = [(e, judge_now(e.seen, e.first_seen, e.changed, now, settle_seconds)) for e in waiting]
        return [(entry, answer) for entry, answer in answers if isinstance(answer, Unfit)]

    def wait(self, entry: CatalogEntry, because: str, due: float) -> None:
        """Records why it is not validated yet; it is checked again at `due`."""
        entry.waiting, entry.due = because, due
        entry.take(VersionEvent.UNSETTLED)

    def refuse(self, entry: CatalogEntry, verdict: Verdict) -> None:
        """Records a rejection that did not come from a validator."""
        entry.verdict, entry.digest, entry.waiting = verdict, verdict.digest, ""
        entry.take(VersionEvent.FAILED)

    def next_due(self) -> float | None:
        """When to check a waiting version again, monotonic seconds."""
        due = [e.due for e in self._entries.values() if e.state is VersionState.SETTLING]
        return min(due, default=None)

    def decided(self, entry: CatalogEntry, verdict: Verdict) -> bool:
        """Records a verdict on the bytes that `entry` had. False when it has other bytes now, or is gone."""
        if self._entries.get(entry.name) is not entry or entry.state is not VersionState.VALIDATING:
            return False
        entry.verdict, entry.digest = verdict, verdict.digest
        entry.take(VersionEvent.PASSED if verdict.accepted else VersionEvent.FAILED)
        return True

    def interrupted(self, entry: CatalogEntry, because: str, due: float) -> None:
        """Records that the validator ended without a verdict; the version is checked again at `due`."""
        if self._entries.get(entry.name) is entry and entry.state is VersionState.VALIDATING:
            entry.take(VersionEvent.INTERRUPTED)
            entry.waiting, entry.due = because, due
