"""How many wrong tokens are answered and logged one by one. Pure: times are an argument.

Each address has a few tries and gets one back every so often, and so have all addresses together. Good tokens are
compared first and never asked here, so that nobody is locked out by what others send.
"""

from __future__ import annotations

import ipaddress
from typing import Final

from msgspec import Struct, field

from ...worker.shared.loopback import plain_address

TRIES: Final = 5
RETURN_SECONDS: Final = 12.0
TRIES_OF_ALL: Final = 60
RETURN_SECONDS_OF_ALL: Final = 1.0
MAX_ADDRESSES: Final = 1000


class _Bucket(Struct):
    """`full_at`: when every try will be there again, monotonic seconds."""

    full_at: float = 0.0

    def wait(self, now: float, tries: int, each: float) -> float:
        return max(0.0, self.full_at - now - (tries - 1) * each)

    def spend(self, now: float, each: float) -> None:
        self.full_at = max(self.full_at, now) + each


class LoginAttempts(Struct):
    """Wrong tokens lately."""

    _all: _Bucket = field(default_factory=_Bucket)
    _by_place: dict[str, _Bucket] = field(default_factory=dict)

    def wait_seconds(self, address: str, now: float) -> float:
        """0 when this address has a try left now."""
        mine = self._by_place.get(place(address), _Bucket())
        return max(
            mine.wait(now, TRIES, RETURN_SECONDS),
            self._all.wait(now, TRIES_OF_ALL, RETURN_SECONDS_OF_ALL),
        )

    def failed(self, address: str, now: float) -> None:
        """Takes one wrong token into account."""
        bucket = self._by_place.pop(place(address), None) or _Bucket()
        while len(self._by_place) >= MAX_ADDRESSES:
            del self._by_place[next(iter(self._by_place))]
        self._by_place[place(address)] = bucket
        bucket.spend(now, RETURN_SECONDS)
        self._all.spend(now, RETURN_SECONDS_OF_ALL)


def place(address: str) -> str:
    """What counts as one address: an IPv6 network of 64 bits belongs to one guest."""
    try:
        parsed = plain_address(address)
    except ValueError:
        return address[:64]
    if isinstance(parsed, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)
