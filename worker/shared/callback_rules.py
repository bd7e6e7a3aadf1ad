"""Decides to which addresses a job may report: only to those that the configuration lists. Pure.

An entry is the beginning of a URL, or a network to which host names may lead. Workers check the URL when they accept a
job. The daemon checks it again before it connects, with every address of its name. Invariant: a URL that two programs
might read differently is refused.
"""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from collections.abc import Iterable
from typing import Final, NamedTuple
from urllib.parse import unquote, urlsplit

from .loopback import IPAddress, plain_address

MAX_URL_CHARS: Final = 1024
PORTS: Final = {"http": 80, "https": 443}
_PLAIN: Final = re.compile(r"[!-~]+")
_NO_CODE: Final = re.compile(r"%(?![0-9a-f]{2})", re.IGNORECASE)
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_DOTS: Final = re.compile(r"(\.{1,2}|[.\s]*\s[.\s]*)([;,?#].*)?")
_OTHER_DOTS: Final = {ord(sign): "." for sign in "\u3002\uff61"}
"""The full stops that names of hosts may have in place of a dot, and that NFKC leaves as they are."""
_DECODED_AT_MOST: Final = 4  # times that programs one behind the other may decode a path


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
    if port == 0:
        raise BadCallback("its port is 0")
    if _leaves(path):
        raise BadCallback("its path holds . or .. or a hidden separator")
    return CallbackUrl(scheme, host, port or PORTS[scheme], path + (f"?{parts.query}" if parts.query else ""))


def _leaves(path: str) -> bool:
    """Whether some program may read the path as one that leads elsewhere. Such a program decodes it once or again, cuts
    it at a semicolon, or takes full-width signs for those of ASCII.
    """
    segments = path.count("/")
    for _ in range(_DECODED_AT_MOST):
        path = unicodedata.normalize("NFKC", path).translate(_OTHER_DOTS)
        if _NO_CODE.search(path) or "\\" in path or _CONTROL.search(path) or path.count("/") != segments:
            return True
        if any(_DOTS.fullmatch(part) for part in path.split("/")):
            return True
        try:
            decoded = unquote(path, errors="strict")
        except UnicodeDecodeError:
            return True
        if decoded == path:
            return False
        path = decoded
    return True


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
    if not address.is_global or address.is_multicast or _elsewhere(address):
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


def _elsewhere(address: IPAddress) -> bool:
    """Whether an IPv6 address is not that of a host on the internet, or contains an IPv4 one.

    A gateway may lead the latter into a private network.
    """
    if isinstance(address, ipaddress.IPv4Address):
        return False
    return address not in _UNICAST or address in _EXAMPLES or bool(address.sixtofour or address.teredo)


_UNICAST: Final = ipaddress.ip_network("2000::/3")
_EXAMPLES: Final = ipaddress.ip_network("3fff::/20")
