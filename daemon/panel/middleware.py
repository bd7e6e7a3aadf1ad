"""Handles every request to the panel: which client may send it, its size and time, and what the browser may do
with the answer.

It serves the page, its files, the login and the live stream; the admin API serves the rest. Nothing reaches the API
without a check. Access needs a valid token or session, or a process of this machine that the kernel shows to be an
operator's.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any, Final

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ...worker.shared import static_files
from ...worker.shared.arrival import arrival_of, arrive, is_read, to_directory
from ...worker.shared.sent_tokens import tokens_in
from ...worker.shared.static_files import PREFIX, Asset, protection
from ..api.app import error
from ..api.language import in_language, language_of
from ..api.request_body import MAX_BODY_BYTES
from ..api.streams import STILL, Still
from ..system.clock import Clock
from .access_policy import (
    Access,
    PanelRequest,
    Refusal,
    Rules,
    is_forwarded,
    refusal,
)
from .connection_limits import PEER
from .live_feed import Feed
from .login_links import LINK_SECONDS, Links
from .loopback_user import LoopbackPeer, Peers
from .rate_limit import LoginAttempts, place
from .sessions import MAX_SECONDS, Sessions
from .tokens import Tokens

BODY_SECONDS: Final = 10.0
MAX_DISCARDED_BYTES: Final = 16 << 20
MARK: Final = "x-modelward"
LINK_PATH: Final = "/v1/panel/link"
STREAMED: Final = "/v1/uploads/"
"""Pieces of files go below this; they are larger than any other body."""
OPEN_PATHS: Final = frozenset({"/", "/login", "/session", "/health", "/ready", "/favicon.ico"})
SECURITY: Final = protection(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
)


class PanelMiddleware:
    """The outermost application of the panel. `cookie` is the session cookie's name.

    `base_path` and `proxies` are those of the configuration.
    """

    def __init__(
        self,
        api: ASGIApp,
        feed: Feed,
        assets: Mapping[str, Asset],
        *,
        rules: Rules,
        tokens: Tokens,
        peers: Peers,
        clock: Clock,
        cookie: str,
        base_path: str = "",
        proxies: tuple[str, ...] = (),
    ) -> None:
        self._api, self._feed, self._assets = api, feed, assets
        self._rules, self._tokens, self._clock, self._cookie = rules, tokens, clock, cookie
        self._peers, self._sessions, self._attempts, self._links = peers, Sessions(), LoginAttempts(), Links()
        self._base_path, self._proxies = base_path, proxies
        self._log, self._ignored = structlog.get_logger("panel"), ""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        headers = Headers(scope=scope)
        peer: LoopbackPeer = scope.setdefault(PEER, LoopbackPeer())
        peer.proxied = peer.proxied or is_forwarded(headers.keys())
        self._arrive(scope, headers, peer)
        send = _secured(send)
        if scope["method"] in ("GET", "HEAD") and _announces_body(headers):
            send = _closing(send)  # what follows on this connection may be the rest of a body
        response = await self._refused(scope, headers, peer)
        if response is None:
            if scope["method"] == "PUT" and scope["path"].startswith(STREAMED):
                scope[STILL] = self._still(scope, headers)
                await self._api(scope, receive, send)  # it takes its body as it comes, and bounds it
                return
            body = await _body(scope["method"], headers, receive)
            if isinstance(body, bytes):
                await self._answer(scope, headers, body, receive, send)
                return
            response = body
        await (await in_language(scope, response))(scope, receive, _closing(send))

    def _arrive(self, scope: Scope, headers: Headers, peer: LoopbackPeer) -> None:
        before = scope.get("client")
        arrival = arrive(scope, headers, self._base_path, self._proxies)
        if scope.get("client") != before:
            peer.share = place(scope["client"][0])
        if arrival.ignored and not self._ignored:
            self._ignored = arrival.ignored
            self._log.info("headers of a proxy do not count", peer=arrival.ignored, key="panel.trusted_proxies")

    async def link(self) -> str:
        """A code that logs one browser in, "" while the file holds no token."""
        await self._tokens.fresh()
        mark = self._tokens.any_mark()
        return self._links.make(mark, self._clock.monotonic()) if mark else ""

    # which client may send it

    async def _refused(self, scope: Scope, headers: Headers, peer: LoopbackPeer) -> Response | None:
        await self._tokens.fresh()
        access, token = access_of(scope["method"], scope["path"]), self._token(headers)
        good, session = bool(self._tokens.check(token)), bool(self._session_mark(headers))
        asked = PanelRequest(
            access=access,
            host=headers.get("host"),
            origin=headers.get("origin"),
            site=headers.get("sec-fetch-site"),
            marked=MARK in headers,
            # A wrong token may be a proxy's: beside a session it stands for nothing, else it is tried and counted.
            bearer=good or (bool(token) and not session and access is not Access.OPEN),
            write=scope["method"] not in ("GET", "HEAD"),
            known=good or session,
        )
        found = refusal(asked, self._rules)
        if found is not None and found.status != 401:
            return _response(found)
        if found is not None and (refused := await self._unknown(scope, headers, peer, token, found)) is not None:
            return refused
        peer.admitted = peer.admitted or access is not Access.OPEN
        return None

    async def _unknown(
        self, scope: Scope, headers: Headers, peer: LoopbackPeer, token: str, found: Refusal
    ) -> Response | None:
        """`found` as an answer for a client that has no good token, no session and no operator's connection."""
        if token:
            return self._try(scope, token)
        if await self._operates(scope, peer):
            return None
        return _response(found)

    async def _operates(self, scope: Scope, peer: LoopbackPeer) -> bool:
        """Whether an operator of this machine asks with a program of theirs that passes nothing on for others."""
        if peer.operator is None and self._rules.by_user and not peer.proxied:
            peer.operator = await self._peers.operates(scope.get("client"), scope.get("server"))
        return bool(peer.operator) and not peer.proxied

    def _try(self, scope: Scope, token: str) -> Response | None:
        """None for a good token, whatever others tried; for a wrong one its answer, reported and logged seldom."""
        if self._tokens.check(token):
            return None
        return self._wrong(scope, Refusal(401, "bad_token", "cannot answer: this token is not known"))

    def _wrong(self, scope: Scope, found: Refusal) -> Response:
        now, address = self._clock.monotonic(), (scope.get("client") or ("",))[0]
        wait = self._attempts.wait_seconds(address, now)
        if wait > 0:
            seconds = int(wait) + 1
            found = Refusal(429, "too_many_attempts", f"cannot answer: too many wrong tokens; try again in {seconds} s")
            response = _response(found)
            response.headers["retry-after"] = str(seconds)
            return response
        self._attempts.failed(address, now)
        self._log.warning("a wrong token was named", address=address)
        return _response(found)

    def _token(self, headers: Headers) -> str:
        """The good token of those that a program sent, else the first one; "" for none."""
        sent = tokens_in(headers)
        return next(filter(self._tokens.check, sent), next(filter(None, sent), ""))

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
        if arrival_of(scope).bare and is_read(scope):
            response = to_directory(scope, self._base_path)
        elif path == "/session" and method == "GET":
            response = JSONResponse(await self._standing(scope, headers))
        elif path == "/session" and method == "DELETE":
            response = self._log_out(scope, headers)
        elif path == "/login" and method == "POST":
            response = self._log_in(scope, headers, body)
        elif path == "/live" and method == "GET":
            response = self._feed.answer(self._still(scope, headers), language_of(scope))
        elif (asset := self._assets.get(path)) and method in ("GET", "HEAD"):
            response = static_files.answer(asset, headers.get("if-none-match", ""))
        elif path.startswith(PREFIX) or path in ("/login", "/session", "/live", "/", "/favicon.ico", LINK_PATH):
            missing = path not in ("/login", "/session", "/live", "/")  # a link is made over api.sock alone
            response = error(f"cannot {method} {path[:200]}", *(("not_found", 404) if missing else _NOT_ALLOWED))
        else:
            scope[STILL] = self._still(scope, headers)
            await self._api(scope, _replay(body, receive), send)
            return
        await (await in_language(scope, response))(scope, receive, send)

    async def _standing(self, scope: Scope, headers: Headers) -> dict[str, Any]:
        inside, peer = bool(self._session_mark(headers)), scope[PEER]
        known = inside or not self._rules.asks or await self._operates(scope, peer)
        return {"tokens": self._rules.asks, "logged_in": inside, "may_read": known, "may_change": known}

    def _log_in(self, scope: Scope, headers: Headers, body: bytes) -> Response:
        if not self._rules.asks:
            return error("cannot log in: this panel asks for no token", "no_login", 409)
        token, code = _text_in(body, "token"), _text_in(body, "code")
        if token is None and code is None:
            return error('cannot log in: the body must be {"token": "…"} or {"code": "…"}', "bad_request", 400)
        now = self._clock.monotonic()
        if token is not None:
            if refused := self._try(scope, token):
                return refused
            mark = self._tokens.check(token)
        else:
            mark = self._tokens.still_good(self._links.use(code or "", now))
            if not mark:
                old = f"a link is good once and for {LINK_SECONDS / 60:g} min; `modelward panel` prints a new one"
                return self._wrong(scope, Refusal(401, "bad_link", f"cannot log in: {old}"))
        response = Response(status_code=204)
        response.set_cookie(
            self._cookie,
            self._sessions.open(mark, now),
            max_age=int(MAX_SECONDS),
            path=_cookie_path(scope),
            httponly=True,
            samesite="strict",
            secure=headers.get("origin", "").startswith("https:") or arrival_of(scope).tls,
        )
        return response

    def _log_out(self, scope: Scope, headers: Headers) -> Response:
        self._sessions.close(_cookie(headers, self._cookie))
        response = Response(status_code=204)
        response.set_cookie(self._cookie, "", 0, path=_cookie_path(scope), httponly=True, samesite="strict")
        return response

    def _still(self, scope: Scope, headers: Headers) -> Still:
        """Whether a viewer that was admitted may still see what comes: a token or a session can end."""
        peer: LoopbackPeer = scope[PEER]
        token, by_user = self._token(headers), bool(peer.operator) and not peer.proxied

        async def still() -> bool:
            if not self._rules.asks or by_user:
                return True
            await self._tokens.fresh()
            return bool(self._session_mark(headers) or (token and self._tokens.check(token)))

        return still


_NOT_ALLOWED: Final = ("method_not_allowed", 405)


def access_of(method: str, path: str) -> Access:
    """The access that a request needs, by its method and path: all that is not plain reading is a change."""
    if path in OPEN_PATHS or path.startswith(PREFIX):
        return Access.OPEN
    return Access.READ if method in ("GET", "HEAD") else Access.CHANGE


def _response(found: Refusal) -> Response:
    response = error(found.message, found.kind, found.status)
    if found.status == 401:
        response.headers["www-authenticate"] = "Bearer"
    return response


def _cookie_path(scope: Scope) -> str | None:
    """The prefix that the browser sees. None where we do not know it: then it takes the directory of its request."""
    return arrival_of(scope).cookie_path or None


def _cookie(headers: Headers, name: str) -> str:
    """The first value under this name, "" when there is none. Values of ours need no quotes, and none are resolved. Up
    to Python 3.11 the standard library's parser takes the square of their length for that: 0.2 s for 8 KB.
    """
    for pair in headers.get("cookie", "").split(";"):
        key, _, value = pair.strip().partition("=")
        if key == name:
            return value
    return ""


def _text_in(body: bytes, key: str) -> str | None:
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        return None
    text = data.get(key) if isinstance(data, dict) else None
    return text if isinstance(text, str) else None


def _announces_body(headers: Headers) -> bool:
    return headers.get("content-length", "0").strip() != "0" or "transfer-encoding" in headers


def _secured(send: Send) -> Send:
    async def secured(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in SECURITY.items():
                headers[name] = value
            headers.setdefault("cache-control", "no-store")
        await send(message)

    return secured


def _closing(send: Send) -> Send:
    """The connection ends with this answer."""

    async def closing(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message)["connection"] = "close"
        await send(message)

    return closing


async def _body(method: str, headers: Headers, receive: Receive) -> bytes | Response:
    """The whole body; or the answer to one that is too long or too slow. What is too long is read and dropped first.

    A look needs no body: what comes with one is not waited for.
    """
    if method in ("GET", "HEAD") or not _announces_body(headers):
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
    """The body once, then whatever the connection sends."""
    given = False

    async def replayed() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replayed
