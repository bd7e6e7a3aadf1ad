"""Whether a request over TCP is taken up. Pure: what it says of itself in, the refusal or None out.

A browser here may be told by any page in the world to ask us: therefore the name it asked for must be one of ours (a
rebound DNS name is not), what another site started is refused, and a change must carry a header that no form can send.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from enum import StrEnum
from typing import Final
from urllib.parse import urlsplit

from msgspec import Struct


class Access(StrEnum):
    """What a request needs."""

    OPEN = "open"  # the page itself, the login, whether we live
    READ = "read"
    CHANGE = "change"


class Rules(Struct, frozen=True):
    """`names` are the host names that are ours; addresses always are. `asks`: whoever reads or changes must be known.

    `by_user`: an operator's own connection from this machine is known without a token.
    """

    names: frozenset[str]
    asks: bool = True
    by_user: bool = True


class PanelRequest(Struct, frozen=True):
    """One request. Headers are None when they were not sent; `known` when its token or session is good."""

    access: Access
    host: str | None
    origin: str | None = None
    site: str | None = None  # Sec-Fetch-Site
    marked: bool = False  # X-Modelward was sent
    bearer: bool = False
    known: bool = False
    write: bool = False


class Refusal(Struct, frozen=True):
    """The answer instead."""

    status: int
    kind: str
    message: str


def refusal(asked: PanelRequest, rules: Rules) -> Refusal | None:
    """Why this request is not taken up; None when it is."""
    if not is_ours(asked.host, rules.names):
        names = ", ".join(sorted(rules.names))
        said = (asked.host or "")[:80]
        return Refusal(421, "wrong_host", f"cannot answer for host {said!r}: ask for an address of ours, or {names}")
    if because := _foreign(asked):
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
    """Whether only those who are known may have this."""
    return rules.asks and access is not Access.OPEN


FORWARDED: Final = frozenset({"forwarded", "via", "x-real-ip", "x-client-ip", "true-client-ip", "cf-connecting-ip"})


def is_forwarded(names: Iterable[str]) -> bool:
    """Whether these header names (small letters) say that another program passed the request on.

    What it passes on is not its own: the user that it runs as says nothing.
    """
    return any(name in FORWARDED or name.startswith("x-forwarded-") for name in names)


def is_ours(host: str | None, names: frozenset[str]) -> bool:
    """Whether a Host header names us: an address, localhost, or one of `names`; the port may be a tunnel's."""
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


def _foreign(asked: PanelRequest) -> str:
    """What shows that another site is behind a request; "" when nothing does."""
    if asked.access is Access.OPEN and not asked.write:
        return ""  # a link to us from elsewhere may open the page
    if asked.site is not None and asked.site not in ("same-origin", "none"):
        return "the request was started by another site"
    if asked.origin is not None and not _same(asked.origin, asked.host):
        return f"the request comes from {asked.origin[:80]!r}"
    return ""


def _same(origin: str, host: str | None) -> bool:
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.netloc) and parts.netloc.lower() == (host or "").lower()
