"""Decides which workers have to be replaced although they work, and why. Pure.

Workers of other programs are never replaced.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping

from msgspec import Struct, field

from ...worker.settings import Terms
from ..units import size
from .peer import WorkerPeer
from .settings_diff import unlike

MEMORY_REST_SECONDS = 60.0
LOST_SECONDS = 10.0
"""A worker of a former daemon that has not joined by then hangs, or has another protocol."""


class Places(Struct, frozen=True):
    """The identity of each directory that workers use, at the time `looked`: see worker.places."""

    now: Mapping[str, str] = field(default_factory=dict)
    looked: float = 0.0


def outdated(
    peers: Iterable[WorkerPeer],
    *,
    most_bytes: int,
    release: str,
    now: float,
    started: Container[str] = (),
    terms: Terms | None = None,
    places: Places = Places(),  # noqa: B008 - frozen
) -> Iterator[tuple[str, str]]:
    """Name and reason of each worker of ours that has to be replaced.

    It uses more than `most_bytes` (0: no limit), runs another release, or is stuck. Or it runs with other settings than
    `terms` and cannot take them up (None: any will do). Or it is confined to other directories than those that exist
    now. For a worker `started` by this very daemon the release does not count: it runs what is installed now, and so
    would its successor. Memory counts from MEMORY_REST_SECONDS after the worker joined, so that a large model causes no
    endless loop.
    """
    for peer in peers:
        if peer.attached:
            continue
        if most_bytes and now - peer.joined > MEMORY_REST_SECONDS and peer.beat.rss_bytes > most_bytes:
            yield peer.name, f"{size(peer.beat.rss_bytes)} used, at most {size(most_bytes)}"
        if peer.beat.stuck:
            yield peer.name, f"{peer.beat.stuck} of its jobs do not end"
        if peer.release != release and peer.name not in started:
            yield peer.name, f"it runs modelward {peer.release or 'of old'}, the daemon {release}"
        elif _says(peer, started) and terms is not None and (because := unlike(peer, terms, now)):
            yield peer.name, because
        if peer.joined < places.looked and (because := _confined_elsewhere(peer.places, places.now)):
            yield peer.name, because


def _confined_elsewhere(then: Mapping[str, str], now: Mapping[str, str]) -> str:
    """Why a worker that is confined to the directories `then` cannot use those that exist now.

    "" when it can, or when it is not confined. A directory that is missing now may come back and is no reason.
    """
    if not then:
        return ""
    for path, what in now.items():
        if path not in then:
            return f"it is confined to other directories than {path}"
        if what and then[path] != what:
            return f"{path} was made anew, and it is confined to the directory that was there before"
    return ""


def _says(peer: WorkerPeer, started: Container[str]) -> bool:
    """Whether its settings can be judged. If a worker that was started here reports none, no successor would."""
    return peer.terms is not None or peer.name not in started


def lost(awaited: Iterable[str], peers: Iterable[WorkerPeer]) -> Iterator[tuple[str, str]]:
    """The same for those of a former daemon that have not joined; to be called once, after LOST_SECONDS."""
    here = {peer.name for peer in peers}
    for name in awaited:
        if name not in here:
            yield name, f"it did not come back in {LOST_SECONDS:g} s"
