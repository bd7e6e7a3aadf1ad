"""Decides which client a request comes from, and by which scheme and prefix, if trusted proxies passed it on.

Pure. Only a peer that the operator named is believed. X-Forwarded-For, or without it Forwarded, is read from its end:
the first address that is no trusted proxy is the client. Invariants: headers of any other peer change nothing; at most
MAX_HOPS entries are read, whatever was sent.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Final

from msgspec import Struct

from .base_path import prefix_in
from .loopback import plain_address

UNIX: Final = "unix"
"""The entry for peers that come by a Unix socket."""
MAX_HOPS: Final = 32
MAX_HOP_CHARS: Final = 64
_MAPPED_BITS: Final = 96
"""What ::ffff:0:0/96 has before the address of IPv4."""

IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network
HeaderValues = Callable[[str], Sequence[str]]
"""The values of all headers of a name, in their order."""


class PassedOn(Struct, frozen=True):
    """What is known of a request. `believed`: its peer is a trusted proxy. `tls`: its client used it. `prefix` was
    removed from its path.
    """

    client: str
    tls: bool = False
    prefix: str = ""
    believed: bool = False


def check_proxy(text: str) -> str:
    """An entry of `trusted_proxies` in its usual spelling. Raises ValueError with what would be right."""
    if text == UNIX:
        return text
    try:
        network = _network(text)
    except ValueError:
        raise ValueError('an address or a network, like "10.0.0.5", "10.0.0.0/8" or "fd00::/8", or "unix"') from None
    return str(network.network_address) if network.prefixlen == network.max_prefixlen else str(network)


def passed_on(peer: str, values: HeaderValues, proxies: tuple[str, ...]) -> PassedOn:
    """What the headers show of a request whose peer has this address ("" for a Unix socket)."""
    if not proxies or not _is_trusted(peer, proxies):
        return PassedOn(peer)
    elements = _entries(values("forwarded"))
    hops = _entries(values("x-forwarded-for")) or [_member(element, "for") for element in elements]
    schemes = _entries(values("x-forwarded-proto")) or [_member(element, "proto") for element in elements]
    prefixes = _entries(values("x-forwarded-prefix"))
    return PassedOn(
        _client(peer, hops, proxies),
        bool(schemes) and schemes[0].lower() == "https",
        prefix_in(prefixes[0]) if prefixes else "",
        believed=True,
    )


def _client(peer: str, hops: Sequence[str], proxies: tuple[str, ...]) -> str:
    client = peer
    for hop in hops:
        if not (address := _address(hop)):
            return client  # what comes before it is no more to be believed
        client = address
        if not _is_trusted(client, proxies):
            return client
    return client


def _entries(values: Sequence[str]) -> list[str]:
    """The last MAX_HOPS entries of a list in one header or several, the last one first."""
    found = ",".join(values).rsplit(",", MAX_HOPS)[-MAX_HOPS:] if values else []
    return [entry.strip() for entry in reversed(found)]


def _member(element: str, name: str) -> str:
    """The value under this name in an element of Forwarded, "" when it is not there.

    A comma in quotes ends an element too. So no client can have the element of a proxy read as part of its own.
    """
    for pair in element.split(";", 8)[:8]:
        key, _, value = pair.partition("=")
        if key.strip().lower() == name:
            return value.strip().strip('"')
    return ""


def _address(text: str) -> str:
    """The address in an entry, without its port; "" for anything else."""
    if len(text) > MAX_HOP_CHARS:
        return ""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        return str(plain_address(text))
    except ValueError:
        return ""


def _is_trusted(address: str, proxies: tuple[str, ...]) -> bool:
    if not address:
        return UNIX in proxies
    try:
        parsed = plain_address(address)
    except ValueError:
        return False
    return any(parsed in network for network in _networks(proxies))


@lru_cache(maxsize=4)
def _networks(proxies: tuple[str, ...]) -> tuple[IPNetwork, ...]:
    return tuple(_network(entry) for entry in proxies if entry != UNIX)


def _network(text: str) -> IPNetwork:
    """An address or a network; one of IPv4 that is written as IPv6 becomes IPv4, as peers do. Raises ValueError."""
    network = ipaddress.ip_network(text)
    mapped = getattr(network.network_address, "ipv4_mapped", None)
    if mapped is None or network.prefixlen < _MAPPED_BITS:
        return network
    return ipaddress.IPv4Network((mapped, network.prefixlen - _MAPPED_BITS))
