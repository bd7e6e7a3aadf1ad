"""Traffic: what `GET /v1/traffic` answers."""

from __future__ import annotations

from msgspec import Struct


class VersionTraffic(Struct, frozen=True):
    """What a version answered: so many requests, of these so many with 500 and above.

    The median and the 95th percentile of the durations are estimated from their counts by length; null for none.
    """

    version: str
    requests: int
    errors: int
    p50_seconds: float | None
    p95_seconds: float | None


class TrafficAnswer(Struct, frozen=True):
    """Each version that answered requests since `since`, RFC 3339 in UTC; the one that answered last comes first."""

    since: str
    versions: list[VersionTraffic]
