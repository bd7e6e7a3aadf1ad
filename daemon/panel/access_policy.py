"""Decides whether a request over TCP is answered. Pure: facts of the request in; the refusal, or None,
out.

Any web page can make a browser on this machine send requests here. So the host name in the request must be one of ours,
which stops DNS rebinding. Requests that another site started are refused. A change needs a header that no HTML form can
send.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from enum import StrEnum
from typing import Final
from urllib.parse import urlsplit

from msgspec import Struct


class Access(StrEnum):
    """The kind of access that a request needs."""

    OPEN = "open"  # the page itself, the login, whether we live
    READ = "read"
    CHANGE = "change"


class Rules(Struct, frozen=True):
    """`names` are our host names; addresses are always ours. A page of one of `hosts` is ours too, whatever Host
    a proxy sends. With `asks`, reading and changing need a known client.

    With `by_user`, an operator's own connection from this machine is known without a token.
    """

    names: frozenset[str]
    asks: bool = True
    by_user: bool = True
    hosts: frozenset[str] = frozenset()


class PanelRequest(Struct, frozen=True):
    """The facts of one request. Headers are None when they were not sent; `known`: its token or session is valid."""

    access: Access
    host: str | None
    origin: str | None = None
    site: str | None = None  # Sec-Fetch-Site
    marked: bool = False  # X-Modelward was sent
    bearer: bool = False
    known: bool = False
    write: bool = False


class Refusal(Struct, frozen=True):
    """The answer to a refused request."""

    status: int
    kind: str
    message: str


def refusal(asked: PanelRequest, rules: Rules) -> Refusal | None:
    """Why this request is not answered; None when it is."""
    if not is_ours(asked.host, rules.names):
        names = ", ".join(sorted(rules.names))
        said = (asked.host or "")[:80]
        return Refusal(421, "wrong_host", f"cannot answer for host {said!r}: ask for an address of ours, or {names}")
    if because := _foreign(asked, rules.hosts):
        return Refusal(403, "cross_site", f"cannot answer: {because}")
    if asked.write and not asked.bearer and not asked.marked:
        return Refusal(403, "header_missing", "cannot change anything: the header X-Modelward is missing")
    if asked.known or not needs_token(asked.access, rules):
        return None
    return Refusal(
        401,
        "token_missing",
        "cannot answer: log in with the link that `modelward panel` prints, or send a token in Authorization: Bearer",
    )


def needs_token(access: Access, rules: Rules) -> bool:
    """Whether this access needs a known client."""
    return rules.asks and access is not Access.OPEN


FORWARDED: Final = frozenset({"forwarded", "via", "x-real-ip", "x-client-ip", "true-client-ip", "cf-connecting-ip"})


def is_forwarded(names: Iterable[str]) -> bool:
    """Whether these header names (small letters) show that another program passed the request on.

    Such a request is not the program's own, so the user that the program runs as proves nothing.
    """
    return any(name in FORWARDED or name.startswith("x-forwarded-") for name in names)


def is_ours(host: str | None, names: frozenset[str]) -> bool:
    """Whether a Host header has an address, localhost, or one of `names`. The port may be that of a tunnel."""
    name = host_name(host)
    if not name:
        return False
    if name in names or name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def host_name(host: str | None) -> str:
    """The name in a Host header, in small letters and without its port; "" when there is none or it is malformed."""
    if not host or any(sign in host for sign in "/\\@?# \t,"):
        return ""
    try:
        parts = urlsplit(f"//{host}")
        _ = parts.port
    except ValueError:
        return ""
    return (parts.hostname or "").removesuffix(".")


def _foreign(asked: PanelRequest, hosts: frozenset[str]) -> str:
    """The sign that another site started a request; "" for none."""
    if asked.access is Access.OPEN and not asked.write:
        return ""  # a link to us from elsewhere may open the page
    if asked.site is not None and asked.site not in ("same-origin", "none"):
        return "the request was started by another site"
    if asked.origin is not None and not _same(asked.origin, asked.host, hosts):
        return f"the request comes from {asked.origin[:80]!r}"
    return ""


def _same(origin: str, host: str | None, hosts: frozenset[str]) -> bool:
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    if parts.scheme not in ("http", "https") or not parts.netloc:
        return False
    return parts.netloc.lower() == (host or "").lower() or host_name(parts.netloc) in hosts
