"""Decides which workers run with other settings than the configuration has, and by which keys. Pure.

A key that a running worker takes up is sent to it and confirmed. For every other key the worker is replaced. Invariant:
each field of Terms has its key, so that a difference is named as the operator wrote it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from ...worker.settings import (
    FIXED,
    LIVE,
    Terms,
    differing,
)
from ..answers.status import PendingKey
from .peer import WorkerPeer

CONFIRM_SECONDS: Final = 10.0
"""A worker that has not confirmed its settings by then is replaced."""
KEYS: Final = {
    "listen": "workers.listen",
    "kind": "models.kind",
    "threads": "workers.threads",
    "providers": "workers.providers",
    "queue": "workers.queue",
    "max_upload_bytes": "workers.max_upload",
    "min_upload_rate": "workers.min_upload_rate",
    "max_audio_seconds": "workers.max_audio",
    "speech_trim": "speech.trim",
    "request_timeout_seconds": "workers.request_timeout",
    "drain_seconds": "workers.drain",
    "token_file": "workers.token_file",
    "model_aliases": "workers.model_aliases",
    "cors_origins": "workers.cors_origins",
    "base_path": "workers.base_path",
    "trusted_proxies": "workers.trusted_proxies",
    "log_dir": "logs.dir",
    "log_level": "logs.level",
    "confine": "workers.confine",
    "jobs_keep_seconds": "jobs.keep",
    "jobs_max_jobs": "jobs.max_jobs",
    "jobs_max_bytes": "jobs.max_bytes",
    "jobs_callbacks": "jobs.callbacks",
    "min_free": "disk.min_free",
}


class Running(NamedTuple):
    """One worker of ours and the settings that it runs with; None when they are not known."""

    name: str
    terms: Terms | None


def keys(names: Iterable[str]) -> str:
    """The keys of these fields, for people."""
    return ", ".join(KEYS[name] for name in names)


def unlike(peer: WorkerPeer, wanted: Terms, now: float) -> str:
    """Why this worker of ours has to be replaced for its settings; "" when it need not, or may still confirm them."""
    if peer.terms is None:
        return "it does not report its settings"
    if fixed := differing(peer.terms, wanted, FIXED):
        return f"it runs with the former {keys(fixed)}"
    live = differing(peer.terms, wanted, LIVE)
    if live and peer.asked == wanted and now - peer.asked_at > CONFIRM_SECONDS:
        return f"it did not take up {keys(live)} in {CONFIRM_SECONDS:g} s"
    return ""


def unconfirmed(workers: Iterable[Running], wanted: Terms) -> Iterator[str]:
    """The workers that may still answer with a former value of a key that running workers take up."""
    for worker in workers:
        if worker.terms is None or differing(worker.terms, wanted, LIVE):
            yield worker.name


def pending(workers: Iterable[Running], wanted: Terms) -> list[PendingKey]:
    """Each key that does not hold in every worker yet: which workers, and a sentence. In the order of Terms.

    Workers with unknown settings count for no key, but have an entry of their own.
    """
    them = list(workers)
    found = []
    for name, key in KEYS.items():
        late = [w.name for w in them if w.terms is not None and getattr(w.terms, name) != getattr(wanted, name)]
        if late:
            what = "being replaced" if name in FIXED else "replaced where it is not confirmed soon"
            found.append(_entry(key, late, len(them), f"with the former {key}; {what}"))
    if unknown := [w.name for w in them if w.terms is None]:
        found.append(_entry("", unknown, len(them), "with settings that are not known yet"))
    return found


def _entry(key: str, late: list[str], total: int, what: str) -> PendingKey:
    run = "runs" if total == 1 else "run" if len(late) > 1 else "runs"
    message = f"{len(late)} of {total} worker{'s' * (total > 1)} still {run} {what}"
    return PendingKey(key, "workers", late, total, message)
