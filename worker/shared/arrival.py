"""Finds out once for each request how it reached us: its client, its path without the base path, its outer prefix.

It changes the scope: `client` and `path` are what the rest of the program works with. It must not decide about
permissions: a request that was passed on stays marked by its headers. Invariant: a second call changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from msgspec import Struct
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import Scope

from .base_path import below
from .loopback import plain_address
from .trusted_proxies import UNIX, passed_on

ARRIVAL: Final = "modelward.arrival"
"""Where a scope has its arrival."""


class Arrival(Struct, frozen=True):
    """`prefix` goes before the paths of links. `cookie_path` is "" where the browser knows its path better than we.

    `bare` is a request for the base path without a slash at its end. `ignored` is a likely proxy whose headers did not
    count, "" for none.
    """

    prefix: str = ""
    cookie_path: str = ""
    tls: bool = False
    bare: bool = False
    ignored: str = ""


def arrive(scope: Scope, headers: Headers, base: str, proxies: tuple[str, ...]) -> Arrival:
    """The arrival of a request, which is kept in its scope."""
    if (known := scope.get(ARRIVAL)) is not None:
        assert isinstance(known, Arrival)
        return known
    peer = scope["client"][0] if scope.get("client") else ""
    found = passed_on(peer, headers.getlist, proxies)
    if found.client != peer:
        scope["client"] = (found.client, 0)
    asked = scope["path"]
    scope["path"], whole = below(asked, base)
    inner = base if whole and not found.prefix.endswith(base) else ""
    seen = found.prefix + inner
    arrival = scope[ARRIVAL] = Arrival(
        prefix=seen or base,
        cookie_path=seen,
        tls=found.tls,
        bare=bool(base) and asked == base,
        ignored="" if found.believed else _likely_proxy(peer, headers),
    )
    return arrival


def arrival_of(scope: Scope) -> Arrival:
    """The arrival that `arrive` found."""
    found: Arrival = scope.get(ARRIVAL) or Arrival()
    return found


def to_directory(scope: Scope, base: str) -> Response:
    """Sends a browser from `/asr` to `/asr/`, where the relative addresses of a page lead below it."""
    query = scope.get("query_string", b"").decode("latin-1")
    place = f"{base.rpartition('/')[2]}/{'?' if query else ''}{query}"
    return Response(status_code=308, headers={"location": place, "cache-control": "no-store"})


def is_read(scope: Scope) -> bool:
    """Whether the request changes nothing."""
    return scope["type"] == "http" and scope["method"] in ("GET", "HEAD")


def _likely_proxy(peer: str, headers: Mapping[str, str]) -> str:
    """A peer of this machine or network that passed a request on."""
    if "x-forwarded-for" not in headers and "forwarded" not in headers:
        return ""
    try:
        near = plain_address(peer).is_private if peer else True
    except ValueError:
        return ""
    return (peer or UNIX) if near else ""
