"""Decides which client a request counts for, where one client's share is limited: its address, or its IPv6 network.

Pure. A proxy on this machine sends requests of others. So for a loopback peer the last address of X-Forwarded-For
counts, which that proxy wrote itself. It never decides about permissions: another program here can write any address.
"""

from __future__ import annotations

import ipaddress
from typing import Final

from starlette.requests import Request

from ..shared.loopback import is_loopback, plain_address

NETWORK_BITS: Final = 64
"""A client with IPv6 has a whole network of this size."""


def client_of(request: Request) -> str:
    """The name under which a client's shares are counted."""
    peer = request.client.host if request.client else ""
    return client_named(peer, request.headers.get("x-forwarded-for", ""))


def client_named(peer: str, forwarded: str) -> str:
    """The same from the peer's address and the header, "" for none."""
    named = forwarded.rpartition(",")[2].strip() if forwarded and (not peer or is_loopback(peer)) else peer
    try:
        address = plain_address(named)
    except ValueError:
        return peer
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    return str(ipaddress.ip_network((int(address), NETWORK_BITS), strict=False))
