"""`POST /api/reload-model`: asks the daemon to look at the model root again and answers with what it decided.

Decides nothing: the daemon does. With no daemon there is nobody to ask; what is served stays.
"""

from __future__ import annotations

import asyncio
from typing import Final

import httptools
import msgspec
from starlette.requests import Request
from starlette.responses import Response

from ..service import Service
from .errors import ApiError
from .json import as_json

ANSWER_BYTES: Final = 256 * 1024
CONNECT_SECONDS: Final = 5.0
DECIDED_SECONDS: Final = 600.0  # a look includes validation and the rollout
AT_ONCE: Final = 8
RESCAN: Final = b"POST /v1/rescan?wait=1 HTTP/1.1\r\nHost: modelward\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class Decision(msgspec.Struct):
    """The daemon's answer."""

    success: bool
    message: str = ""


class Unreachable(Exception):
    """No daemon answers; the text says why."""


class Reload:
    """The route, with a bound on how many clients may wait for a decision."""

    def __init__(self) -> None:
        self._waiting = 0

    async def __call__(self, request: Request) -> Response:
        """200 with the daemon's decision, good or bad; 503 when no daemon could be asked."""
        service: Service = request.app.state.service
        client = request.client.host if request.client else ""
        service.gate.check_change(client, request.headers)
        if self._waiting >= AT_ONCE:
            raise ApiError(503, f"cannot ask the daemon: {AT_ONCE} are waiting for its decision already", "busy")
        self._waiting += 1
        try:
            decision = await ask_daemon(service.settings.api_socket, DECIDED_SECONDS)
        except Unreachable as e:
            serving = service.engine.current.version if service.engine.current else "nothing"
            message = f"cannot ask the daemon to look: {e}; still serving {serving}"
            return as_json(Decision(False, message), 503, {"retry-after": "1"})
        finally:
            self._waiting -= 1
        return as_json(decision)


async def ask_daemon(api_socket: str, seconds: float) -> Decision:
    """The daemon's decision after another look. Raises Unreachable when it gives none within `seconds`."""
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            reader, writer = await asyncio.open_unix_connection(api_socket)
    except TimeoutError:
        raise Unreachable(f"{api_socket}: no connection within {CONNECT_SECONDS:g} s") from None
    except OSError as e:
        raise Unreachable(f"{api_socket}: {e.strerror or e}") from e
    try:
        async with asyncio.timeout(seconds):
            writer.write(RESCAN)
            answer = await _read_answer(reader)
        return msgspec.json.decode(answer, type=Decision)
    except TimeoutError:
        raise Unreachable(f"it did not decide within {seconds:g} s") from None
    except (OSError, httptools.HttpParserError, msgspec.DecodeError, UnicodeDecodeError) as e:
        raise Unreachable(f"its answer can't be read ({e})") from e
    finally:
        writer.close()


async def _read_answer(reader: asyncio.StreamReader) -> bytes:
    answer = _Answer()
    parser = httptools.HttpResponseParser(answer)
    while not answer.complete:
        data = await reader.read(65536)
        if not data:
            break
        parser.feed_data(data)
        if len(answer.body) > ANSWER_BYTES:
            raise OSError(f"longer than {ANSWER_BYTES} bytes")
    return bytes(answer.body)


class _Answer:
    """What the parser calls."""

    def __init__(self) -> None:
        self.body = bytearray()
        self.complete = False

    def on_body(self, data: bytes) -> None:
        self.body += data

    def on_message_complete(self) -> None:
        self.complete = True
