"""Heartbeats on a real socket: they arrive, say when something is wrong, and count what does not arrive."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from tests.fakes.receivers import FakeReceiver, Reply, fake_receiver
from tests.support import soon

from modelward.daemon.config.load import Config, parse
from modelward.daemon.controllers.heartbeat import Heartbeat
from modelward.daemon.system.clock import SystemClock


class FastClock(SystemClock):
    """A minute passes in a second."""

    def monotonic(self) -> float:
        return super().monotonic() * 60


Work = Callable[[Heartbeat, list[str]], Awaitable[None]]


def during(config: Config, work: Work) -> None:
    async def go() -> None:
        critical: list[str] = []
        heartbeat = Heartbeat(lambda: config, FastClock(), host="box", critical=lambda: critical, serving=lambda: "v1")
        await heartbeat.ensure()
        try:
            await work(heartbeat, critical)
        finally:
            await heartbeat.stop()

    asyncio.run(go())


def beating(receiver: FakeReceiver, path: str = "/ping/T0ken") -> Config:
    return parse(f'alerts.heartbeat = "http://127.0.0.1:{receiver.port}{path}"', "test")


def test_beats_at_once_and_says_failing_and_well_again_when_that_changes() -> None:
    with fake_receiver() as receiver:

        async def work(heartbeat: Heartbeat, critical: list[str]) -> None:
            await soon(lambda: len(receiver.posts) == 1)
            critical.append("the disk is full")
            heartbeat.check()
            await soon(lambda: len(receiver.posts) == 2)
            critical.clear()
            heartbeat.check()
            await soon(lambda: len(receiver.posts) == 3)
            assert heartbeat.failures == 0
            report = heartbeat.report()
            assert report is not None and report.delivered and not report.failed

        during(beating(receiver), work)
    assert [post.path for post in receiver.posts] == ["/ping/T0ken", "/ping/T0ken/fail", "/ping/T0ken"]
    assert [post.raw.decode() for post in receiver.posts][:2] == ["box: serving v1", "box: the disk is full"]


def test_what_does_not_arrive_is_counted_and_says_why_without_the_address() -> None:
    with fake_receiver(Reply(500)) as receiver:

        async def work(heartbeat: Heartbeat, critical: list[str]) -> None:
            await soon(lambda: heartbeat.failures >= 1)
            (figure,) = heartbeat.figures()
            assert (figure.metric, figure.value) == ("heartbeat_failures", 1.0)
            assert figure.because == "it answered 500" and "T0ken" not in str(heartbeat.report())
            report = heartbeat.report()
            assert report is not None and report.failed and not report.delivered
            assert report.failed_because == "it answered 500"

        during(beating(receiver), work)


def test_without_an_address_nothing_is_sent_and_nothing_is_alarming() -> None:
    async def work(heartbeat: Heartbeat, critical: list[str]) -> None:
        await asyncio.sleep(0)
        assert heartbeat.figures() == [] and heartbeat.report() is None

    during(Config(), work)
