"""Follows the daemon's events on an event loop, for a command that does other things meanwhile.

It asks again when the stream breaks, until it is cancelled. It reads nothing that has no bound, and decides nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from .client import MAX_EVENT_LINE_BYTES, parse_events

AGAIN_SECONDS: Final = 0.05
# HTTP/1.0: the answer comes without chunks, and ends with the connection.
_REQUEST: Final = b"GET /v1/events HTTP/1.0\r\nHost: modelward\r\nAccept: text/event-stream\r\n\r\n"


async def followed_events(socket: Path) -> AsyncIterator[dict[str, Any]]:
    """Every event as it comes, without end."""
    while True:
        with suppress(OSError, ValueError):  # no program listens yet, or a line beyond the limit
            reader, writer = await asyncio.open_unix_connection(str(socket), limit=MAX_EVENT_LINE_BYTES)
            try:
                writer.write(_REQUEST)
                lines = list[bytes]()
                while line := await reader.readline():
                    lines.append(line)
                    if not line.strip() or len(lines) > 100:
                        for event in parse_events(iter(lines)):
                            yield event
                        lines.clear()
            finally:
                writer.close()
        await asyncio.sleep(AGAIN_SECONDS)
