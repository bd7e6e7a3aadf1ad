"""The proxy that the environment names for a host, and what its refusals mean.

Pure but for the environment. Invariant: no sentence holds the variable's value, which may have a password; a proxy is
named by its host and port.
"""

from __future__ import annotations

import re
from base64 import b64encode
from typing import Final
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies_environment, proxy_bypass

from msgspec import Struct

from ..errors import Refused

LOGIN_WANTED: Final = 407
_TUNNEL: Final = re.compile(r"Tunnel connection failed: (\d{3})")
_AGAIN: Final = (408, 425, 429, 500, 502, 503, 504)
"""Statuses of a proxy after which another try may succeed."""


class Proxy(Struct, frozen=True):
    """A proxy, and the header that logs in to it; {} for none."""

    host: str
    port: int
    login: dict[str, str]

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


def proxy_for(scheme: str, host: str) -> Proxy | None:
    """None when no proxy is named. Raises Refused for one that cannot be used."""
    named = "" if proxy_bypass(host) else str(getproxies_environment().get(scheme, ""))
    if not named:
        return None
    cannot = f"cannot use the proxy of the environment for {scheme}"
    try:
        parts = urlsplit(named if "://" in named else f"http://{named}")
        found, port = parts.hostname or "", parts.port or 8080
    except ValueError:
        raise Refused(f"{cannot}: {scheme}_proxy is no address; http://HOST:PORT is one") from None
    if parts.scheme not in ("http", "https"):
        raise Refused(f"{cannot}: {scheme}_proxy names one of another kind than http; http://HOST:PORT is right")
    if not found or not found.isprintable() or " " in found:
        raise Refused(f"{cannot}: it has no host")
    login = {}
    if parts.username is not None:
        words = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        login = {"Proxy-Authorization": f"Basic {b64encode(words.encode()).decode()}"}
    return Proxy(found, port, login)


def refused_tunnel(error: Exception) -> int:
    """The status with which a proxy refused to be a tunnel; 0 for another error."""
    found = _TUNNEL.match(str(error))
    return int(found[1]) if found else 0


def is_final(status: int) -> bool:
    """Whether a proxy that gave this answer gives it again."""
    return status not in _AGAIN


def why_refused(proxy: Proxy, status: int) -> str:
    """What a proxy's answer means, and what helps."""
    if status == LOGIN_WANTED:
        return f"the proxy {proxy} answered 407; it wants a user and a password: http://USER:PASSWORD@{proxy}"
    return f"the proxy {proxy} answered {status}"
