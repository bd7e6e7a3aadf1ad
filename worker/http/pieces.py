"""Sends a large answer in pieces: other tasks run between two, and no piece is copied before it is sent.

It must not make the answer. Invariant: the output is the input, in its order.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

PIECE_BYTES: Final = 256 << 10


def answer(parts: Sequence[bytes | memoryview], headers: Mapping[str, str], media_type: str) -> Response:
    """The parts as one body; in pieces when it is large."""
    if sum(len(part) for part in parts) <= PIECE_BYTES:
        return Response(b"".join(parts), 200, dict(headers), media_type)
    return Pieces(parts, headers, media_type)


class Pieces(Response):
    """The parts one after the other, as one body of known length."""

    def __init__(self, parts: Sequence[bytes | memoryview], headers: Mapping[str, str], media_type: str) -> None:
        length = sum(len(part) for part in parts)
        super().__init__(b"", 200, {**headers, "content-length": str(length)}, media_type)
        self._parts = parts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends it; `send` waits when the client does not read."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        for piece in pieces(self._parts):
            await send({"type": "http.response.body", "body": piece, "more_body": True})
            await asyncio.sleep(0)
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def pieces(parts: Sequence[bytes | memoryview]) -> Iterator[memoryview]:
    """The parts cut into pieces of at most PIECE_BYTES."""
    for part in parts:
        whole = memoryview(part)
        for start in range(0, len(whole), PIECE_BYTES):
            yield whole[start : start + PIECE_BYTES]
