"""Decides which client a request counts for, where one client's share is limited: its address, or its IPv6 network.

Pure. The address is that of the request's scope, where `shared.arrival` put what a trusted proxy reported. It never
decides about permissions.
"""

from __future__ import annotations

import ipaddress
from typing import Final

from starlette.requests import Request

from ..shared.loopback import plain_address

NETWORK_BITS: Final = 64
"""A client with IPv6 has a whole network of this size."""


def client_of(request: Request) -> str:
    """The name under which a client's shares are counted."""
    return client_named(request.client.host if request.client else "")


def client_named(client: str) -> str:
    """The same from the client's address, "" for none."""
    try:
        address = plain_address(client)
    except ValueError:
        return client
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    return str(ipaddress.ip_network((int(address), NETWORK_BITS), strict=False))
