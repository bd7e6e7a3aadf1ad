"""Gives whole logs out, archives included, one at a time and at most RATE_BYTES a second.

All reading is on upkeep's thread for that. Invariants: memory holds one piece; the place is free again when a download
is over, however it ended, and after MOST_SECONDS at the latest.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from functools import partial
from typing import Final
from urllib.parse import quote

from starlette.responses import Response

from ..answers.logs import LogFilesAnswer
from ..api.streams import HeldStream
from ..errors import Refused
from ..system.clock import Clock, rfc3339
from ..upkeep.logs.whole_log import WholeLog
from ..upkeep.service import Upkeep

RATE_BYTES: Final = 32 << 20
MOST_SECONDS: Final = 3600.0
TEXT: Final = "text/plain; charset=utf-8"


class LogDownloads:
    """See the module."""

    def __init__(self, upkeep: Upkeep, clock: Clock) -> None:
        self._upkeep, self._clock, self._busy = upkeep, clock, False

    async def files(self, name: str) -> LogFilesAnswer:
        """What a download of this log has. Raises NotKnown."""
        found = await self._upkeep.reading(partial(self._upkeep.files_of, name))
        dated = _dated(found.name, rfc3339(self._clock.wall())[:10])
        return LogFilesAnswer(found.name, found.path, found.archives, found.bytes, dated, self._busy)

    async def begin(self, name: str, *, head_only: bool) -> Response:
        """The answer with all lines. Raises NotKnown, Refused."""
        found = await self.files(name)
        headers = {"Content-Disposition": "; ".join(("attachment", f"filename*=UTF-8''{quote(found.file)}"))}
        if head_only:
            return Response(headers=headers, media_type=TEXT)
        if self._busy:
            raise Refused(f"cannot send {found.name}: another log is being downloaded; try again when it is over")
        self._busy = True
        try:
            log = await self._upkeep.reading(partial(WholeLog, found.path))
        except OSError as e:
            self._busy = False
            raise Refused(f"cannot read {found.path}: {e.strerror}; nothing is sent") from e
        except BaseException:
            self._busy = False
            raise
        return HeldStream(
            self._pieces(log), partial(self._over, log), media_type=TEXT, headers=headers, seconds=MOST_SECONDS
        )

    async def _pieces(self, log: WholeLog) -> AsyncIterator[bytes]:
        loop = asyncio.get_running_loop()
        began, sent = loop.time(), 0
        while piece := await self._upkeep.reading(log.piece):
            yield piece
            sent += len(piece)
            await asyncio.sleep(max(0.0, sent / RATE_BYTES - (loop.time() - began)))

    def _over(self, log: WholeLog) -> None:
        self._busy = False
        with suppress(RuntimeError):  # the thread has ended with the daemon
            self._upkeep.read_later(log.close)


def _dated(name: str, day: str) -> str:
    """The name of the file that a browser saves: access.log of a day is access-2026-12-01.log."""
    stem, dot, ending = name.rpartition(".")
    return f"{stem}-{day}.{ending}" if dot and stem else f"{name}-{day}.log"
