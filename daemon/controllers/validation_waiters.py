"""Answers the requests that wait for verdicts: to scan the model root again, or to validate a version
again.

It decides nothing about versions. Invariant: a waiting request is answered as soon as there is a verdict, or a reason
for having none.
"""

from __future__ import annotations

from collections.abc import Callable

from ..answers.commands import CommandAccepted, CommandOutcome, ValidateOutcome
from ..answers.versions import VersionReport
from ..errors import NotKnown, Refused
from ..models.catalog import CatalogEntry
from ..models.lifecycle import VersionState
from ..models.snapshot import Names, RootSeen
from ..system.clock import Clock
from .activation import Activation
from .validation import Validation
from .wakeups import Wakeups

WAIT_SECONDS = 3600.0
"""The longest that a client is kept waiting for a decision."""


class ValidationWaiters:
    """See the module."""

    def __init__(self, clock: Clock, validation: Validation, activation: Activation, wakeups: Wakeups) -> None:
        self._clock, self._validation, self._activation, self._wakeups = clock, validation, activation, wakeups

    async def validate(
        self, version: str, wait: bool, report: Callable[[CatalogEntry], VersionReport]
    ) -> ValidateOutcome | CommandAccepted:
        """Has a version validated again: a rejection is dropped, an accepted version continues to serve."""
        validation = self._validation
        await validation.validate_again(version)
        self._wakeups.wake()
        if not wait:
            return CommandAccepted(True, f"{version} is being judged")
        await self.until(lambda: not validation.undecided(version))
        entry = validation.catalog.get(version)
        if entry is None:
            raise NotKnown(f"cannot validate {version}: its directory is gone")
        if because := validation.hindered(version):
            raise Refused(f"cannot validate {version}: {because}; {self.still()}")
        if entry.verdict is None:
            raise Refused(f"cannot validate {version}: no verdict; {entry.waiting or 'it changed meanwhile'}")
        accepted = entry.state is VersionState.ACCEPTED
        what = f"{version} is accepted" if accepted else f"cannot accept {version}"
        return ValidateOutcome(accepted, f"{what}: {entry.verdict.because}", report(entry))

    async def rescan(self, wait: bool) -> CommandOutcome | CommandAccepted:
        """Scans now; it is answered when no version waits for its verdict and no rollout runs."""
        validation, activation = self._validation, self._activation
        await validation.scan()
        await activation.kept.moves.follow(activation.position)
        self._wakeups.wake()
        fresh = {
            e.name for e in validation.catalog.entries() if validation.undecided(e.name) or validation.hindered(e.name)
        }
        linked = self._linked()
        for name in fresh:
            validation.at_once(name)
        if not wait:
            return CommandAccepted(True, "looking again")
        await self.until(self._settled, pause=True)
        now = self.still()
        for name in sorted(fresh | {linked} - {""}):
            if name != linked and validation.arriving(name):
                continue  # no command named it, and a copy under way needs no report
            if because := self._refused(name):
                return CommandOutcome(False, f"cannot take {name}: {because}; {now}")
        if because := self._link_trouble() or activation.complaint:
            return CommandOutcome(False, because if now in because else f"{because}; {now}")
        serving = activation.position.serving
        if serving is None:
            return CommandOutcome(False, f"cannot find a version to serve: {now}")
        return CommandOutcome(True, f"serving {serving.version}")

    def still(self) -> str:
        return self._activation.position.still

    async def until(self, condition: Callable[[], bool], *, pause: bool = False) -> None:
        """Waits for a condition that rounds bring about, at most WAIT_SECONDS."""
        deadline = self._clock.monotonic() + WAIT_SECONDS
        if pause:  # the requested round has to run first
            await self._wakeups.next_round(5.0)
        while not condition():
            if self._clock.monotonic() > deadline:
                raise Refused(f"cannot tell how it ended: not decided in {WAIT_SECONDS:g} s")
            await self._wakeups.next_round(1.0)

    def _linked(self) -> str:
        """What the link names, unless that is what is served."""
        sight, word = self._validation.sight, self._activation.position.word
        named = sight.link.version if isinstance(sight, RootSeen) and isinstance(sight.link, Names) else ""
        return "" if word is not None and word.name == named else named

    def _refused(self, name: str) -> str:
        entry = self._validation.catalog.get(name)
        if entry is not None and entry.state is VersionState.REJECTED and entry.verdict is not None:
            return entry.verdict.because
        return self._validation.hindered(name)

    def _link_trouble(self) -> str:
        """A link that was to be moved, and went into the version that it names."""
        sight = self._validation.sight
        if not isinstance(sight, RootSeen) or not isinstance(sight.link, Names):
            return ""
        beginning = f"{sight.link.version}/"
        found = (text for path, text in self._validation.misplaced.found.items() if path.startswith(beginning))
        return next(found, "")

    def _settled(self) -> bool:
        validation = self._validation
        pending = any(validation.undecided(e.name) for e in validation.catalog.entries())
        busy = self._activation.busy or validation.busy
        return not (pending or busy or self._wakeups.deciding)  # the rollout of a new verdict begins in the next round
