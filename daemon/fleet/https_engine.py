"""A record behind an https address: any web server or object store. There is no feedback, and waves open by time.

One request at a time, on a thread; no redirect is followed, so that a token goes nowhere else. The record and the files
are checked by others: a server proves nothing. Invariant: a server that hangs or drips ends a call, and a call that is
cancelled leaves no thread that reads on.
"""

from __future__ import annotations

import asyncio
import http.client
import re
import socket
import ssl
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urljoin, urlsplit

from ..system.clock import Clock, SystemClock
from ..system.safe_read import open_regular
from ..system.steady_reads import SlowAnswer, SteadyReads
from ..units import DAY
from .engine import CALL_SECONDS, CHUNK_BYTES, EngineAway, NotOffered
from .signature import MAX_SIGNED_BYTES

MAX_TOKEN_BYTES: Final = 8 << 10
FILE_SECONDS: Final = DAY
"""So long one answer with a file may take; then the rest is requested anew. `steady_reads` has the least rate."""
_ADDRESS: Final = "%/:[]!$&'()*+,;=@~"
"""What stays as it is in an address; all other signs outside ASCII's letters are encoded."""
_RANGE: Final = re.compile(r"bytes (\d{1,18})-\d{1,18}/(?:\d{1,18}|\*)", re.ASCII)


class HttpsEngine:
    """See the module. `token_file` holds a bearer token, `ca_file` certificates that are trusted besides the system's;
    "" for none. Both are read for each request: they may be replaced. A server may be silent for
    `silent_seconds`.
    """

    def __init__(
        self,
        url: str,
        *,
        token_file: str = "",
        ca_file: str = "",
        clock: Clock | None = None,
        silent_seconds: float = CALL_SECONDS,
    ) -> None:
        self._url, self._token_file, self._ca_file = url, token_file, ca_file
        self._clock, self._silent_seconds = clock or SystemClock(), silent_seconds

    async def record(self) -> bytes:
        """See `engine.RecordEngine`."""
        found = b""
        async with aclosing(self._chunks(self._url, 0, CALL_SECONDS)) as chunks:
            async for data in chunks:
                found += data
                if len(found) > MAX_SIGNED_BYTES:
                    break
        return found[: MAX_SIGNED_BYTES + 1]

    async def file(self, source: str, name: str, offset: int) -> AsyncIterator[bytes]:
        """See `engine.RecordEngine`."""
        if source.startswith("object:"):
            raise NotOffered(f"{source} is in an object store, which this address does not lead to")
        base = quote(source, safe=_ADDRESS) if source.startswith("https://") else urljoin(self._url, quote(source))
        async with aclosing(self._chunks(f"{base.rstrip('/')}/{quote(name)}", offset, FILE_SECONDS)) as chunks:
            async for data in chunks:
                yield data

    async def close(self) -> None:
        """Each request has a connection of its own."""

    async def _chunks(self, url: str, offset: int, whole_seconds: float) -> AsyncGenerator[bytes, None]:
        get = _Get(self._clock, self._silent_seconds)
        try:
            await asyncio.to_thread(self._begin, get, url, offset, whole_seconds)
            response = get.response
            if response is None or not _usable(response, url, offset):
                return
            passed = offset if response.status == 200 else 0  # a server without ranges sends it all again
            while data := await asyncio.to_thread(response.read1, CHUNK_BYTES):
                if passed >= len(data):
                    passed -= len(data)
                    continue
                yield data[passed:]
                passed = 0
            if response.length:
                raise EngineAway(f"{_shown(url)} was cut off")
        except ssl.SSLError as e:
            raise EngineAway(f"no trusted connection to {_shown(url)}: {e.reason or type(e).__name__}") from e
        except (OSError, http.client.HTTPException, ValueError) as e:
            raise EngineAway(f"no answer from {_shown(url)}: {_why(e)}") from e
        finally:
            await get.end()

    def _begin(self, get: _Get, url: str, offset: int, whole_seconds: float) -> None:
        """Sends the request and reads the head of the answer. A token is sent to the host of the record alone."""
        parts, context = urlsplit(url), ssl.create_default_context()
        if self._ca_file:
            context.load_verify_locations(self._ca_file)
        headers = {"User-Agent": "modelward", "Accept-Encoding": "identity"}
        if offset:
            headers["Range"] = f"bytes={offset}-"
        if self._token_file and parts.netloc == urlsplit(self._url).netloc:
            with open_regular(Path(self._token_file)) as file:
                headers["Authorization"] = f"Bearer {file.read(MAX_TOKEN_BYTES).decode('ascii').strip()}"
        connection = http.client.HTTPSConnection(
            parts.hostname or "", parts.port, timeout=self._silent_seconds, context=context
        )
        get.ask(connection, parts.path or "/", headers, whole_seconds)


class _Get:
    """One request: its connection, and the answer once its head is there."""

    def __init__(self, clock: Clock, silent_seconds: float) -> None:
        self._clock, self._silent_seconds = clock, silent_seconds
        self._socket: socket.socket | None = None
        self._connection: http.client.HTTPSConnection | None = None
        self.response: http.client.HTTPResponse | None = None
        self._reads: SteadyReads | None = None
        self._over = False

    def ask(
        self, connection: http.client.HTTPSConnection, path: str, headers: dict[str, str], whole_seconds: float
    ) -> None:
        """On a thread. Raises OSError and HTTPException."""
        self._connection = connection
        connection.response_class = self._answer  # type: ignore[assignment]  # it is called, no more
        connection.connect()
        self._socket = connection.sock
        try:
            if self._over:
                return
            connection.request("GET", path, headers=headers)
            self.response = connection.getresponse()
            assert self._reads is not None
            self._reads.allow(whole_seconds)
        finally:
            if self._over:  # it was ended meanwhile, and nobody else closes it
                self._close()

    def _answer(self, connection: socket.socket, **more: Any) -> http.client.HTTPResponse:
        self._reads = SteadyReads(connection, self._clock, self._silent_seconds, CALL_SECONDS)
        return http.client.HTTPResponse(self._reads, **more)  # type: ignore[arg-type]  # it uses `makefile` alone

    async def end(self) -> None:
        """Ends the connection below a thread that may still read, and then closes: `close` waits for such a thread."""
        self._over = True
        with suppress(OSError, AttributeError):
            self._socket.shutdown(socket.SHUT_RDWR)  # type: ignore[union-attr]  # there may be none
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        for each in (self.response, self._reads, self._connection):
            if each is not None:
                with suppress(OSError):
                    each.close()


def _usable(response: http.client.HTTPResponse, url: str, offset: int) -> bool:
    """False where the file ends at `offset`. Raises EngineAway."""
    if response.status == 404:
        raise NotOffered(f"{_shown(url)} is not there")
    if response.status == 416 and offset:
        return False
    ranged = _RANGE.fullmatch(response.getheader("Content-Range", ""))
    if response.status == 206 and offset and ranged is not None and int(ranged[1]) == offset:
        return True
    if response.status != 200:
        raise EngineAway(f"{_shown(url)} answered {response.status}")
    return True


def _why(error: Exception) -> str:
    if isinstance(error, SlowAnswer):
        return str(error)
    return getattr(error, "strerror", None) or type(error).__name__


def _shown(url: str) -> str:
    return url[:200]
