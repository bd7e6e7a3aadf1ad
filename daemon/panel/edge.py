"""Around every request to the panel: who may ask, how large and how slow it may be, what the browser may do with it.

Serves the page, its files, the login and the live stream itself; everything else is the admin API's. Nothing reaches
the API that the gate did not let through.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from http.cookies import CookieError, SimpleCookie
from typing import Any, Final

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..api.app import MAX_BODY_BYTES, error
from ..clock import Clock
from .assets import PREFIX, Asset
from .attempts import Attempts
from .feed import Feed
from .gate import Access, Asked, Refusal, Rules, needs_token, refusal
from .sessions import MAX_SECONDS, Sessions
from .tokens import Tokens

BODY_SECONDS: Final = 10.0
MAX_DISCARDED_BYTES: Final = 16 << 20
MARK: Final = "x-modelward"
OPEN_PATHS: Final = frozenset({"/", "/login", "/session", "/health", "/ready", "/favicon.ico"})
SECURITY: Final[Mapping[str, str]] = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}


class Edge:
    """The outermost application of the panel. `cookie` is the session cookie's name."""

    def __init__(
        self,
        api: ASGIApp,
        feed: Feed,
        assets: Mapping[str, Asset],
        *,
        rules: Rules,
        tokens: Tokens,
        clock: Clock,
        cookie: str,
    ) -> None:
        self._api, self._feed, self._assets = api, feed, assets
        self._rules, self._tokens, self._clock, self._cookie = rules, tokens, clock, cookie
        self._sessions, self._attempts = Sessions(), Attempts()
        self._log = structlog.get_logger("panel")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        headers = Headers(scope=scope)
        response = self._refused(scope, headers)
        if response is None:
            body = await _body(headers, receive)
            if isinstance(body, bytes):
                await self._answer(scope, headers, body, receive, _secured(send))
                return
            response = body
        response.headers["connection"] = "close"  # what follows on this connection may be the rest of a body
        await response(scope, receive, _secured(send))

    # who may ask

    def _refused(self, scope: Scope, headers: Headers) -> Response | None:
        access, token = access_of(scope["method"], scope["path"]), _bearer(headers)
        asked = Asked(
            access=access,
            host=headers.get("host"),
            origin=headers.get("origin"),
            site=headers.get("sec-fetch-site"),
            marked=MARK in headers,
            bearer=bool(token),
            write=scope["method"] not in ("GET", "HEAD"),
            known=False,
        )
        found = refusal(asked, self._rules)
        if found is None or found.status != 401:
            return None if found is None else _response(found)
        if token:
            return self._try(scope, token)
        return None if self._session_mark(headers) else _response(found)

    def _try(self, scope: Scope, token: str) -> Response | None:
        """Compares a token that was named, unless this address named too many wrong ones."""
        now, address = self._clock.monotonic(), (scope.get("client") or ("",))[0]
        wait = self._attempts.wait_seconds(address, now)
        if wait > 0:
            seconds = int(wait) + 1
            found = Refusal(429, "too_many_attempts", f"cannot answer: too many wrong tokens; try again in {seconds} s")
            response = _response(found)
            response.headers["retry-after"] = str(seconds)
            return response
        if self._tokens.check(token):
            return None
        self._attempts.failed(address, now)
        self._log.warning("a wrong token was named", address=address)
        return _response(Refusal(401, "bad_token", "cannot answer: this token is not known"))

    def _session_mark(self, headers: Headers) -> str:
        """The mark of the session's token, "" without a good session."""
        value = _cookie(headers, self._cookie)
        if not value or not self._tokens.configured:
            return ""
        mark = self._sessions.mark(value, self._clock.monotonic())
        if mark and not self._tokens.still_good(mark):
            self._sessions.close(value)
            return ""
        return mark

    # what is answered here

    async def _answer(self, scope: Scope, headers: Headers, body: bytes, receive: Receive, send: Send) -> None:
        method, path = scope["method"], scope["path"]
        response: Response
        if path == "/session" and method == "GET":
            response = JSONResponse(self._standing(headers))
        elif path == "/session" and method == "DELETE":
            response = self._log_out(headers)
        elif path == "/login" and method == "POST":
            response = self._log_in(scope, headers, body)
        elif path == "/live" and method == "GET":
            response = self._live(headers)
        elif (asset := self._assets.get(path)) and method in ("GET", "HEAD"):
            response = _file(asset, headers)
        elif path.startswith(PREFIX) or path in ("/login", "/session", "/live", "/", "/favicon.ico"):
            missing = path not in ("/login", "/session", "/live", "/")
            response = error(f"cannot {method} {path[:200]}", *(("not_found", 404) if missing else _NOT_ALLOWED))
        else:
            await self._api(scope, _replay(body, receive), send)
            return
        await response(scope, receive, send)

    def _standing(self, headers: Headers) -> dict[str, Any]:
        known = bool(self._session_mark(headers))
        return {
            "tokens": self._tokens.configured,
            "logged_in": known,
            "may_read": known or not needs_token(Access.READ, self._rules),
            "may_change": known or not needs_token(Access.CHANGE, self._rules),
        }

    def _log_in(self, scope: Scope, headers: Headers, body: bytes) -> Response:
        if not self._tokens.configured:
            return error("cannot log in: this panel asks for no token", "no_login", 409)
        token = _token_in(body)
        if token is None:
            return error('cannot log in: the body must be {"token": "…"}', "bad_request", 400)
        if refused := self._try(scope, token):
            return refused
        value = self._sessions.open(self._tokens.check(token), self._clock.monotonic())
        response = Response(status_code=204)
        secure = headers.get("origin", "").startswith("https:")
        response.set_cookie(
            self._cookie, value, max_age=int(MAX_SECONDS), httponly=True, samesite="strict", secure=secure
        )
        return response

    def _log_out(self, headers: Headers) -> Response:
        self._sessions.close(_cookie(headers, self._cookie))
        response = Response(status_code=204)
        response.delete_cookie(self._cookie, httponly=True, samesite="strict")
        return response

    def _live(self, headers: Headers) -> Response:
        if self._feed.full:
            return Response(status_code=503, headers={"retry-after": "5"})
        stream = self._feed.stream(lambda: self._may_read(headers))
        return StreamingResponse(stream, media_type="text/event-stream", headers={"x-accel-buffering": "no"})

    def _may_read(self, headers: Headers) -> bool:
        if not needs_token(Access.READ, self._rules):
            return True
        return bool(self._session_mark(headers) or self._tokens.check(_bearer(headers)))


_NOT_ALLOWED: Final = ("method_not_allowed", 405)


def access_of(method: str, path: str) -> Access:
    """What a request needs, by what it names: whatever is no plain look changes something."""
    if path in OPEN_PATHS or path.startswith(PREFIX):
        return Access.OPEN
    return Access.READ if method in ("GET", "HEAD") else Access.CHANGE


def _response(found: Refusal) -> Response:
    response = error(found.message, found.kind, found.status)
    if found.status == 401:
        response.headers["www-authenticate"] = "Bearer"
    return response


def _bearer(headers: Headers) -> str:
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _cookie(headers: Headers, name: str) -> str:
    jar: SimpleCookie = SimpleCookie()
    try:
        jar.load(headers.get("cookie", "")[:8192])
    except CookieError:
        return ""
    return jar[name].value if name in jar else ""


def _token_in(body: bytes) -> str | None:
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        return None
    token = data.get("token") if isinstance(data, dict) else None
    return token if isinstance(token, str) else None


def _file(asset: Asset, headers: Headers) -> Response:
    caching = {"etag": asset.tag, "cache-control": "no-cache"}
    if asset.tag in headers.get("if-none-match", ""):
        return Response(status_code=304, headers=caching)
    return Response(asset.body, media_type=asset.content_type, headers=caching)


def _secured(send: Send) -> Send:
    async def secured(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in SECURITY.items():
                headers[name] = value
            headers.setdefault("cache-control", "no-store")
        await send(message)

    return secured


async def _body(headers: Headers, receive: Receive) -> bytes | Response:
    """The whole body; or the answer to one that is too long or too slow. What is too long is read and dropped first."""
    if "content-length" not in headers and "transfer-encoding" not in headers:
        return b""
    body, dropped = b"", 0
    try:
        async with asyncio.timeout(BODY_SECONDS):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    return Response(status_code=400)
                body += message.get("body", b"")
                if len(body) > MAX_BODY_BYTES:
                    dropped, body = dropped + len(body), b""
                if dropped > MAX_DISCARDED_BYTES or (dropped and not message.get("more_body", False)):
                    return error(f"cannot read the body: longer than {MAX_BODY_BYTES} bytes", "too_large", 413)
                if not message.get("more_body", False):
                    return body
    except TimeoutError:
        return error(f"cannot read the body: not here within {BODY_SECONDS:g} s", "too_slow", 408)


def _replay(body: bytes, receive: Receive) -> Receive:
    """The body once, then whatever the connection says."""
    given = False

    async def replayed() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replayed
