"""When a disk will be full: two windows that agree, or nothing."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from modelward.daemon.health.forecast import FAR_HOURS, Forecast, hours_left

GIB = 1 << 30
MINUTES = 7 * 60


def points(free: Callable[[float], float], minutes: int = MINUTES) -> list[tuple[float, float]]:
    """Free bytes of each minute; `free` is given the hours that have passed."""
    return [(minute * 60.0, free(minute / 60)) for minute in range(minutes + 1)][-361:]


def left(free: Callable[[float], float], minutes: int = MINUTES) -> float | None:
    return hours_left(points(free, minutes), minutes * 60.0)


@pytest.mark.parametrize(
    ("free", "hours"),
    [
        (lambda h: (20 - h) * GIB, 13.0),  # 1 GiB an hour, 13 are left
        (lambda h: 20 * GIB, FAR_HOURS),
        (lambda h: (20 + h) * GIB, FAR_HOURS),
        (lambda h: 20 * GIB - (h > 6.8) * (h - 6.8) * 20 * GIB, FAR_HOURS),  # a burst of ten minutes
        (lambda h: (20 - min(h, 5)) * GIB, FAR_HOURS),  # it filled all night and stopped
        (lambda h: (20 - h % 1) * GIB, FAR_HOURS),  # swept every hour
        (lambda h: (2000 - h) * GIB, FAR_HOURS),  # months
    ],
)
def test_both_windows_have_to_agree(free: Callable[[float], float], hours: float) -> None:
    assert left(free) == pytest.approx(hours)


def test_a_disk_that_fills_faster_of_late_is_full_at_the_slower_rate() -> None:
    hours = left(lambda h: (20 - h - max(0, h - 6.5)) * GIB)
    assert hours is not None and 9 < hours < 12.5


def test_too_little_is_known_in_the_first_hour() -> None:
    assert left(lambda h: (20 - h) * GIB, 55) is None
    assert left(lambda h: (20 - h) * GIB, 60) == pytest.approx(19.0)


def fed(minutes: int, *, every: float = 10.0) -> Forecast:
    forecast = Forecast()
    for step in range(int(minutes * 60 / every) + 1):
        now = step * every
        hours = now / 3600
        forecast.add(
            now,
            {"/": int((20 - hours) * GIB), "/data": 9 * GIB},
            {"logs": int(hours * 0.7 * GIB), "uploads": int(hours * 0.2 * GIB)},
        )
    return forecast


def test_names_the_disk_the_hours_and_what_grows_fastest() -> None:
    root, data = fed(180, every=30).figures()
    assert (root.metric, root.subject, root.value) == ("disk_full_hours", "/", 17.0)
    assert root.because == "the class logs grows fastest, by 717MiB an hour"
    assert (data.value, data.because) == (FAR_HOURS, "it does not fill any more")
    assert fed(180, every=30).sentence().startswith("the disk under / will be full in 17.0 h: the class logs")
    assert fed(5).figures() == [] and fed(5).sentence() == ""


def test_what_is_kept_is_bounded_and_what_is_gone_is_forgotten() -> None:
    forecast = Forecast()
    for minute in range(400):
        forecast.add(minute * 60.0, {"/m1": GIB}, {})
    for minute in range(400, 403):
        forecast.add(minute * 60.0, {f"/m{n}": GIB for n in range(200)}, {})
    assert len(forecast._disks) == 64 and len(forecast._disks["/m1"].points) == 361
    forecast.add(403 * 60.0, {"/": GIB}, {})
    assert list(forecast._disks) == ["/"]
