"""Collects the facts for `activation_policy.decide`: from the last scan, the catalog and the position.

It decides nothing and reads no disk: the last scan found whether the copy of what served last is whole. It remembers
one thing: since when the link has named no version that exists.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

from ..models.activation_policy import (
    ActivationFacts,
    ActivationRequest,
    Named,
    Standing,
)
from ..models.catalog import CatalogEntry
from ..models.snapshot import (
    Missing,
    Names,
    RootSeen,
    Sight,
)
from ..system.clock import Clock
from .serving_state import Position


class FactsReader:
    """See the module. `is_lost` returns whether the last scan found a copy gone or damaged."""

    def __init__(self, clock: Clock, is_lost: Callable[[str], bool]) -> None:
        self._clock, self._is_lost = clock, is_lost
        self.link_bad_since: float | None = None

    def take(
        self,
        sight: Sight,
        entries: Iterable[CatalogEntry],
        position: Position,
        held: Collection[str],
        asked: ActivationRequest | None,
    ) -> ActivationFacts:
        """The facts at this moment; `asked` is the command, if there is one."""
        good = position.usable_good(self._is_lost)
        return ActivationFacts(
            link=sight.link if isinstance(sight, RootSeen) else Missing(),
            versions=tuple(standing(entry, held) for entry in entries),
            committed=position.committed,
            serving=position.word,
            last_good=Named(good.version, good.digest) if good else None,
            previous=position.previous,
            link_bad_seconds=self._link_bad(sight),
            asked=asked,
            root_absent="" if isinstance(sight, RootSeen) else sight.because,
            link_fixed=sight.linked.fixed if isinstance(sight, RootSeen) else "",
            itself=sight.itself if isinstance(sight, RootSeen) else "",
        )

    def _link_bad(self, sight: Sight) -> float:
        now = self._clock.monotonic()
        if not isinstance(sight, RootSeen) or isinstance(sight.link, Names):
            self.link_bad_since = None
            return 0.0
        self.link_bad_since = now if self.link_bad_since is None else self.link_bad_since
        return now - self.link_bad_since


def standing(entry: CatalogEntry, held: Collection[str]) -> Standing:
    """A version as `activation_policy` sees it."""
    because = entry.verdict.because if entry.verdict else entry.waiting
    return Standing(entry.name, entry.state, entry.digest, entry.name in held, entry.arrived, because)
