"""Compares, every `models.rescan`, the disk with what the last round left; wakes the loop only when
they differ.

While all is well a round finds nothing to do, and costs far more than this check. While anything is running, waiting or
failed, rounds run every `models.rescan` instead. It changes nothing; its thread reads only what it was given.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from ..config.load import Config
from ..models import link_place
from ..models.artifacts import is_whole
from ..models.lifecycle import VersionState
from ..models.link_place import LinkPlace
from ..models.scan import scan_candidates
from ..models.snapshot import Names, RootSeen
from ..status.snapshot import Snapshot
from ..system.clock import Clock
from ..system.timer_thread import TimerThread, until_next

QUIET_ROUNDS: Final = 12
"""At rest, one round in so many periods of `models.rescan`."""
QUIET_SECONDS: Final = 60.0
"""The longest time between two rounds at rest."""
PAUSE_SECONDS: Final = 30.0
"""The longest time between two rounds while there may be something to do."""
MAX_TRACE: Final = 2_000
Mark = tuple[int, ...] | None
_SETTLED: Final = (VersionState.ACCEPTED, VersionState.REJECTED)


@dataclass(frozen=True)
class Rest:
    """The state that the last round left, for the comparison."""

    root: Path
    place: LinkPlace
    sight: RootSeen
    settled: frozenset[str]
    copies: frozenset[str]
    trace: dict[str, Mark] = field(default_factory=dict, compare=False)
    """The state of all files at the last check that found no change: while it stays, no scan is needed."""


class IdleCheck:
    """See the module. `in_place` returns whether the other things that rounds check are unchanged; `wake` begins a
    round.

    Any thread may call both. `began` is when the running check began, monotonic seconds; None between checks.
    """

    def __init__(
        self,
        config: Callable[[], Config],
        clock: Clock,
        snapshot: Callable[[], Snapshot],
        in_place: Callable[[], bool],
        wake: Callable[[], object],
    ) -> None:
        self._config, self._clock, self._snapshot = config, clock, snapshot
        self._in_place, self._wake = in_place, wake
        self._rest: Rest | None = None
        self.began: float | None = None
        self._period = config().models.rescan
        self._timer = TimerThread("idle check", self._check, lambda: self._period, clock, later=0.4)

    def start(self) -> None:
        self._timer.start()

    def stop(self) -> None:
        """Waits a moment: not on the event loop."""
        self._timer.stop()

    def after_round(self, *, failed: bool) -> float:
        """To be called when a round ended. Returns after how many seconds the next round is due at the latest."""
        rescan = self._config().models.rescan
        if rescan != self._period:
            self._period = rescan
            self._timer.again()
        rest = None if failed else at_rest(self._snapshot())
        if rest != self._rest:  # else what was traced still holds
            self._rest = rest
        if rest is None:
            return min(rescan, PAUSE_SECONDS)
        return until_next(self._clock.monotonic(), min(QUIET_ROUNDS * rescan, QUIET_SECONDS))

    def _check(self) -> None:
        """On the timer's thread."""
        rest = self._rest
        if rest is None:
            return  # rounds scan by themselves
        self.began = self._clock.monotonic()
        try:
            if not (self._in_place() and unchanged(rest)) and self._rest is rest:
                self._wake()
        finally:
            self.began = None


def unchanged(rest: Rest) -> bool:
    """Whether a scan now finds what the last round found."""
    if link_place.find(rest.root, rest.place) != rest.sight.linked:
        return False  # mounted anew, to be read only or no longer
    if rest.trace and all(_mark(path) == mark for path, mark in rest.trace.items()):
        return True
    places = [f"{place}/." for place in (rest.root, *rest.copies)]  # itself, should it be a link
    live = f"{rest.root / rest.sight.linked.at}/."  # should it lead there over other links
    found = {path: _mark(path) for place in places for path in (place, *_below(place))}  # before the scan
    found[live] = _mark(live)
    seen = scan_candidates(rest.root, rest.place, rest.sight, rest.settled)
    if seen != rest.sight or not all(map(is_whole, rest.copies)):
        return False
    rest.trace.clear()
    if len(found) <= MAX_TRACE:
        rest.trace.update(found)
    return True


def _mark(path: str) -> Mark:
    """What differs after any change: of a directory, when an entry of it was added, removed or renamed as well."""
    try:
        s = os.lstat(path)
    except OSError:
        return None
    return s.st_dev, s.st_ino, s.st_mode, s.st_size, s.st_mtime_ns, s.st_ctime_ns


def _below(directory: str) -> Iterator[str]:
    for place, directories, files in os.walk(directory):
        for name in (*directories, *files):
            yield os.path.join(place, name)


def at_rest(seen: Snapshot) -> Rest | None:
    """What there is to compare with while all is well; None while a round might find something to do."""
    sight, entries, workers = seen.versions.sight, seen.versions.entries, seen.workers
    activation, serving = seen.activation, seen.activation.position.serving
    if not isinstance(sight, RootSeen) or not isinstance(sight.link, Names) or seen.watch[0] != "watching":
        return None
    if serving is None or activation.busy or seen.versions.busy or activation.complaint or not activation.resting:
        return None
    if seen.config.workers.memory or workers.pending_starts or len(workers.processes) != workers.wanted:
        return None
    if any(e.state not in _SETTLED for e in entries):
        return None
    if any(p.loading or p.draining or not p.on(serving.version, serving.artifact) for p in workers.peers):
        return None
    if sum(not p.attached for p in workers.peers) != workers.wanted:
        return None
    accepted = (e.artifact for e in entries if e.state is VersionState.ACCEPTED)
    place = link_place.place_of(seen.config)
    return Rest(seen.config.models.root, place, sight, frozenset(e.name for e in entries), frozenset(accepted))
