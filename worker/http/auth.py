"""Decides which requests are allowed: bearer tokens from a file, and requests that only this machine may send.

The tokens come from `fresh_tokens`, which fails closed: with a file that cannot be used, no token is accepted. Await
`fresh` before a request is checked; nothing else here reads a disk.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import urlsplit

import structlog

from ..shared.fresh_tokens import FreshTokens
from ..shared.loopback import is_loopback
from ..shared.sent_tokens import tokens_in
from .errors import ApiError

OPEN_PATHS: Final = frozenset({"/health", "/ready"})
COOKIE: Final = "modelward_token"
PROXIED: Final = frozenset({"forwarded", "via", "x-real-ip", "x-client-ip", "true-client-ip", "cf-connecting-ip"})
SAFE: Final = frozenset({"GET", "HEAD"})


class TokenCheck:
    """The rules for one file of tokens. With `path` "" no token is needed. `log` reports a file that cannot be used.

    `changed` is called when `problem` changes.
    """

    def __init__(
        self, path: str, log: structlog.typing.FilteringBoundLogger, changed: Callable[[], None] = lambda: None
    ) -> None:
        self._log, self._changed = log, changed
        self._path, self._tokens = path, FreshTokens(path, log.error, changed=changed)

    def use(self, path: str, marks: tuple[str, ...] = ()) -> None:
        """From now on the tokens are those of this file; with "" no token is needed. `marks`: see TokensFile."""
        if path != self._path:
            self._tokens.close()
            self._path, self._tokens = path, FreshTokens(path, self._log.error, marks, changed=self._changed)

    async def fresh(self) -> None:
        """Makes every change in the file up to now count. It waits a short time at most."""
        await self._tokens.fresh()

    def problem(self) -> str:
        """Why no token is accepted, without the file's name; "" while the file is good.

        The answer is that of the last reading; the next one is started.
        """
        if self._path:
            self._tokens.soon()
        return "the token file cannot be used; no token is accepted" if self._tokens.problem() else ""

    def check(self, method: str, path: str, headers: Mapping[str, str]) -> None:
        """Raises ApiError 401 when the request needs a token and has no good one.

        A browser sends it in a cookie, which counts for requests of our own page. `POST /` has it in its body. Other
        credentials, and a wrong token beside a good cookie, are for a proxy.
        """
        if not self._path or path in OPEN_PATHS or (method, path) == ("POST", "/"):
            return
        sent = tokens_in(headers)
        good = any(map(self.knows, sent))
        if not good and (method in SAFE or _same_origin(headers)) and (cookie := _cookie(headers.get("cookie", ""))):
            sent, good = (*sent, cookie), self._tokens.knows_pledge(cookie)
        if not good:
            raise ApiError(
                401,
                "cannot answer: this service asks for a bearer token in the header Authorization",
                "bad_token" if any(sent) else "token_missing",
                {"www-authenticate": "Bearer"},
            )

    def owner(self, headers: Mapping[str, str]) -> str:
        """An identifier of the token of a request that `check` accepted; "" where no token is needed."""
        if not self._path:
            return ""
        mark = next(filter(None, map(self._tokens.check, tokens_in(headers))), "")
        mark = mark or self._tokens.mark_of_pledge(_cookie(headers.get("cookie", "")))
        return hashlib.sha256(b"modelward owner " + mark.encode()).hexdigest() if mark else ""

    def owns(self, owner: str, headers: Mapping[str, str]) -> bool:
        """Whether a request may see what belongs to `owner`.

        What came in while no token was needed is shown to every client that has its name.
        """
        return not self._path or not owner or hmac.compare_digest(owner, self.owner(headers))

    def check_change(self, client: str, headers: Mapping[str, str], http_version: str = "1.1") -> None:
        """Raises ApiError 403 when a request that changes something has no token and does not come from this machine.

        With a token file `check` has required one already. A proxy on this machine sends requests of others, and a web
        page in a browser here may use any address: neither counts as local. nginx passes requests on by HTTP/1.0 and
        does not identify itself unless it is configured to; programs here use 1.1.
        """
        if self._path:
            return
        if (
            proxied(headers)
            or http_version == "1.0"
            or (client and not is_loopback(client))
            or not from_own_page(headers)
        ):
            raise ApiError(403, "cannot change anything for a client elsewhere: no token file is set", "loopback_only")

    def cookie_for(self, token: str) -> str:
        """What a browser keeps for a good token; "" for any other, and where no token is needed."""
        return self._tokens.pledge(token)

    def knows(self, token: str) -> bool:
        """Whether the token is in the file; True for any token when there is no file."""
        return not self._path or bool(self._tokens.check(token))


def proxied(headers: Mapping[str, str]) -> bool:
    """Whether a header shows that a proxy passed the request on."""
    return any(name in PROXIED or name.startswith("x-forwarded-") for name in headers)


def from_own_page(headers: Mapping[str, str]) -> bool:
    """False for a request that a browser sends for a page of another site, also through a DNS name bound to this
    machine.
    """
    origin = headers.get("origin")
    if origin is None:
        return True
    host = _host_of(headers.get("host", "localhost"))
    return _place(origin) == headers.get("host") and (host == "localhost" or _is_address(host))


def _cookie(header: str) -> str:
    """The token in a Cookie header; "" when there is none."""
    for pair in header.split(";"):
        name, _, value = pair.strip().partition("=")
        if name == COOKIE:
            return value.strip('"')
    return ""


def _same_origin(headers: Mapping[str, str]) -> bool:
    """Whether the page that sends this came from here, by the Origin of the browser. Other clients send no Origin."""
    origin = headers.get("origin")
    return origin is None or _place(origin) == headers.get("host")


def _place(origin: str) -> str | None:
    """Host and port of an origin. None, which no Host header equals, for text that is no address."""
    try:
        return urlsplit(origin).netloc or None
    except ValueError:
        return None


def _host_of(host: str) -> str:
    try:
        return urlsplit("//" + host).hostname or ""
    except ValueError:
        return ""


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
