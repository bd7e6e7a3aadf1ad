"""Sends requests to the daemon over its admin socket for a client. Without a daemon there is no answer.

It decides nothing. It bounds how many clients may wait for the daemon, how long, and the size of the answer. Invariant:
a client that left takes no place.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import httptools
from msgspec import Struct
from starlette.requests import Request

from ..shared.started import awaited
from .errors import ApiError
from .middleware import Gone, client_gone

ANSWER_BYTES: Final = 4 << 20
CONNECT_SECONDS: Final = 5.0
DECIDED_SECONDS: Final = 600.0  # a decision includes validation and the rollout
AT_ONCE: Final = 8


class DaemonUnreachable(Exception):
    """No daemon answers; the text gives the reason."""


class Reply(Struct, frozen=True):
    """The daemon's answer."""

    status: int
    body: bytes


class DaemonApi:
    """The daemon behind `api_socket`. `running` holds requests that a leaving worker ends, so that clients get an
    answer.
    """

    def __init__(self, api_socket: str, running: set[asyncio.Task[Any]]) -> None:
        self._api_socket, self._running = api_socket, running
        self._waiting = 0

    async def request(
        self, request: Request, method: str, path: str, body: bytes = b"", *, seconds: float = DECIDED_SECONDS
    ) -> Reply:
        """The daemon's answer for the client of `request`.

        Raises DaemonUnreachable when none comes within `seconds`, Gone when the client leaves first. Raises ApiError
        503 when too many requests wait, or when this worker leaves before the daemon decided.
        """
        with self._place():
            task, gone = awaited(self._ask(method, path, body, seconds)), awaited(client_gone(request))
            self._running.add(task)
            try:
                await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                self._running.discard(task)
                left = not task.done()
                gone.cancel()
                task.cancel()
                await asyncio.wait({task, gone})
            if left:
                raise Gone
            if task.cancelled():
                raise ApiError(503, "cannot wait for the daemon: the worker is leaving; ask again", "draining")
            return task.result()

    async def _ask(self, method: str, path: str, body: bytes, seconds: float) -> Reply:
        reader, writer = await self._connect()
        try:
            async with asyncio.timeout(seconds):
                head = f"{method} {path} HTTP/1.1\r\nHost: modelward\r\nContent-Length: {len(body)}\r\n"
                kind = "Content-Type: application/json\r\n" if body else ""
                writer.write(f"{head}{kind}Connection: close\r\n\r\n".encode("ascii") + body)
                return await _read_answer(reader)
        except TimeoutError:
            raise DaemonUnreachable(f"it did not decide within {seconds:g} s") from None
        except (OSError, httptools.HttpParserError) as e:
            raise DaemonUnreachable(f"its answer can't be read ({e})") from e
        finally:
            writer.close()

    @contextmanager
    def _place(self) -> Iterator[None]:
        if self._waiting >= AT_ONCE:
            raise ApiError(503, f"cannot ask the daemon: {AT_ONCE} are waiting for its decision already", "busy")
        self._waiting += 1
        try:
            yield
        finally:
            self._waiting -= 1

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                return await asyncio.open_unix_connection(self._api_socket)
        except TimeoutError:
            raise DaemonUnreachable(f"{self._api_socket}: no connection within {CONNECT_SECONDS:g} s") from None
        except OSError as e:
            raise DaemonUnreachable(f"{self._api_socket}: {e.strerror or e}") from e


async def _read_answer(reader: asyncio.StreamReader) -> Reply:
    answer = _HttpAnswer()
    parser = httptools.HttpResponseParser(answer)
    while not answer.complete:
        data = await reader.read(65536)
        if not data:
            break
        parser.feed_data(data)
        if len(answer.body) > ANSWER_BYTES:
            raise OSError(f"longer than {ANSWER_BYTES} bytes")
    if not answer.complete:
        raise OSError("it ends early")
    status = parser.get_status_code()
    if not 100 <= status <= 999:  # the parser accepts any number; no server sends this one on
        raise OSError(f"its status is {status}")
    return Reply(status, bytes(answer.body))


class _HttpAnswer:
    """Called by the parser."""

    def __init__(self) -> None:
        self.body = bytearray()
        self.complete = False

    def on_body(self, data: bytes) -> None:
        self.body += data

    def on_message_complete(self) -> None:
        self.complete = True
