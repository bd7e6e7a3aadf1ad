"""The versions present: what each is, what is known of its bytes, and when it is due for judgement.

Keeps the state of each version by the table in `lifecycle`; reads no disk and no clock. A version is the same as before
only while its fingerprint is; other bytes under an old name are another candidate.
"""

from __future__ import annotations

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
    """One version. `first_seen` and `changed` are monotonic seconds, `arrived` is wall seconds for ordering.

    `insisted`: a command asked for these very files, which are then judged as they are.
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

    @property
    def name(self) -> str:
        return self.seen.name

    @property
    def artifact(self) -> str:
        """Where its accepted form lies; "" when it has none."""
        return self.verdict.artifact if self.verdict and self.state is VersionState.ACCEPTED else ""

    def take(self, event: VersionEvent) -> None:
        self.state = lifecycle.step(self.state, event)


class Note(Struct, frozen=True):
    """What a look found new about a version."""

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

    def update(self, sight: RootSeen, monotonic: float, wall: float) -> list[Note]:
        """Takes a look into account; what is new."""
        notes = []
        present = {seen.name for seen in sight.versions}
        for name in [name for name in self._entries if name not in present]:
            self._entries.pop(name).take(VersionEvent.VANISHED)
            notes.append(Note(name, "vanished"))
        for seen in sight.versions:
            entry = self._entries.get(seen.name)
            if entry is None:
                self._entries[seen.name] = CatalogEntry(seen, VersionState.SEEN, monotonic, monotonic, wall)
                notes.append(Note(seen.name, "seen"))
            elif seen.passing and not entry.seen.error:
                continue  # what was seen last still holds
            elif seen.fingerprint != entry.seen.fingerprint:
                entry.seen, entry.changed = seen, monotonic
                entry.digest, entry.verdict, entry.due, entry.insisted = "", None, 0.0, False
                entry.take(VersionEvent.CHANGED)
                notes.append(Note(seen.name, "changed"))
            else:
                entry.seen = seen
        return notes

    def recall(self, name: str, digest: str, verdict: Verdict, arrived: float) -> None:
        """These very bytes were judged before: the verdict holds."""
        entry = self._entries[name]
        entry.digest, entry.verdict, entry.arrived = digest, verdict, arrived
        entry.take(VersionEvent.PASSED if verdict.accepted else VersionEvent.FAILED)

    def forget(self, entry: CatalogEntry) -> None:
        """What was found about these files counts no more: they have to be judged again."""
        entry.digest, entry.verdict, entry.due, entry.waiting = "", None, 0.0, ""
        entry.take(VersionEvent.CHANGED)

    def hurry(self, name: str) -> None:
        """This version waits no longer, if it waits."""
        if entry := self._entries.get(name):
            entry.due, entry.waiting = 0.0, ""

    def insist(self, name: str) -> None:
        """A command asks for this version as it is: it is not waited for what may still come."""
        if entry := self._entries.get(name):
            entry.insisted = True
            if entry.waiting.startswith(ARRIVING):
                self.hurry(name)

    def reconsider(self) -> None:
        """The rules changed: whoever waits is looked at anew, not when the old rules said."""
        for entry in self._entries.values():
            entry.due = 0.0

    def candidates(self, now: float, settle_seconds: float, arrive_seconds: float = 0.0) -> list[CatalogEntry]:
        """Versions that are ready to be judged now, those waiting longest first; notes why the others wait."""
        ready = []
        for entry in self._entries.values():
            if entry.state not in (VersionState.SEEN, VersionState.SETTLING) or now < entry.due:
                continue
            arrive = 0.0 if entry.insisted else arrive_seconds
            answer = judge_now(entry.seen, entry.first_seen, entry.changed, now, settle_seconds, arrive)
            if isinstance(answer, Ready):
                ready.append(entry)
            elif isinstance(answer, WaitUntil):
                self.wait(entry, answer.because, answer.until)
        return sorted(ready, key=lambda entry: entry.changed)

    def unfit(self, now: float, settle_seconds: float) -> list[tuple[CatalogEntry, Unfit]]:
        """Versions that no validator can look through, each with the reason."""
        waiting = [
            e for e in self._entries.values() if e.state in (VersionState.SEEN, VersionState.SETTLING) and now >= e.due
        ]
        answers = [(e, judge_now(e.seen, e.first_seen, e.changed, now, settle_seconds)) for e in waiting]
        return [(entry, answer) for entry, answer in answers if isinstance(answer, Unfit)]

    def wait(self, entry: CatalogEntry, because: str, due: float) -> None:
        """It is not judged yet, and looked at again at `due`."""
        entry.waiting, entry.due = because, due
        entry.take(VersionEvent.UNSETTLED)

    def refuse(self, entry: CatalogEntry, verdict: Verdict) -> None:
        """A rejection that no validator gave."""
        entry.verdict, entry.digest, entry.waiting = verdict, verdict.digest, ""
        entry.take(VersionEvent.FAILED)

    def next_due(self) -> float | None:
        """When a waiting version is to be looked at again, monotonic seconds."""
        due = [e.due for e in self._entries.values() if e.state is VersionState.SETTLING]
        return min(due, default=None)

    def decided(self, entry: CatalogEntry, verdict: Verdict) -> bool:
        """A verdict on the bytes that `entry` had; False when it has others by now, or is gone."""
        if self._entries.get(entry.name) is not entry or entry.state is not VersionState.VALIDATING:
            return False
        entry.verdict, entry.digest = verdict, verdict.digest
        entry.take(VersionEvent.PASSED if verdict.accepted else VersionEvent.FAILED)
        return True

    def interrupted(self, entry: CatalogEntry, because: str, due: float) -> None:
        """The validator ended without a verdict: the version is looked at again at `due`."""
        if self._entries.get(entry.name) is entry and entry.state is VersionState.VALIDATING:
            entry.take(VersionEvent.INTERRUPTED)
            entry.waiting, entry.due = because, due
