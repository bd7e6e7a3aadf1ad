"""Sends messages to their receivers. Each receiver has its own queue, pace and number of attempts, so none delays
another.

It knows nothing of alerts. A message leaves the queue when it arrived, after 30 attempts, when 100 newer ones follow
it, or when its channel is gone. The sending child gets addresses on its standard input; they are never logged.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Final, Protocol

import structlog
from msgspec import Struct, field
from msgspec.structs import asdict

from ..answers.alerts import ChannelTest
from ..system.background import here
from ..system.clock import Clock
from .addresses import Address, WebhookForm, scrub
from .child_answer import NoAnswer, answer_of
from .message_text import Text

MAX_CHANNELS: Final = 32
MAX_QUEUE: Final = 100
MAX_TRIES: Final = 30
SEND_SECONDS: Final = 10.0
START_SECONDS: Final = 10.0
"""What a child may take besides, to begin and to end, on a busy machine."""
FIRST_RETRY_SECONDS: Final = 1.0
LAST_RETRY_SECONDS: Final = 300.0
PART: Final = "alert delivery"
_UNWORDED: Final[Text | None] = Text("", "", "failure", {})
MODULE: Final = "modelward.daemon.health.sender_process"
_PASSED_ON: Final = (
    "http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR",
)  # fmt: skip


class Outcome(Struct, frozen=True):
    """The result of one attempt. `because` is "" on success; `retry_after` is the wait that the receiver requested, 0
    for none.
    """

    because: str = ""
    retry_after: float = 0.0

    @property
    def delivered(self) -> bool:
        return not self.because


class Sender(Protocol):
    """Makes one attempt within a limited time. Raises nothing but CancelledError."""

    async def __call__(self, address: Address, text: Text) -> Outcome: ...


class Counts(Struct):
    """How many messages of a channel ended in each way; the counts only grow."""

    delivered: int = 0
    failed: int = 0
    dropped: int = 0


class Waiting(Struct, eq=False):
    """A message in a queue. `write` returns its text for a channel, None when it has nothing for that channel."""

    write: Callable[[Address], Text | None]
    arrived: Callable[[], None]
    tries: int = 0


class AlertChannel(Struct):
    """One receiver. `failures` counts failures in a row; `because` is the reason of the last one."""

    address: Address
    queue: deque[Waiting] = field(default_factory=lambda: deque(maxlen=MAX_QUEUE))
    counts: Counts = field(default_factory=Counts)
    failures: int = 0
    because: str = ""
    sent_at: deque[float] = field(default_factory=deque)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None


class Notifier:
    """See the module. To be used on the event loop; `happened` is called when a channel fails or recovers."""

    def __init__(
        self,
        clock: Clock,
        happened: Callable[[], None],
        sender: Sender | None = None,
        *,
        first_retry_seconds: float = FIRST_RETRY_SECONDS,
        minute_seconds: float = 60.0,
    ) -> None:
        self._clock, self._happened, self._send = clock, happened, sender or send_in_child
        self._first_retry, self._minute = first_retry_seconds, minute_seconds
        self._log = structlog.get_logger("alerts")
        self._channels: dict[tuple[str, WebhookForm | None], AlertChannel] = {}
        self._wanted: tuple[Address, ...] | None = None

    def configure(self, wanted: tuple[Address, ...]) -> bool:
        """Sets the receivers; one that stays keeps its queue. It is quick when nothing changed.

        Returns whether messages were lost that waited for a receiver that is gone.
        """
        if wanted == self._wanted:
            return False
        self._wanted = wanted
        if len(wanted) > MAX_CHANNELS:
            self._log.error("alert addresses passed over", count=len(wanted) - MAX_CHANNELS, at_most=MAX_CHANNELS)
        old, self._channels = self._channels, {}
        for address in wanted[:MAX_CHANNELS]:
            if address.key in self._channels:
                continue
            channel = old.pop(address.key, None) or AlertChannel(address)
            channel.address = address
            self._channels[address.key] = channel
            if channel.task is None:
                channel.task = here().start(PART, partial(self._serve, channel), restart=True)
        for channel in old.values():
            if channel.task is not None:
                channel.task.cancel()
        return any(channel.queue for channel in old.values())

    @property
    def channels(self) -> tuple[AlertChannel, ...]:
        return tuple(self._channels.values())

    def put(
        self,
        write: Callable[[Address], Text | None],
        arrived: Callable[[], None] = lambda: None,
        to: Callable[[Address], bool] = lambda address: True,
    ) -> None:
        """Queues a message for the channels `to`; `arrived` is called for each channel that took it. Never blocks."""
        for channel in self._channels.values():
            if not to(channel.address):
                continue
            if len(channel.queue) == MAX_QUEUE:
                channel.counts.dropped += 1
                self._log.error("alert message dropped", channel=channel.address.label, because="its queue is full")
            channel.queue.append(Waiting(write, arrived))
            channel.changed.set()

    async def test(self, write: Callable[[Address], Text]) -> list[ChannelTest]:
        """Sends one message to every channel at once, past the queues; returns each result."""
        began = self._clock.monotonic()

        async def one(channel: AlertChannel) -> ChannelTest:
            outcome = await self._send(channel.address, write(channel.address))
            seconds = round(self._clock.monotonic() - began, 3)
            return ChannelTest(channel.address.label, outcome.delivered, outcome.because, seconds)

        return list(await asyncio.gather(*(one(channel) for channel in self.channels)))

    async def stop(self) -> None:
        """Cancels what is being sent."""
        tasks = [c.task for c in self.channels if c.task is not None]
        self._channels, self._wanted = {}, None
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=2.0)

    async def _serve(self, channel: AlertChannel) -> None:
        while True:
            channel.changed.clear()
            if not channel.queue:
                await channel.changed.wait()
                continue
            await self._until(self._allowed_at(channel))
            waiting = channel.queue[0]
            text = self._worded(channel, waiting)
            if text is _UNWORDED:
                self._dropped(channel, waiting, "it cannot be worded")
                continue
            outcome = Outcome()
            if text is not None:
                channel.sent_at.append(self._clock.monotonic())
                outcome = await self._send(channel.address, text)
                self._count(channel, outcome)
            waiting.tries += 1
            if outcome.delivered:
                self._remove(channel, waiting)
                here().guarded(PART, waiting.arrived)()
                continue
            if waiting.tries >= MAX_TRIES:
                self._dropped(channel, waiting, outcome.because)
            wait = max(outcome.retry_after, retry_seconds(channel.failures, self._first_retry))
            await self._until(self._clock.monotonic() + wait)

    def _worded(self, channel: AlertChannel, waiting: Waiting) -> Text | None:
        """Raises nothing: a message that cannot be worded would stop all those behind it."""
        write = partial(waiting.write, channel.address)
        return here().call(PART, write, _UNWORDED, lasts_seconds=here().failures.shown_seconds)

    def _dropped(self, channel: AlertChannel, waiting: Waiting, because: str) -> None:
        channel.counts.dropped += 1
        self._log.error("alert message dropped", channel=channel.address.label, because=because)
        self._remove(channel, waiting)

    def _remove(self, channel: AlertChannel, waiting: Waiting) -> None:
        with suppress(ValueError):  # pushed out while it was on its way
            channel.queue.remove(waiting)

    async def _until(self, moment: float) -> None:
        while (left := moment - self._clock.monotonic()) > 0:
            await asyncio.sleep(left)

    def _allowed_at(self, channel: AlertChannel) -> float:
        """When the next message may go: at most `per_minute` in any minute, tries included."""
        now = self._clock.monotonic()
        while channel.sent_at and now - channel.sent_at[0] >= self._minute:
            channel.sent_at.popleft()
        if len(channel.sent_at) < channel.address.per_minute:
            return now
        return channel.sent_at[0] + self._minute

    def _count(self, channel: AlertChannel, outcome: Outcome) -> None:
        label, before = channel.address.label, channel.failures
        if outcome.delivered:
            channel.counts.delivered += 1
            channel.failures, channel.because = 0, ""
            if before:
                self._log.info("alert channel works again", channel=label)
        else:
            channel.counts.failed += 1
            channel.failures, channel.because = before + 1, outcome.because
            self._log.error("alert message not delivered", channel=label, because=outcome.because, tries=before + 1)
        if before != channel.failures:
            self._happened()


def retry_seconds(failures: int, first: float = FIRST_RETRY_SECONDS) -> float:
    """The wait after that many failures in a row; it doubles up to five minutes."""
    doubled = first * 2.0 ** min(max(0, failures - 1), 30)
    return float(min(doubled, LAST_RETRY_SECONDS))


async def send_in_child(address: Address, text: Text, seconds: float = SEND_SECONDS, *, ca_file: str = "") -> Outcome:
    """One attempt in a child process, which is killed when it takes too long."""
    job = {"url": address.url, "way": address.way, "text": asdict(text), "seconds": seconds, "ca_file": ca_file}
    if address.form is not None:
        job |= {"kind": address.form.kind, "authorization": address.form.authorization}
    extra: Mapping[str, str] = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    try:
        output, status = await answer_of(MODULE, name="alert", job=job, seconds=seconds + START_SECONDS, extra=extra)
    except NoAnswer as e:
        return Outcome(str(e))
    return _outcome(output, status, address.url, address.form.authorization if address.form else "")


def _outcome(output: bytes, status: int | None, url: str, *more: str) -> Outcome:
    try:
        said = json.loads(output.splitlines()[-1])
        if said["delivered"] is True:
            return Outcome()
        return Outcome(scrub(str(said["because"])[:300], url, *more) or "no reason given", float(said["retry_after"]))
    except (ValueError, KeyError, TypeError, IndexError, OverflowError, RecursionError):
        return Outcome(f"the sender ended with status {status} and no outcome")
