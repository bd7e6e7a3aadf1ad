"""The parts that a request needs, handed to the routes as one value.

It makes no decision of its own. While a worker runs, only the settings change, and all of them at once.
"""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from ..inference.admission import Work
from ..inference.engine import Engine
from ..jobs.access import JobAccess
from ..protocol import WorkerSettings
from ..scheduling.refusal import Refusing
from ..shared.logs import LogFiles
from ..stats import Counters
from .auth import TokenCheck
from .unread_answers import Answers
from .upload_limits import Uploads


class Service(Struct):
    """`draining`: this worker takes no new connections. `leaving`: it asks its clients to connect elsewhere, because it
    drains, or will soon.

    `jobs` is None where no directory for jobs was given.
    """

    settings: WorkerSettings
    engine: Engine
    work: Work
    counters: Counters
    logs: LogFiles
    gate: TokenCheck
    draining: Callable[[], bool]
    leaving: Callable[[], bool]
    uploads: Uploads
    answers: Answers
    refusing: Refusing
    jobs: JobAccess | None = None
