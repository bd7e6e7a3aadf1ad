"""Wraps every request: its identity, the check of tokens, the version that answered, the access log, the beat's counts.

It decides nothing about the answer itself. It must log each request exactly once, also those that fail. While the
worker drains, every answer to a whole request asks the client to connect elsewhere.
"""

from __future__ import annotations

import asyncio
import re
import secrets
import time
from typing import Final
from urllib.parse import quote

from msgspec import Struct, field
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..inference.loader import LoadedVersion
from ..shared.arrival import arrival_of, arrive, is_read, to_directory
from .context import Service
from .cross_origin import CrossOrigin
from .errors import ApiError, error_answer, error_response
from .paths import meant_path
from .sign_in import token_form, wants_form

TRACE: Final = "modelward.trace"
CLIENT_GONE: Final = 499  # as nginx writes it: the client was gone
PATH_CHARS: Final = 512
AGENT_CHARS: Final = 200
PASSED_OVER_BYTES: Final = 1 << 20
_PLAIN: Final = "".join(map(chr, range(0x20, 0x7F))).replace("%", "")
_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")


class Gone(Exception):
    """The client is gone: no answer can be sent."""


async def client_gone(request: Request) -> None:
    """Returns when the client left. What it sends until then is dropped.

    After PASSED_OVER_BYTES it is not read any more, and this never returns.
    """
    passed_over = 0
    while (message := await request.receive())["type"] != "http.disconnect":
        passed_over += len(message.get("body", b""))
        if passed_over > PASSED_OVER_BYTES:
            await asyncio.get_running_loop().create_future()


class Trace(Struct, eq=False):
    """What is found out about a request on its way. `seconds`: from its last byte to its answer. See also `Answer`."""

    request_id: str
    start: float = field(default_factory=time.perf_counter)
    inference: bool = False
    version: str = ""
    digest: str = ""
    seconds: float | None = None
    status: int = CLIENT_GONE
    sent_bytes: int = 0
    started: bool = False
    received: bool = False
    client: str = ""
    pending: int = 0

    def took(self, loaded: LoadedVersion) -> None:
        """Records that this version answers."""
        self.version, self.digest = loaded.version, loaded.digest


def trace_of(scope: Scope) -> Trace:
    """The trace of the request with this scope."""
    trace = scope[TRACE]
    assert isinstance(trace, Trace)
    return trace


class ServiceMiddleware:
    """The outermost application."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app, self._service = app, service
        self._shared = CrossOrigin(self._guarded, service)
        self._ignored = ""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request; raises nothing."""
        if scope["type"] != "http":
            return
        headers, settings = Headers(scope=scope), self._service.settings
        arrival = arrive(scope, headers, settings.base_path, settings.trusted_proxies)
        if arrival.ignored and not self._ignored:
            self._report_ignored(arrival.ignored)
        scope["path"] = meant_path(scope["path"], scope.get("raw_path") or b"")
        trace = scope[TRACE] = Trace(_request_id(headers), client=scope["client"][0] if scope.get("client") else "")
        self._service.answers.open.add(trace)
        trace.received = not ("content-length" in headers or "transfer-encoding" in headers)
        inward, outward = self._receiving(trace, receive), self._sending(trace, send)
        try:
            await self._shared(scope, inward, outward)
        except Exception:  # noqa: BLE001 - one request's fault must not end the worker; it is logged with its trace
            self._service.logs.events.exception("a request failed", request=trace.request_id, path=scope["path"])
            if trace.started:
                trace.status = 500  # the client saw an answer begin that did not end well
            else:
                problem = ApiError(500, "cannot answer: the service failed; it goes on serving", "internal_error")
                await error_response(problem, scope["path"])(scope, inward, outward)
        finally:
            self._service.answers.open.discard(trace)
            self._finish(scope, headers, trace)

    async def _guarded(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        if arrival_of(scope).bare and is_read(scope):
            await to_directory(scope, self._service.settings.base_path)(scope, receive, send)
            return
        try:
            await self._service.gate.fresh()
            self._service.gate.check(scope["method"], scope["path"], headers)
            await self._app(scope, receive, send)
        except ApiError as e:
            await (await _refusal(e, scope, headers))(scope, receive, send)

    def _report_ignored(self, peer: str) -> None:
        """Reports once that a proxy is not named, as all its clients count as one."""
        self._ignored = peer
        self._service.logs.events.info("headers of a proxy do not count", peer=peer, key="workers.trusted_proxies")

    def _receiving(self, trace: Trace, receive: Receive) -> Receive:
        async def inward() -> Message:
            message = await receive()
            if message["type"] == "http.request" and not message.get("more_body", False):
                trace.received = True
            return message

        return inward

    def _sending(self, trace: Trace, send: Send) -> Send:
        async def outward(message: Message) -> None:
            if message["type"] == "http.response.start":
                trace.started, trace.status = True, message["status"]
                headers = MutableHeaders(scope=message)
                headers["x-request-id"] = trace.request_id
                if trace.inference or trace.version:
                    self._name_version(trace, headers)
                # An answer before the body's end: closing now would reset the connection during the answer.
                if self._service.leaving() and trace.received:
                    headers["connection"] = "close"
            elif message["type"] == "http.response.body":
                trace.sent_bytes += len(message.get("body", b""))
            await send(message)
            if message["type"] == "http.response.body":  # the connection handles it now
                sent = len(message.get("body", b""))
                trace.pending = max(0, trace.pending - sent) if message.get("more_body", False) else 0

        return outward

    def _name_version(self, trace: Trace, headers: MutableHeaders) -> None:
        current = self._service.engine.current
        if not trace.version and current is not None:
            trace.took(current)
        if trace.version:
            headers["x-model-version"] = version_header(trace.version)
            headers["x-model-digest"] = trace.digest

    def _finish(self, scope: Scope, headers: Headers, trace: Trace) -> None:
        if trace.inference:
            self._service.counters.end(trace.status, trace.seconds)
            answered, began = time.monotonic(), time.perf_counter() - trace.start
            self._service.logs.events.debug(
                "answered", request=trace.request_id, status=trace.status, came=answered - began, answered=answered
            )
        self._service.logs.access(
            method=scope["method"],
            path=scope["path"][:PATH_CHARS],
            status=trace.status,
            seconds=round(time.perf_counter() - trace.start, 6),
            bytes=trace.sent_bytes,
            version=trace.version,
            request=trace.request_id,
            client=trace.client,
            agent=headers.get("user-agent", "")[:AGENT_CHARS],
        )


async def _refusal(error: ApiError, scope: Scope, headers: Headers) -> Response:
    if wants_form(scope["method"], scope["path"], headers.get("accept", ""), error):
        return await token_form(headers.get("accept-language", ""))
    return await error_answer(error, scope["path"], headers.get("accept-language", ""))


def _request_id(headers: Headers) -> str:
    given = headers.get("x-request-id", "")
    return given if _REQUEST_ID.fullmatch(given) else secrets.token_hex(8)


def version_header(version: str) -> str:
    """A version's name as X-Model-Version: percent-encoded UTF-8 where a header cannot carry it, and "%" itself."""
    return quote(version, safe=_PLAIN)
