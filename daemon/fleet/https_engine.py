"""A record behind an https address: any web server or object store. There is no feedback, and waves open by time.

One request at a time, on a thread; no redirect is followed, so that a token goes nowhere else. The record and the files
are checked by others: a server proves nothing.
"""

from __future__ import annotations

import asyncio
import http.client
import re
import ssl
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Final
from urllib.parse import quote, urljoin, urlsplit

from ..system.safe_read import open_regular
from .engine import CALL_SECONDS, CHUNK_BYTES, EngineAway, NotOffered
from .signature import MAX_SIGNED_BYTES

MAX_TOKEN_BYTES: Final = 8 << 10
_ADDRESS: Final = "%/:[]!$&'()*+,;=@~"
"""What stays as it is in an address; all other signs outside ASCII's letters are encoded."""
_RANGE: Final = re.compile(r"bytes (\d{1,18})-\d{1,18}/(?:\d{1,18}|\*)", re.ASCII)


class HttpsEngine:
    """See the module. `token_file` holds a bearer token, `ca_file` certificates that are trusted besides the system's;
    "" for none. Both are read for each request: they may be replaced."""

    def __init__(self, url: str, *, token_file: str = "", ca_file: str = "") -> None:
        self._url, self._token_file, self._ca_file = url, token_file, ca_file

    async def record(self) -> bytes:
        """See `engine.RecordEngine`."""
        found = b""
        async with aclosing(self._chunks(self._url, 0)) as chunks:
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
        async with aclosing(self._chunks(f"{base.rstrip('/')}/{quote(name)}", offset)) as chunks:
            async for data in chunks:
                yield data

    async def close(self) -> None:
        """Each request has a connection of its own."""

    async def _chunks(self, url: str, offset: int) -> AsyncGenerator[bytes, None]:
        connection = response = None
        try:
            connection = await asyncio.to_thread(self._connection, url)
            response = await asyncio.to_thread(self._request, connection, url, offset)
            if not _usable(response, url, offset):
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
            because = getattr(e, "strerror", None) or type(e).__name__
            raise EngineAway(f"no answer from {_shown(url)}: {because}") from e
        finally:
            for each in (response, connection):
                if each is not None:
                    each.close()

    def _connection(self, url: str) -> http.client.HTTPSConnection:
        parts, context = urlsplit(url), ssl.create_default_context()
        if self._ca_file:
            context.load_verify_locations(self._ca_file)
        return http.client.HTTPSConnection(parts.hostname or "", parts.port, timeout=CALL_SECONDS, context=context)

    def _request(self, connection: http.client.HTTPSConnection, url: str, offset: int) -> http.client.HTTPResponse:
        """The answer. A token is sent to the host of the record alone."""
        headers = {"User-Agent": "modelward", "Accept-Encoding": "identity"}
        if offset:
            headers["Range"] = f"bytes={offset}-"
        if self._token_file and urlsplit(url).netloc == urlsplit(self._url).netloc:
            with open_regular(Path(self._token_file)) as file:
                headers["Authorization"] = f"Bearer {file.read(MAX_TOKEN_BYTES).decode('ascii').strip()}"
        connection.request("GET", urlsplit(url).path or "/", headers=headers)
        return connection.getresponse()


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


def _shown(url: str) -> str:
    return url[:200]
