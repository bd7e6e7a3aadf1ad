"""Decides whether an address is this machine's own: a client with such an address may do what others need a token for.

Pure: it uses no resolver. An IPv4 address written as an IPv6 one (::ffff:127.0.0.1) counts as the IPv4 address.
"""

from __future__ import annotations

import ipaddress

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


def plain_address(text: str) -> IPAddress:
    """The address without its zone; an IPv4 one written as IPv6 becomes IPv4. Raises ValueError."""
    address = ipaddress.ip_address(text.partition("%")[0])
    return getattr(address, "ipv4_mapped", None) or address


def is_loopback(host: str) -> bool:
    """Whether an IP address can only be this machine's own. A name never is, not even "localhost"."""
    try:
        return plain_address(host).is_loopback
    except ValueError:
        return False


def is_this_machine(host: str) -> bool:
    """The same for a configured host, where people also write "localhost"."""
    return host == "localhost" or is_loopback(host)
