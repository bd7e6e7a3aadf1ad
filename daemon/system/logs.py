"""Sends the daemon's log lines to the same files as the workers', by the same code, `worker.shared.logs`.

Lines of several processes in one file stay whole only if all of them write in the same way. It must not wait for a disk
on the event loop: see `worker.shared.log_writer`.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import MutableMapping
from functools import partial
from pathlib import Path
from typing import Any, Final

import structlog

from ...worker.settings import STANDARD_OUTPUT
from ...worker.shared.logs import STUCK_SECONDS, LogFiles

ANSWER_SECONDS: Final = STUCK_SECONDS + 1.0


def open_logs(directory: Path | None, level: str) -> LogFiles:
    """The log files; structlog's loggers write to them from now on. `directory` None: lines on standard output.

    While there is no directory, events go to standard error; the files are created as soon as there is one.
    """
    first = partial(_make, directory) if directory is not None else lambda: None
    place = STANDARD_OUTPUT if directory is None else str(directory)
    logs = LogFiles(place, worker="daemon", level=level, background=True, first=first)
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


def _make(directory: Path) -> None:
    try:
        directory.mkdir(mode=0o750, parents=True, exist_ok=True)
    except OSError as e:
        sys.stderr.write(f"cannot log in {directory}: {e.strerror}; events go to standard error until it can be used\n")


async def followed(logs: LogFiles) -> list[str]:
    """Reopens each file that another program deleted or renamed. Returns a sentence for each that cannot be written
    now.

    Takes at most ANSWER_SECONDS, also where the disk does not answer.
    """
    loop = asyncio.get_running_loop()
    coming: asyncio.Future[list[str]] = loop.create_future()

    def answer(trouble: list[str]) -> None:
        if not coming.done():
            coming.set_result(trouble)

    logs.follow(lambda trouble: loop.call_soon_threadsafe(answer, trouble))
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            return await coming
    except TimeoutError:
        return [sentence] if (sentence := logs.stuck()) else []
