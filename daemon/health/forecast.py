"""Estimates when a disk will be full, from its growth in the last quarter of an hour and in the last six hours.

Pure. It gives an estimate only where both windows agree: a short burst misleads the short window, a slow night the long
one. Points are a minute apart, and their number is limited. Times are monotonic seconds.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from ..units import HOUR, MINUTE, size
from .alerts import Figure

SHORT_SECONDS: Final = 15 * MINUTE
LONG_SECONDS: Final = 6 * HOUR
LEAST_SHORT_SECONDS: Final = 10 * MINUTE
LEAST_LONG_SECONDS: Final = HOUR
AGREE: Final = 3.0
"""The slower of the two may be so many times as slow as the other."""
FAR_HOURS: Final = 720.0
"""What stands for a disk that does not fill."""
MAX_TRACKED: Final = 64
Point = tuple[float, float]


def slope(points: Iterable[Point], now: float, seconds: float, least: float) -> float | None:
    """The change per second by least squares over the last `seconds`; None when the points cover less than `least`."""
    found = [(at - now, value) for at, value in points if now - at <= seconds]
    if len(found) < 3 or -found[0][0] < least:
        return None
    middle = sum(at for at, _ in found) / len(found)
    mean = sum(value for _, value in found) / len(found)
    spread = sum((at - middle) ** 2 for at, _ in found)
    return sum((at - middle) * (value - mean) for at, value in found) / spread if spread else None


def hours_left(points: Iterable[Point], now: float) -> float | None:
    """Hours until no bytes are free, at the slower of two rates that agree. FAR_HOURS: the disk does not fill. None:
    unknown.
    """
    points = tuple(points)
    short = slope(points, now, SHORT_SECONDS, LEAST_SHORT_SECONDS)
    long = slope(points, now, LONG_SECONDS, LEAST_LONG_SECONDS)
    if short is None or long is None:
        return None
    fast, slow = min(short, long), max(short, long)
    if slow >= 0 or fast < slow * AGREE:
        return FAR_HOURS
    return min(FAR_HOURS, points[-1][1] / -slow / HOUR)


class _Fill:
    """Points of one disk or class, a minute apart."""

    def __init__(self) -> None:
        self.points: deque[Point] = deque(maxlen=int(LONG_SECONDS / MINUTE) + 1)

    def add(self, now: float, value: float) -> bool:
        """Whether it was kept."""
        if self.points and now - self.points[-1][0] < MINUTE:
            return False
        self.points.append((now, value))
        return True


class Forecast:
    """See the module. It gets every measurement and returns figures."""

    def __init__(self) -> None:
        self._disks: dict[str, _Fill] = {}
        self._classes: dict[str, _Fill] = {}
        self._figures: tuple[Figure, ...] = ()
        self._now = 0.0

    def add(self, now: float, free: Mapping[str, int], classes: Mapping[str, int]) -> None:
        """Adds free bytes by mount and used bytes by disk class. It forgets names that are missing."""
        self._now = now
        _keep(self._classes, classes, now)
        if _keep(self._disks, free, now):
            self._figures = tuple(self._made())

    def figures(self) -> list[Figure]:
        """The hours left for each disk that is known for long enough."""
        return list(self._figures)

    def _made(self) -> Iterator[Figure]:
        for mount, track in self._disks.items():
            hours = hours_left(track.points, self._now)
            if hours is not None:
                because = self._grower() if hours < FAR_HOURS else "it does not fill any more"
                yield Figure("disk_full_hours", round(hours, 2), mount, because)

    def sentence(self) -> str:
        """The disk that fills first, as a sentence; "" when no disk fills."""
        soonest = min(self.figures(), key=lambda figure: figure.value or 0.0, default=None)
        if soonest is None or soonest.value is None or soonest.value >= FAR_HOURS:
            return ""
        return f"the disk under {soonest.subject} will be full in {soonest.value:.1f} h: {soonest.because}"

    def _grower(self) -> str:
        """The class that grew most in the long window."""
        rates = {
            name: slope(track.points, self._now, LONG_SECONDS, LEAST_LONG_SECONDS) or 0.0
            for name, track in self._classes.items()
        }
        name = max(rates, key=lambda name: rates[name], default="")
        if not name or rates[name] * HOUR < 1:
            return "no disk class grows; something else on this disk does"
        return f"the class {name} grows fastest, by {size(int(rates[name] * HOUR))} an hour"


def _keep(tracks: dict[str, _Fill], values: Mapping[str, int], now: float) -> bool:
    """Whether anything is different afterwards."""
    changed = tracks.keys() != values.keys()
    for name in [name for name in tracks if name not in values]:
        del tracks[name]
    for name, value in values.items():
        if name in tracks or len(tracks) < MAX_TRACKED:
            changed |= tracks.setdefault(name, _Fill()).add(now, float(value))
    return changed
