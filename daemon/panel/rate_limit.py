"""Limits how many wrong tokens are answered and logged one by one. Pure: times are an argument.

Each address has a few attempts and gets one back at intervals, and so have all addresses together. Valid tokens are
checked first and never counted here, so others cannot lock anyone out.
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
    """`full_at`: when all attempts are available again, monotonic seconds."""

    full_at: float = 0.0

    def wait(self, now: float, tries: int, each: float) -> float:
        return max(0.0, self.full_at - now - (tries - 1) * each)

    def spend(self, now: float, each: float) -> None:
        self.full_at = max(self.full_at, now) + each


class LoginAttempts(Struct):
    """The recent wrong tokens."""

    _all: _Bucket = field(default_factory=_Bucket)
    _by_place: dict[str, _Bucket] = field(default_factory=dict)

    def wait_seconds(self, address: str, now: float) -> float:
        """The seconds until this address has an attempt; 0 when it has one now."""
        mine = self._by_place.get(place(address), _Bucket())
        return max(
            mine.wait(now, TRIES, RETURN_SECONDS),
            self._all.wait(now, TRIES_OF_ALL, RETURN_SECONDS_OF_ALL),
        )

    def failed(self, address: str, now: float) -> None:
        """Counts one wrong token."""
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
