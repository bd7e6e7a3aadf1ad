"""The engine that a configuration names. What an engine needs is imported here, where it is used."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from ..config.fleet_checks import is_nats
from ..errors import Refused
from ..system.clock import Clock
from .engine import FeedbackEngine, RecordEngine
from .file_engine import FileEngine
from .https_engine import HttpsEngine

INSTALL = "it needs nats-py: pip install 'modelward[fleet]'"


def engine(url: str, *, name: str, credentials: str, ca_file: str, clock: Clock) -> RecordEngine:
    """What leads to a checked `fleet.url`. Raises Refused."""
    if is_nats(url):
        return nats_engine(url, name=name, credentials=credentials, ca_file=ca_file, clock=clock)
    if url.startswith("file:"):
        return FileEngine(Path(unquote(urlsplit(url).path)))
    return HttpsEngine(url, token_file=credentials, ca_file=ca_file, clock=clock)


def nats_engine(url: str, *, name: str, credentials: str, ca_file: str, clock: Clock) -> FeedbackEngine:
    """The one of a NATS server. Raises Refused where its client is not installed."""
    try:
        from .nats_connection import NatsAccess
        from .nats_engine import NatsEngine
    except ImportError as e:
        raise Refused(f"cannot use {url}: {INSTALL}") from e
    return NatsEngine(NatsAccess(tuple(url.split(",")), name, credentials, ca_file), clock)


def web_engine(found: RecordEngine, ca_file: str, clock: Clock) -> RecordEngine:
    """What fetches the https sources of a record that came through `found`. It sends no token elsewhere."""
    return found if isinstance(found, HttpsEngine) else HttpsEngine("", ca_file=ca_file, clock=clock)


def with_feedback(found: RecordEngine) -> FeedbackEngine | None:
    """The same engine, where it takes reports."""
    return found if hasattr(found, "put_report") else None  # type: ignore[return-value]  # as its Protocol has it
