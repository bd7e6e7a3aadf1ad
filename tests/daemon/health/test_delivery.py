"""Queues, paces and patience: what one receiver does is never felt by another, and nothing grows without end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic

import pytest
from tests.fakes.receivers import Reply, fake_receiver
from tests.support import soon

from modelward.daemon.config.load import parse
from modelward.daemon.health.addresses import Address, addresses
from modelward.daemon.health.addresses import receivers as configured
from modelward.daemon.health.delivery import (
    MAX_QUEUE,
    MAX_TRIES,
    Notifier,
    Outcome,
    retry_seconds,
)
from modelward.daemon.health.message_text import Text
from modelward.daemon.system.clock import SystemClock

A, B = "http://a.example/x", "http://b.example/x"


def text(name: str) -> Text:
    return Text(name, name, "failure", {})


class Receivers:
    """Receivers by script: `outcomes` by url, the last one for ever; `hangs` never answer."""

    def __init__(self, **outcomes: list[Outcome]) -> None:
        self.outcomes = {"http://a.example/x": [Outcome()], "http://b.example/x": [Outcome()]}
        self.outcomes |= {f"http://{name}.example/x": given for name, given in outcomes.items()}
        self.hangs: set[str] = set()
        self.got: list[tuple[str, str]] = []
        self.times: list[float] = []

    async def __call__(self, address: Address, said: Text) -> Outcome:
        if address.url in self.hangs:
            await asyncio.Event().wait()
        self.got.append((address.url, said.title))
        self.times.append(monotonic())
        script = self.outcomes[address.url]
        return script.pop(0) if len(script) > 1 else script[0]

    def titles(self, url: str) -> list[str]:
        return [title for at, title in self.got if at == url]


def run(work: Callable[[Receivers, Notifier], Awaitable[None]], receivers: Receivers, **how: float) -> None:
    async def go() -> None:
        notifier = Notifier(SystemClock(), lambda: None, receivers, **{"first_retry_seconds": 0.01, **how})
        notifier.configure(addresses((A, B)))
        try:
            await work(receivers, notifier)
        finally:
            await notifier.stop()

    asyncio.run(go())


def put(notifier: Notifier, *names: str) -> list[str]:
    arrived: list[str] = []
    for name in names:
        notifier.put(lambda _, name=name: text(name), lambda name=name: arrived.append(name))  # type: ignore[misc]
    return arrived


def test_every_receiver_gets_every_message_in_order() -> None:
    async def work(receivers: Receivers, notifier: Notifier) -> None:
        arrived = put(notifier, "one", "two")
        await soon(lambda: len(receivers.got) == 4)
        assert receivers.titles(A) == receivers.titles(B) == ["one", "two"]
        await soon(lambda: arrived.count("one") == arrived.count("two") == 2)

    run(work, Receivers())


def test_what_was_not_taken_is_tried_again_until_it_is() -> None:
    async def work(receivers: Receivers, notifier: Notifier) -> None:
        arrived = put(notifier, "one")
        await soon(lambda: len(arrived) == 2)
        assert receivers.titles(A) == ["one"] * 4
        (a, b) = notifier.channels
        assert (a.counts.failed, a.counts.delivered, a.failures) == (3, 1, 0)
        assert (b.counts.failed, b.counts.delivered) == (0, 1)

    run(work, Receivers(a=[Outcome("no"), Outcome("no"), Outcome("code 130101"), Outcome()]))


def test_a_receiver_that_hangs_delays_no_other_and_its_queue_is_bounded() -> None:
    async def work(receivers: Receivers, notifier: Notifier) -> None:
        receivers.hangs.add(A)
        names = [f"m{n}" for n in range(MAX_QUEUE + 50)]
        put(notifier, *names[:10])
        await soon(lambda: receivers.titles(B) == names[:10])
        put(notifier, *names[10:])
        (a, _) = notifier.channels
        assert len(a.queue) == MAX_QUEUE
        assert a.counts.dropped == 50
        assert a.queue[-1].write(a.address) == text(names[-1])

    run(work, Receivers(), minute_seconds=0.0)


def test_waits_as_long_as_the_receiver_asks() -> None:
    async def work(receivers: Receivers, notifier: Notifier) -> None:
        began = monotonic()
        put(notifier, "one")
        await soon(lambda: len(receivers.titles(A)) == 2)
        assert monotonic() - began >= 0.3

    run(work, Receivers(a=[Outcome("it answered 429", 0.3), Outcome()]))


def test_gives_a_message_up_after_so_many_tries_and_goes_on() -> None:
    async def work(receivers: Receivers, notifier: Notifier) -> None:
        put(notifier, "bad", "good")
        await soon(lambda: "good" in receivers.titles(A))
        (a, _) = notifier.channels
        assert receivers.titles(A).count("bad") == MAX_TRIES
        assert a.counts.dropped == 1

    script = [Outcome("no")] * MAX_TRIES + [Outcome()]
    run(work, Receivers(a=script), first_retry_seconds=0.0, minute_seconds=0.0)


def test_at_most_fifteen_in_a_minute() -> None:
    async def work(receivers: Receivers, notifier: Notifier) -> None:
        put(notifier, *(str(n) for n in range(31)))
        await soon(lambda: len(receivers.titles(A)) == 31)
        times = [at for at, (url, _) in zip(receivers.times, receivers.got, strict=True) if url == A]
        assert (
            min(later - at for at, later in zip(times, times[15:], strict=False)) >= 0.45
        )  # a "minute", to a clock's tick

    run(work, Receivers(), minute_seconds=0.5)


def test_a_message_with_nothing_for_a_receiver_is_not_sent_to_it() -> None:
    async def work(receivers: Receivers, notifier: Notifier) -> None:
        notifier.put(lambda address: None if address.label.startswith("1") else text("one"))
        put(notifier, "two")
        await soon(lambda: len(receivers.got) == 3)
        assert receivers.titles(A) == ["two"]
        assert notifier.channels[0].counts.delivered == 1

    run(work, Receivers())


def test_a_receiver_that_stays_keeps_its_queue_and_one_that_goes_is_forgotten() -> None:
    async def work(receivers: Receivers, notifier: Notifier) -> None:
        receivers.hangs |= {A, B}
        put(notifier, "one")
        a = notifier.channels[0]
        notifier.configure(addresses((A,)))
        notifier.configure(addresses((A,)))
        assert notifier.channels == (a,)
        assert len(a.queue) == 1
        notifier.configure(())
        assert notifier.channels == ()

    run(work, Receivers())


def test_the_same_address_twice_is_one_receiver() -> None:
    async def work(receivers: Receivers, notifier: Notifier) -> None:
        notifier.configure(addresses((A, A, B)))
        assert [channel.address.label for channel in notifier.channels] == ["1:webhook", "2:webhook"]

    run(work, Receivers())


SMS = """[alerts]
to = ["http://a.example/x"]
webhook = [
    {url = "http://a.example/x", body = "to=oncall&t=$title", kind = "form", severity = "critical"},
    {url = "http://a.example/x", body = "to=team&t=$title", kind = "form", severity = "warning"},
    {url = "http://b.example/x", body = "$title", kind = "text", severity = "critical"},
    {url = "http://b.example/x", body = "$title", kind = "text", severity = "warning"},
]
"""


def test_receivers_that_share_an_address_each_get_their_own() -> None:
    async def work(receivers: Receivers, notifier: Notifier) -> None:
        for _ in range(3):  # as reloads do
            notifier.configure(())
            notifier.configure(configured(parse(SMS, "test").alerts))
        channels = notifier.channels
        assert [(c.address.label, sorted(c.address.severities)) for c in channels] == [
            ("1:webhook", ["critical", "warning"]),
            ("2:webhook", ["critical"]),
            ("3:webhook", ["warning"]),
            ("4:webhook", ["critical", "warning"]),
        ]
        for severity in ("critical", "warning"):
            notifier.put(lambda address: text(address.label), to=lambda address, s=severity: s in address.severities)  # type: ignore[misc]
        await soon(lambda: len(receivers.got) == 6)
        assert sorted(receivers.titles(A)) == ["1:webhook", "1:webhook", "2:webhook", "3:webhook"]
        tasks = [task for task in asyncio.all_tasks() if task.get_name() == "alert delivery"]
        assert {task for task in tasks if not task.done()} == {channel.task for channel in channels}

    run(work, Receivers())


def test_a_message_that_cannot_be_worded_is_dropped_and_the_next_one_goes() -> None:
    async def work(receivers: Receivers, notifier: Notifier) -> None:
        taken: list[str] = []
        notifier.put(lambda _: text("\udce4".encode().decode()))
        notifier.put(lambda _: text("one"), lambda: taken.remove("what is not there"))
        put(notifier, "two")
        await soon(lambda: receivers.titles(A) == receivers.titles(B) == ["one", "two"])
        assert [channel.counts.dropped for channel in notifier.channels] == [1, 1]

    run(work, Receivers())


def test_a_test_tries_all_at_once_and_says_how_each_went() -> None:
    async def work(receivers: Receivers, notifier: Notifier) -> None:
        results = await notifier.test(lambda _: text("test"))
        assert [(r.channel, r.delivered, r.because) for r in results] == [
            ("1:webhook", False, "it answered 500"),
            ("2:webhook", True, ""),
        ]
        assert [channel.counts.failed for channel in notifier.channels] == [0, 0]

    run(work, Receivers(a=[Outcome("it answered 500")]))


@pytest.mark.parametrize(("failures", "seconds"), [(0, 1), (1, 1), (2, 2), (5, 16), (9, 256), (10, 300), (1000, 300)])
def test_patience_doubles_up_to_five_minutes(failures: int, seconds: float) -> None:
    assert retry_seconds(failures) == seconds


def test_one_that_is_well_is_reached_while_others_misbehave() -> None:
    """Real children, real sockets: three receivers that hang, reset and drip, one that is well."""
    with fake_receiver(Reply(manner="hang")) as one, fake_receiver(Reply(manner="rst")) as two, fake_receiver() as good:

        async def go() -> None:
            notifier = Notifier(SystemClock(), lambda: None)
            urls = [f"http://127.0.0.1:{r.port}/x" for r in (one, two, good)]
            notifier.configure(addresses((*urls, "https://no-such-host.invalid/x")))
            put(notifier, "one", "two")
            await soon(lambda: len(good.posts) == 2)
            assert notifier.channels[0].counts.failed == 0, "the hanging one was waited for"
            await notifier.stop()

        asyncio.run(go())
    assert len(good.posts) == 2
