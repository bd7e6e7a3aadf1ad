"""Looks out, every `models.rescan`, for anything that is not as the last round left it; wakes the loop only then.

While all is well a round would find nothing to do, and costs far more than a look. Whatever is under way, waits, failed
or complains is no such time: then rounds go on at `models.rescan`. Changes nothing; a look on a thread touches none of
the daemon's parts but those handed to it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from .api.server import AdminServer
from .clock import Clock
from .config import Config
from .judging import Judging
from .metronome import Metronome
from .models.copies import is_whole
from .models.lifecycle import State
from .models.scan import glance
from .models.sight import Names, RootSeen
from .models.watch import Watch
from .rolling import Rolling
from .workers.channel import Channel
from .workers.crew import Crew
from .workers.pool import Pool

QUIET_ROUNDS: Final = 12
"""So many times `models.rescan` lie between two rounds at rest."""
QUIET_SECONDS: Final = 60.0
"""And never more than so long."""
PAUSE_SECONDS: Final = 30.0
"""The same while there may be something to do."""
MAX_TRACE: Final = 2_000
Mark = tuple[int, ...] | None
_SETTLED: Final = (State.ACCEPTED, State.REJECTED)


class Daemon(Protocol):
    """The parts that are looked at."""

    config: Config
    clock: Clock
    channel: Channel
    api: AdminServer
    crew: Crew
    pool: Pool
    rolling: Rolling
    judging: Judging
    watch: Watch


@dataclass(frozen=True)
class Rest:
    """How the last round left things: what a look compares with."""

    root: Path
    link: str
    sight: RootSeen
    settled: frozenset[str]
    copies: frozenset[str]
    trace: dict[str, Mark] = field(default_factory=dict, compare=False)
    """Everything that was looked at when it was last found unchanged: as long as it stays, there is nothing to see."""


class Lookout:
    """See the module. `wake` begins a round, from any thread.

    `began` is when the look under way began, monotonic seconds; None between looks.
    """

    def __init__(self, daemon: Daemon, wake: Callable[[], object]) -> None:
        self._s, self._wake = daemon, wake
        self._rest: Rest | None = None
        self.began: float | None = None
        self._period = daemon.config.models.rescan
        self._metronome = Metronome("lookout", self._look, lambda: self._period, daemon.clock, later=0.4)

    def start(self) -> None:
        self._metronome.start()

    def stop(self) -> None:
        """Waits a moment: not on the event loop."""
        self._metronome.stop()

    def after_round(self, *, failed: bool) -> float:
        """To be called when a round ended; in how many seconds the next one is due at the latest."""
        rescan = self._s.config.models.rescan
        if rescan != self._period:
            self._period = rescan
            self._metronome.again()
        rest = None if failed else at_rest(self._s)
        if rest != self._rest:  # else what was traced still holds
            self._rest = rest
        return min(rescan, PAUSE_SECONDS) if rest is None else min(QUIET_ROUNDS * rescan, QUIET_SECONDS)

    def _look(self) -> None:
        """On the metronome's thread."""
        rest = self._rest
        if rest is None:
            return  # rounds look by themselves
        self.began = self._s.clock.monotonic()
        try:
            if not self._as_it_was(rest) and self._rest is rest:
                self._wake()
        finally:
            self.began = None

    def _as_it_was(self, rest: Rest) -> bool:
        s = self._s  # of which only what may be asked from any thread
        files = s.channel.in_place() and s.api.in_place() and s.pool.written_down()
        return files and s.watch.alive() and unchanged(rest)


def unchanged(rest: Rest) -> bool:
    """Whether a look now sees what the last round saw."""
    if rest.trace and all(_mark(path) == mark for path, mark in rest.trace.items()):
        return True
    places = [f"{place}/." for place in (rest.root, *rest.copies)]  # itself, should it be a link
    live = f"{rest.root}/{rest.link}/."  # should it lead there over other links
    found = {path: _mark(path) for place in places for path in (place, *_below(place))}  # before it is looked at
    found[live] = _mark(live)
    seen = glance(rest.root, rest.link, rest.sight, rest.settled)
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


def at_rest(s: Daemon) -> Rest | None:
    """What there is to compare with while all is well; None while a round might find something to do."""
    sight, serving, peers = s.judging.sight, s.rolling.position.serving, s.crew.peers()
    entries = s.judging.catalog.entries()
    if not isinstance(sight, RootSeen) or not isinstance(sight.link, Names) or s.watch.state != "watching":
        return None
    if serving is None or s.rolling.busy or s.judging.busy or s.rolling.complaint or not s.rolling.resting:
        return None
    if s.config.workers.memory or s.pool.vacancies() or len(s.pool.hands()) != s.pool.wanted:
        return None
    if any(e.state not in _SETTLED for e in entries):
        return None
    if any(p.loading or p.draining or not p.on(serving.version, serving.artifact) for p in peers):
        return None
    if sum(not p.attached for p in peers) != s.pool.wanted:
        return None
    accepted = (e.artifact for e in entries if e.state is State.ACCEPTED)
    models = s.config.models
    return Rest(models.root, models.link, sight, frozenset(e.name for e in entries), frozenset(accepted))
