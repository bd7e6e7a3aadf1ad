"""Sends the daemon's log lines to the same files as the workers', by the same writer.

`worker.logs` is the one module besides the protocol that both programs use: lines of several processes in one file stay
whole only if all of them write the same way.
"""

from __future__ import annotations

import sys
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

import structlog

from ..worker.logs import Logs


def open_logs(directory: Path, level: str) -> Logs:
    """The log files; structlog's loggers write to them from now on.

    While there is no directory, events go to standard error; the files are made as soon as there is one.
    """
    try:
        directory.mkdir(mode=0o750, parents=True, exist_ok=True)
    except OSError as e:
        sys.stderr.write(f"cannot log in {directory}: {e.strerror}; events go to standard error until it can be used\n")
    logs = Logs(str(directory), worker="daemon", level=level)
    logs.adopt_logging()

    def forward(part: Any, method: str, fields: MutableMapping[str, Any]) -> Any:
        getattr(logs.events, "error" if method == "exception" else method)(fields.pop("event"), part=part, **fields)
        raise structlog.DropEvent

    structlog.configure(
        processors=[structlog.processors.format_exc_info, forward],
        wrapper_class=structlog.make_filtering_bound_logger(0),
        logger_factory=lambda *names: names[0] if names else "",
        cache_logger_on_first_use=False,
    )
    return logs
