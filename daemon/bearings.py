"""The snapshot that `choose.wish` decides on, read off the last look, the catalog and the position.

Decides nothing and asks the disk nothing: that the copy of what served last is whole is what the last look found.
Remembers one thing: since when the link names nothing that is there.
"""

from __future__ import annotations

from collections.abc import Collection

from .clock import Clock
from .judging import Judging
from .models.choose import Asked, Facts, Named, Standing
from .models.sight import Missing, Names, RootSeen
from .position import Position


class Bearings:
    """See the module."""

    def __init__(self, judging: Judging, clock: Clock) -> None:
        self._judging, self._clock = judging, clock
        self.link_bad_since: float | None = None

    def take(self, position: Position, held: Collection[str], asked: Asked | None) -> Facts:
        """What there is at this moment, `asked` for by command or not."""
        sight, good = self._judging.sight, position.usable_good(self._judging.is_lost)
        seen = isinstance(sight, RootSeen)
        return Facts(
            link=sight.link if isinstance(sight, RootSeen) else Missing(),
            versions=tuple(self._standing(e.name, held) for e in self._judging.catalog.entries()),
            committed=position.committed,
            serving=position.word,
            last_good=Named(good.version, good.digest) if good else None,
            previous=position.previous,
            link_bad_seconds=self._link_bad(),
            asked=asked,
            root_absent="" if seen else getattr(sight, "because", ""),
        )

    def _standing(self, name: str, held: Collection[str]) -> Standing:
        entry = self._judging.catalog.get(name)
        assert entry is not None
        because = entry.verdict.because if entry.verdict else entry.waiting
        return Standing(name, entry.state, entry.digest, name in held, entry.arrived, because)

    def _link_bad(self) -> float:
        sight, now = self._judging.sight, self._clock.monotonic()
        if not isinstance(sight, RootSeen) or isinstance(sight.link, Names):
            self.link_bad_since = None
            return 0.0
        self.link_bad_since = now if self.link_bad_since is None else self.link_bad_since
        return now - self.link_bad_since
