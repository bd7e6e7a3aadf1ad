"""How an alert ended when its figure is not reported any more. Pure: a snapshot in, a clause out."""

from __future__ import annotations

from typing import Final

from ..models.lifecycle import VersionState
from .snapshot import Snapshot

_PLAIN: Final = {
    "root_absent": "it can be read again",
    "watch_lost": "it is watched again",
    "config_refused": "the configuration on the disk is in force",
    "misplaced_link": "the link is gone",
    "state_in_memory": "it is written to the disk again",
    "sweep_shortfall": "the last sweep could do all its work",
    "controller_failed": "it works again",
    "tokens_unusable": "tokens can be used again",
    "mount_stuck": "it answers again, or nothing of ours is on it any more",
}


def ending(seen: Snapshot, metric: str, subject: str) -> str:
    """What is true now, as the clause for an alert on this figure that ends; "" when nothing is known of it."""
    if metric in ("version_rejected", "version_unjudged", "version_unchosen"):
        return _version(seen, metric, subject)
    if metric == "rollout_failed":
        last = seen.activation.last
        succeeded = last is not None and last.succeeded and last.target.version == subject
        return "a later one succeeded" if succeeded else "another rollout followed, or a day has passed"
    if metric == "needs_operator":
        return _still(seen) if not seen.activation.complaint else ""
    if metric == "worker_refusing":
        here = any(peer.name == subject for peer in seen.workers.peers)
        return "it answers again" if here else "the worker is gone"
    return _PLAIN.get(metric, "")


def _version(seen: Snapshot, metric: str, name: str) -> str:
    entry = seen.versions.get(name)
    if entry is None:
        return "its directory is gone"
    if entry.state is VersionState.REJECTED:
        return _rejected(seen, metric, name)
    if entry.state is not VersionState.ACCEPTED:
        return "its files changed, and it is judged again"
    word = seen.activation.position.word
    accepted = "it was accepted" if metric != "version_unchosen" else ""
    if word is not None and word.name == name:
        return f"{accepted} and is live" if accepted else "it is live"
    if accepted:
        return accepted
    return "it is held" if name in seen.activation.held else "its name is compared with another live version now"


def _rejected(seen: Snapshot, metric: str, name: str) -> str:
    last = seen.activation.last
    if metric == "version_unjudged":
        return "it was judged, and rejected"
    if last is not None and not last.succeeded and last.target.version == name:
        return "an alert of its own reports that its rollout failed"
    return "it is held" if name in seen.activation.held else "it is not newer than the live one, and this is no news"


def _still(seen: Snapshot) -> str:
    word = seen.activation.position.word
    return f"{word.name} is live" if word else "nothing is in the way any more"
