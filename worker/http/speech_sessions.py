"""WebSockets of the clients of FunASR's runtime and of sherpa-onnx: each clip becomes a request like any other.

The first message shows the protocol. A clip passes the check of tokens, the limits of uploads, the queue, the access
log and the counters as a POST does. Its answer or its error has the form of the protocol. It must not hold a clip
itself. Invariants: one clip of a connection at a time; a clip that cannot be answered ends the connection with the
reason.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections import Counter, deque
from collections.abc import Collection
from typing import TYPE_CHECKING, Any, Final

from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send
from uvicorn.protocols.utils import ClientDisconnected

from ..inference.loader import SPEECH_KINDS, LoadedVersion
from ..shared.arrival import ARRIVAL, arrive
from .auth import from_own_page
from .client import client_named
from .context import Service
from .errors import ApiError, error_response
from .funasr_talk import FunasrTalk
from .handshake import SOCKET
from .middleware import AGENT_CHARS, CLIENT_GONE, PATH_CHARS, Gone, ServiceMiddleware
from .paths import meant_path
from .sherpa_talk import SherpaTalk
from .talks import Talk
from .transcription import TranscriptionOptions, language_of, transcribe_upload
from .upload import UploadedClip

if TYPE_CHECKING:
    from .speech_socket import SpeechSocket

PATHS: Final = frozenset({"/", "/ws"})
SESSIONS: Final = 256
CLIENT_SHARE: Final = 2
"""One client gets at most one part in this many of the sessions."""
IDLE_SECONDS: Final = 75.0
UNREAD_SECONDS: Final = 60.0
FAREWELL: Final = "Done"
SUBPROTOCOL: Final = "binary"
TALK: Final = "modelward.talk"
ANSWER: Final = "modelward.answer"
GOING_AWAY, UNSUPPORTED, POLICY, TOO_BIG, FAILED, RESTART, LATER = 1001, 1003, 1008, 1009, 1011, 1012, 1013
_CLOSED_WITH: Final = {401: POLICY, 403: POLICY, 408: POLICY, 413: TOO_BIG, 503: LATER}
_REASON_BYTES: Final = 123
_NOT_KEPT: Final = frozenset(
    b"connection upgrade content-length content-type content-encoding transfer-encoding expect x-request-id".split()
)


class SpeechSessions:
    """The WebSockets of one worker, as an ASGI application."""

    def __init__(self, service: Service, app: Starlette) -> None:
        self._service, self._app = service, app
        self._requests = ServiceMiddleware(_transcribed, service)
        self._open: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one connection from its handshake on."""
        began, settings = time.perf_counter(), self._service.settings
        arrive(scope, Headers(scope=scope), settings.base_path, settings.trusted_proxies)
        socket: SpeechSocket = scope[SOCKET]
        await receive()  # the handshake, which is whole
        try:
            await self._admit(scope)
        except ApiError as e:
            self._log(scope, e.status, began)
            await _refuse(scope, send, e)
            socket.is_refused()
            return
        client = _client(scope)
        self._open[client] += 1
        try:
            offered = scope["subprotocols"]
            await send({"type": "websocket.accept", "subprotocol": SUBPROTOCOL if SUBPROTOCOL in offered else None})
            with self._service.uploads.waiting(client) as socket.weigh:
                await self._clips(scope, socket, _Messages(receive, socket), send)
        except ClientDisconnected:
            socket.cut()  # it is gone, or does not read
        finally:
            socket.weigh = None
            self._open[client] -= 1
            if not self._open[client]:
                del self._open[client]
            socket.rests()
            self._log(scope, 101, began)

    async def _admit(self, scope: Scope) -> None:
        """Raises ApiError when this client may not open a session here."""
        headers, service = Headers(scope=scope), self._service
        if meant_path(scope["path"]) not in PATHS:
            raise ApiError(404, f"cannot talk at {scope['path'][:200]}: WebSockets are taken at /", "no_such_route")
        if service.settings.kind not in SPEECH_KINDS:
            raise ApiError(404, f"cannot transcribe: a model of kind {service.settings.kind} is served", "wrong_kind")
        await service.gate.fresh()
        service.gate.check("POST", "/ws", headers)
        if not from_own_page(headers) and not _is_named(headers.get("origin", ""), service.settings.cors_origins):
            raise ApiError(403, "cannot talk to a page of another origin: see workers.cors_origins", "other_origin")
        if self._open.total() >= SESSIONS:
            raise ApiError(503, f"cannot talk: {SESSIONS} WebSockets are open already", "busy")
        if self._open[_client(scope)] >= SESSIONS // CLIENT_SHARE:
            raise ApiError(503, f"cannot talk: {SESSIONS // CLIENT_SHARE} WebSockets of this client are open", "busy")

    def _log(self, scope: Scope, status: int, began: float) -> None:
        """Logs one line for the handshake, at the end of the session; each clip has its own line."""
        self._service.logs.access(
            method="GET",
            path=scope["path"][:PATH_CHARS],
            status=status,
            seconds=round(time.perf_counter() - began, 6),
            bytes=0,
            version="",
            request=secrets.token_hex(8),
            client=scope["client"][0] if scope.get("client") else "",
            agent=Headers(scope=scope).get("user-agent", "")[:AGENT_CHARS],
        )

    async def _clips(self, scope: Scope, socket: SpeechSocket, messages: _Messages, send: Send) -> None:
        talk: Talk | None = None
        while True:
            socket.rests()
            if self._service.draining():
                await _close(send, RESTART, "the worker is leaving; connect again")
                return
            try:
                async with asyncio.timeout(IDLE_SECONDS):
                    first = await messages.next()
            except TimeoutError:
                await _close(send, GOING_AWAY, "nothing came for a while")
                return
            if first is None:
                return
            if first == FAREWELL:
                await _close(send, 1000, FAREWELL)
                return
            socket.busy = True
            if talk is None:
                most = self._service.settings.max_upload_bytes
                talk = FunasrTalk() if isinstance(first, str) else SherpaTalk(most)
            messages.put_back(first)
            if not await self._clip(scope, messages, talk, send):
                return

    async def _clip(self, scope: Scope, messages: _Messages, talk: Talk, send: Send) -> bool:
        """Answers one clip. False when the connection is over."""
        talk.begin()
        request = self._request(scope, talk)
        outcome = _Outcome()
        await self._requests(request, _Body(messages, talk).receive, outcome.send)
        if messages.closed:
            return False
        error = outcome.error
        if error is None or error.get("code") == "empty_audio":
            await _said(send, talk.result(request.get(ANSWER, {})))
            return True
        if failure := talk.failure(error):
            await _said(send, failure)
        otherwise = FAILED if outcome.status >= 500 else UNSUPPORTED
        await _close(send, _CLOSED_WITH.get(outcome.status, otherwise), error["message"])
        return False

    def _request(self, scope: Scope, talk: Talk) -> dict[str, Any]:
        kept = [
            (name, value)
            for name, value in scope["headers"]
            if name.lower() not in _NOT_KEPT and not name.lower().startswith(b"sec-websocket-")
        ]
        body = [(b"content-type", b"application/octet-stream"), (b"transfer-encoding", b"chunked")]
        path = f"/{talk.name}"
        return {
            **{key: scope[key] for key in ("asgi", "http_version", "server", "client", "root_path", ARRIVAL)},
            "type": "http",
            "method": "POST",
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "headers": [*kept, *body],
            "app": self._app,
            "state": {},
            TALK: talk,
        }


def _client(scope: Scope) -> str:
    """The name under which the client's share is counted."""
    return client_named(scope["client"][0] if scope.get("client") else "")


def _is_named(origin: str, origins: Collection[str]) -> bool:
    """Whether the page may open a WebSocket: browsers allow that to any page."""
    return "*" in origins or origin in origins


class _Messages:
    """The client's messages, in order. None once it is gone."""

    def __init__(self, receive: Receive, socket: SpeechSocket) -> None:
        self.closed = False
        self._receive, self._socket = receive, socket
        self._back: deque[str | bytes] = deque()

    async def next(self) -> str | bytes | None:
        message = self._back.popleft() if self._back else await self._came()
        if message is not None:
            self._socket.taken(message)
        return message

    async def _came(self) -> str | bytes | None:
        if self.closed:
            return None
        message = await self._receive()
        if message["type"] != "websocket.receive":
            self.closed = True
            return None
        text: str | None = message.get("text")
        return text if text is not None else message.get("bytes") or b""

    def put_back(self, message: str | bytes) -> None:
        self._back.append(message)
        self._socket.put_back(message)

    async def gone(self) -> None:
        """Returns when the client left. If a message comes instead, it is kept, and this never returns."""
        message = await self.next()
        if message is not None:
            self.put_back(message)
            await asyncio.get_running_loop().create_future()


class _Body:
    """One clip's messages as the body of its request."""

    def __init__(self, messages: _Messages, talk: Talk) -> None:
        self._messages, self._talk, self._over = messages, talk, False

    async def receive(self) -> Message:
        if self._over:
            await self._messages.gone()
            return {"type": "http.disconnect"}
        while (message := await self._messages.next()) is not None:
            fed = self._talk.feed(message)
            if fed.audio or fed.over:
                self._over = fed.over
                return {"type": "http.request", "body": fed.audio, "more_body": not fed.over}
        return {"type": "http.disconnect"}


class _Outcome:
    """The answer to the request. `error` is the error's JSON, None when there is an answer."""

    def __init__(self) -> None:
        self.status = CLIENT_GONE
        self._body = bytearray()

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        else:
            self._body += message.get("body", b"")

    @property
    def error(self) -> dict[str, Any] | None:
        if self.status < 400:
            return None
        found = json.loads(self._body or b"{}").get("error")
        return found if isinstance(found, dict) else {"message": "cannot answer", "code": "failed"}


async def _transcribed(scope: Scope, receive: Receive, send: Send) -> None:
    """The application behind the middleware; leaves its answer in the scope."""
    request, talk = Request(scope, receive), scope[TALK]

    def options(clip: UploadedClip, loaded: LoadedVersion) -> TranscriptionOptions:
        return TranscriptionOptions(language_of(talk.language, loaded.model), talk.itn)

    try:
        scope[ANSWER] = await transcribe_upload(request, part="audio", options=options)
    except Gone:
        await Response(status_code=CLIENT_GONE)(scope, receive, send)
        return
    await Response(status_code=200)(scope, receive, send)


async def _refuse(scope: Scope, send: Send, error: ApiError) -> None:
    answer = error_response(error, scope["path"])
    headers = [*answer.raw_headers, (b"connection", b"close")]
    await send({"type": "websocket.http.response.start", "status": answer.status_code, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": bytes(answer.body)})


async def _said(send: Send, text: str) -> None:
    """Raises ClientDisconnected when the client does not read it."""
    try:
        async with asyncio.timeout(UNREAD_SECONDS):
            await send({"type": "websocket.send", "text": text})
    except TimeoutError:
        raise ClientDisconnected from None


async def _close(send: Send, code: int, reason: str) -> None:
    short = reason.encode()[:_REASON_BYTES].decode(errors="ignore")
    await send({"type": "websocket.close", "code": code, "reason": short})
