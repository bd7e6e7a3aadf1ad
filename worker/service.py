"""The parts that a request needs, handed to the routes as one value.

Holds no decision of its own. Only the settings change while a worker runs, and all of them at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .answers import Answers
from .counters import Counters
from .engine import Engine
from .http.auth import Gate
from .logs import Logs
from .protocol import WorkerSettings
from .refusing import Refusing
from .uploads import Uploads
from .work import Work


@dataclass
class Service:
    """`draining`: this worker takes no new connections and asks its clients to go elsewhere."""

    settings: WorkerSettings
    engine: Engine
    work: Work
    counters: Counters
    logs: Logs
    gate: Gate
    draining: Callable[[], bool]
    uploads: Uploads
    answers: Answers
    refusing: Refusing
