"""Decides which form of a version a rollout brings to the workers, and what a failed rollout means for
that form.

It runs no rollout. Invariant: a form that no worker has proved is loaded only with a canary and a way back, never at a
start. A failed form costs the version only that form.
"""

from __future__ import annotations

from ..models.catalog import CatalogEntry
from ..models.form_plan import PLAIN, Form, handicap
from ..models.lifecycle import VersionState
from ..system.clock import Clock
from ..units import size
from ..workers.rollout_executor import Rollout, Target
from .forms import Forms
from .validation import Validation

RETRY_SECONDS = (30.0, 120.0, 600.0, 3600.0)
"""The pause after a rollout of a form that failed without its fault, such as for want of memory."""


class FormChoice:
    """See the module."""

    def __init__(self, forms: Forms, validation: Validation, clock: Clock) -> None:
        self._forms, self._validation, self._clock = forms, validation, clock
        self._failed, self._not_before = 0, 0.0
        self.waiting: tuple[str, str] = ("", "")
        """The version that waits for its form, and the reason."""

    def plain(self, entry: CatalogEntry) -> Target:
        """An accepted version as it came."""
        judged = entry.verdict
        needs = (judged.load_bytes, judged.load_seconds) if judged else (0, 0.0)
        return Target(entry.name, entry.digest, entry.artifact, *needs)

    def target(self, entry: CatalogEntry) -> Target:
        """An accepted version in its best form."""
        form = self._forms.best(entry.name, entry.digest)
        return self.plain(entry) if form is None or form.form == PLAIN else _target(form)

    def proved(self, entry: CatalogEntry, good: Target | None) -> Target:
        """An accepted version in the form that served last, if it may still be loaded; else as it came."""
        form = self._forms.of(good.artifact) if good is not None else None
        if form is None or (form.version, form.digest) != (entry.name, entry.digest) or not self._forms.permitted(form):
            return self.plain(entry)
        return _target(form)

    def waits(self, entry: CatalogEntry, serving: Target | None) -> bool:
        """Whether the rollout of this version waits for its form; the reason is in `waiting`."""
        if serving is None or serving.digest == entry.digest:
            return False
        seconds = judged_seconds(entry)
        because = self._forms.waits(entry.name, entry.digest, serving.artifact, seconds)
        self.waiting = (entry.name, because) if because else ("", "")
        return bool(because)

    def decided(self, digest: str) -> None:
        """These bytes are wanted now ("" for nothing new): no other version waits for its form any more."""
        self.waiting = ("", "")
        self._forms.only(digest)

    def better(self, serving: Target) -> Target | None:
        """A better form of the served version that is ready, or another one when the present form may not be used any
        more.
        """
        now = self._forms.of(serving.artifact)
        best = self._forms.best(serving.version, serving.digest)
        if best is None or best.artifact == serving.artifact or self._clock.monotonic() < self._not_before:
            return None
        if now is not None and self._forms.permitted(now) and now.rank >= best.rank:
            return None
        return _target(best)

    def lost(self, serving: Target) -> Target | None:
        """Another form of what serves, when the one that the workers have is gone from the disk; None while it exists.

        A worker that starts now could not load it.
        """
        if self._forms.of(serving.artifact) is not None:
            return None
        entry = self._validation.catalog.get(serving.version)
        if entry is None or entry.state is not VersionState.ACCEPTED or entry.digest != serving.digest:
            return None
        return self.plain(entry) if entry.artifact != serving.artifact else None

    def describe(self, target: Target) -> str:
        """The form and its gains, for the history."""
        form = self._forms.of(target.artifact)
        if form is None or form.form == PLAIN:
            return "as it came"
        told = form.compiled
        ratios = ", ".join(f"{v:.2f} at {k[10:]}" for k, v in told.items() if k.startswith("cpu_ratio_"))
        load = f"loads in {told.get('load_seconds', 0):.2f} s instead of {told.get('load_seconds_original', 0):.2f}"
        memory = f"needs {size(form.load_bytes)} instead of {size(int(told.get('load_bytes_original', 0)))}"
        return f"{form.form} form: CPU time {ratios or 'not measured'} of the original's; {load}; {memory}"

    def handicap(self, rollout: Rollout) -> float:
        """How many times as long answers may take because a version without a compiled form follows one that had it."""
        old = self._forms.of(rollout.old.artifact) if rollout.old is not None else None
        return handicap(old, self._forms.of(rollout.target.artifact))

    async def failed(self, rollout: Rollout) -> bool:
        """Records that a rollout failed; True when the form may be at fault, so the version is not."""
        form = self._forms.of(rollout.target.artifact)
        if form is None or form.form == PLAIN or form.artifact == self._plain_artifact(rollout.target):
            if rollout.origin == "form":
                self._put_off()
            return False
        if rollout.blame:
            await self._forms.refuse(form, rollout.outcome)
        elif rollout.origin == "form":
            self._put_off()
        return rollout.blame

    def succeeded(self) -> None:
        """Records that the workers took the form."""
        self._failed, self._not_before = 0, 0.0

    def next_check(self) -> float | None:
        """When a form may be tried again, monotonic seconds."""
        return self._not_before if self._not_before > self._clock.monotonic() else None

    def _put_off(self) -> None:
        delay = RETRY_SECONDS[min(self._failed, len(RETRY_SECONDS) - 1)]
        self._failed, self._not_before = self._failed + 1, self._clock.monotonic() + delay

    def _plain_artifact(self, target: Target) -> str:
        entry = self._validation.catalog.get(target.version)
        return entry.artifact if entry is not None else ""


def judged_seconds(entry: CatalogEntry | None) -> float:
    """What judging a version took; 0 when that is not known."""
    return sum(gate.seconds for gate in entry.verdict.gates) if entry is not None and entry.verdict else 0.0


def _target(form: Form) -> Target:
    seconds = form.compiled.get("load_seconds", 0.0)
    took = float(seconds) if isinstance(seconds, int | float) else 0.0
    return Target(form.version, form.digest, form.artifact, form.load_bytes, took)
