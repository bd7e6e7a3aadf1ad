"""Decides whether the daemon counts as ready, and whether a version or worker will serve soon. Pure."""

from __future__ import annotations

from typing import Final

from ..models.lifecycle import VersionState
from .snapshot import Snapshot

FIRST_LOOK_SECONDS: Final = 10.0
"""How long after `models.settle` a version that was there at the start may still be on its way to its verdict."""


def is_busy(seen: Snapshot, *, began: float) -> bool:
    """Whether a version or a worker will serve soon. `began` is when the daemon started, monotonic seconds."""
    loading = any(peer.loading for peer in seen.workers.peers)
    return seen.versions.busy or seen.activation.busy or loading or _undecided(seen, began)


def may_answer(seen: Snapshot, *, busy: bool) -> bool:
    """Whether workers answer, or are there with nothing to serve."""
    return bool(seen.workers.ready) or (bool(seen.workers.peers) and not busy)


def _undecided(seen: Snapshot, began: float) -> bool:
    """A version that was there at the start waits for its verdict, and its time is not over."""
    if seen.now - began > seen.config.models.settle + FIRST_LOOK_SECONDS:
        return False
    return any(entry.state in (VersionState.SEEN, VersionState.SETTLING) for entry in seen.versions.entries)
