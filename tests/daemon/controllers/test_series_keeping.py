"""Charts survive a restart of the daemon; a file that is no series costs the charts only."""

from __future__ import annotations

import asyncio
from pathlib import Path

import structlog
from tests.daemon.upkeep.clocks import HandClock
from tests.fakes.no_thread_free import no_thread_free

from modelward.daemon.controllers.series_keeping import CLOCK_SECONDS, WRITE_SECONDS, SeriesKeeping
from modelward.daemon.health.series import Series
from modelward.daemon.workers.traffic import AnswerCounts, Traffic


async def trusted() -> str:
    return ""


async def idle(keeping: SeriesKeeping) -> None:
    """One look, and what it began."""
    await keeping.ensure()
    assert keeping._busy is not None
    await keeping._busy


def test_the_next_daemon_shows_what_the_last_one_measured(tmp_path: Path) -> None:
    async def lives() -> list[float | None]:
        clock, former, counted = HandClock(), Series(["a"], 10.0), Traffic(5.0)
        began = clock.wall()
        counted.versions["v1"] = AnswerCounts(requests=7)
        keeping = SeriesKeeping(tmp_path / "series.bin", lambda: former, counted, clock, trusted)
        await idle(keeping)
        former.add(clock.wall(), {"a": 1.0})
        await keeping.ensure()
        assert not (tmp_path / "series.bin").exists()  # rarely
        clock.advance(WRITE_SECONDS)
        await idle(keeping)
        former.add(clock.wall(), {"a": 2.0})
        await keeping.stop()
        after, again = Series(["a"], 10.0), Traffic(900.0)
        await idle(SeriesKeeping(tmp_path / "series.bin", lambda: after, again, clock, trusted))
        assert (again.versions["v1"].requests, again.began) == (7, began)
        return after.answer("1h").series["a"]

    assert asyncio.run(lives()) == [1.0, 2.0]


def test_a_disk_that_hangs_makes_no_round_due(tmp_path: Path) -> None:
    async def life() -> None:
        clock, series = HandClock(), Series(["a"], 10.0)
        keeping = SeriesKeeping(tmp_path / "series.bin", lambda: series, Traffic(0.0), clock, trusted)
        with no_thread_free():
            await keeping.ensure()
            clock.advance(WRITE_SECONDS)
            assert keeping.next_due() is None
        assert keeping._busy is not None
        await keeping._busy
        assert keeping.next_due() == clock.monotonic()

    asyncio.run(life())


def test_a_file_that_is_no_series_and_a_directory_that_is_gone_stop_nothing(tmp_path: Path) -> None:
    async def life() -> None:
        clock, series = HandClock(), Series(["a"], 10.0)
        (tmp_path / "series.bin").write_bytes(b"half a fi")
        await idle(SeriesKeeping(tmp_path / "series.bin", lambda: series, Traffic(0.0), clock, trusted))
        keeping = SeriesKeeping(tmp_path / "gone" / "series.bin", lambda: series, Traffic(0.0), clock, trusted)
        await idle(keeping)
        await keeping.stop()
        await keeping.stop()

    with structlog.testing.capture_logs() as logs:
        asyncio.run(life())
    assert [entry["because"] for entry in logs] == ["its checksum is wrong", "No such file or directory"]


def test_nothing_is_recalled_or_overwritten_while_the_wall_clock_is_not_trusted(tmp_path: Path) -> None:
    trouble, path = [""], tmp_path / "series.bin"

    async def clock_trouble() -> str:
        return trouble[0]

    async def lives() -> None:
        clock, series, counted = HandClock(), Series(["a"], 10.0), Traffic(5.0)
        former = SeriesKeeping(path, lambda: series, counted, clock, clock_trouble)
        await idle(former)
        series.add(clock.wall(), {"a": 1.0})
        await former.stop()
        kept, began, trouble[0] = path.read_bytes(), clock.wall(), "it is behind"
        clock.step(-clock.wall())  # a boot without a battery: 1970
        after, again = Series(["a"], 10.0), Traffic(clock.wall())
        keeping = SeriesKeeping(path, lambda: after, again, clock, clock_trouble)
        await idle(keeping)
        after.add(clock.wall(), {"a": 0.0})
        await keeping.stop()
        assert path.read_bytes() == kept
        clock.advance(CLOCK_SECONDS)
        clock.step(began + 60.0 - clock.wall())
        trouble[0] = ""
        await idle(keeping)
        assert after.answer("1h").series["a"] == [1.0] and again.began == began

    asyncio.run(lives())
