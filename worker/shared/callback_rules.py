"""Decides to which addresses a job may report: only to those that the configuration lists. Pure.

An entry is the beginning of a URL, or a network to which host names may lead. Workers check the URL when they accept a
job. The daemon checks it again before it connects, with every address of its name. Invariant: a URL that two programs
might read differently is refused.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from .loopback import IPAddress, plain_address

MAX_URL_CHARS: Final = 1024
PORTS: Final = {"http": 80, "https": 443}
_PLAIN: Final = re.compile(r"[!-~]+")
_HIDDEN: Final = re.compile(r"%(2e|2f|5c|00)", re.IGNORECASE)


class BadCallback(ValueError):
    """A bad URL, or one that no entry allows; the text gives the reason."""


class CallbackUrl(NamedTuple):
    """A URL in its parts. `path` includes its query."""

    scheme: str
    host: str
    port: int
    path: str


def parse_callback(text: str) -> CallbackUrl:
    """Raises BadCallback when the text is not a plain http or https URL."""
    if len(text) > MAX_URL_CHARS:
        raise BadCallback(f"it is longer than {MAX_URL_CHARS} characters")
    if not _PLAIN.fullmatch(text) or "\\" in text:
        raise BadCallback("it holds spaces, backslashes or characters outside ASCII")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as e:
        raise BadCallback("it is not a URL") from e
    scheme, host = parts.scheme.lower(), (parts.hostname or "").lower().rstrip(".")
    if scheme not in PORTS or not host:
        raise BadCallback("it does not begin with http:// or https:// and a host")
    if "@" in parts.netloc or "#" in text:
        raise BadCallback("it holds a user, a password or a fragment")
    path = parts.path or "/"
    if _HIDDEN.search(path) or any(part in (".", "..") for part in path.split("/")):
        raise BadCallback("its path holds . or .. or a hidden separator")
    return CallbackUrl(scheme, host, port or PORTS[scheme], path + (f"?{parts.query}" if parts.query else ""))


def check_entry(entry: str) -> str:
    """What is wrong with an entry of the list; "" for nothing."""
    if network_of(entry) is not None:
        return ""
    try:
        parse_callback(entry)
    except BadCallback as e:
        return str(e)
    return ""


def check_url(text: str, entries: Iterable[str]) -> CallbackUrl:
    """The URL in its parts. Raises BadCallback when it begins with no entry."""
    wanted = parse_callback(text)
    for entry in entries:
        if network_of(entry) is None and _begins(parse_callback(entry), wanted):
            return wanted
    raise BadCallback("jobs.callbacks does not list it")


def check_address(text: str, url: CallbackUrl, entries: Iterable[str]) -> None:
    """Raises BadCallback for a forbidden address to which the host of an allowed `url` led.

    Addresses of the public internet are allowed, and those of a listed network. An address in a listed URL is listed
    too.
    """
    address = plain_address(text)
    if _same(url.host, address):
        return  # the entry that allowed the URL has this very address
    networks = [network for entry in entries if (network := network_of(entry)) is not None]
    if any(address.version == network.version and address in network for network in networks):
        return
    if not address.is_global or address.is_multicast or _embedded(address):
        raise BadCallback(f"its host leads to {address}, which is neither a public address nor in a listed network")


def network_of(entry: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    """The network of an entry; None for a URL."""
    if "://" in entry:
        return None
    try:
        return ipaddress.ip_network(entry, strict=False)
    except ValueError:
        return None


def _begins(entry: CallbackUrl, wanted: CallbackUrl) -> bool:
    if entry[:3] != wanted[:3]:
        return False
    before, path = entry.path, wanted.path
    return path == before or path.startswith(before if before.endswith("/") else (before + "/", before + "?"))


def _same(host: str, address: IPAddress) -> bool:
    try:
        return plain_address(host) == address
    except ValueError:
        return False


def _embedded(address: IPAddress) -> bool:
    """Whether an IPv6 address contains an IPv4 one: a gateway may lead it into a private network."""
    if isinstance(address, ipaddress.IPv4Address):
        return False
    return bool(address.sixtofour or address.teredo or address in _NAT64)


_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")
