"""Follows a daemon that `modelward serve` started until its version is live, and prints what happens on the way.

Gates are printed as they finish, from the daemon's events; what comes of the version is decided by `serve_outcome`. It
sends one command at most: to activate a version while another is served.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterable
from contextlib import suppress
from typing import Final

from msgspec import convert

from ...worker.shared.started import awaited
from ...worker.shared.unreadable import UNREADABLE
from ..answers.events import GateNews
from ..answers.status import StatusAnswer
from ..answers.versions import GateReport, VersionsAnswer
from ..errors import Refused, Unreachable
from ..units import span
from .follow_events import followed_events
from .foreground import ForegroundDaemon, pause
from .language import say
from .progress import Progress, ProgressLine
from .render import clean, colours
from .serve_outcome import ServeOutcome, outcome
from .validate import gate_line

LOOK_SECONDS: Final = 0.1
MOST_SECONDS: Final = 3600.0


class VersionRefused(Refused):
    """The daemon rejected what was to be served."""


class ServeFollower:
    """`wanted` is the version that is to be live, "" for the one that the daemon chooses."""

    def __init__(self, daemon: ForegroundDaemon, wanted: str, stop: asyncio.Event) -> None:
        self._daemon, self._wanted, self._stop = daemon, wanted, stop
        self._line = ProgressLine(sys.stderr)
        self._printed: set[tuple[str, str]] = set()
        self._judging = ""
        self._said: set[str] = set()

    async def until_live(self) -> str:
        """The live version, "" when it was interrupted. Raises VersionRefused with the reasons, and Refused when
        something did not start.
        """
        events = awaited(self._print_gates(), "events")
        try:
            async with asyncio.timeout(MOST_SECONDS):
                return await self._looked_for()
        except TimeoutError as e:
            raise Refused(f"cannot serve: nothing is live after {span(MOST_SECONDS)}; the logs have the reason") from e
        finally:
            events.cancel()
            with suppress(asyncio.CancelledError):
                await events
            self._line.end()

    async def _looked_for(self) -> str:
        while not self._stop.is_set():
            came = await self._outcome()
            if came.kind == "live":
                return came.version
            if came.kind == "refused":
                raise VersionRefused(_refusal(came))
            if came.kind == "ask":
                await self._activate(came.version)
            await pause(self._stop, LOOK_SECONDS)
        return ""

    async def until_back(self) -> bool:
        """True once a daemon that was started again answers, False when it was interrupted."""
        while not self._stop.is_set():
            answer = await self._answers()
            if answer is not None and answer[0].ready:
                return True
            await pause(self._stop, LOOK_SECONDS)
        return False

    async def _outcome(self) -> ServeOutcome:
        answers = await self._answers()
        if answers is None:
            return ServeOutcome("wait")
        status, versions = answers
        came = outcome(status, versions, self._wanted)
        for version in versions.versions:
            judged = version.verdict is not None and version.version == self._judging
            if judged and version.verdict is not None:
                self._print(version.version, version.verdict.gates)  # what was over before the events came
            if version.state == "validating" and version.version != self._judging:
                self._judging = version.version
                say(f"validating {clean(version.version)}", flush=True)
        for alert in status.alerts:
            if alert.metric == "needs_operator" and came.kind == "wait":
                self._once(f"warning: {clean(alert.message)}")
        for version in versions.versions:
            if version.version == self._wanted and version.waiting and isinstance(version.waiting, str):
                self._once(f"{clean(version.version)}: {clean(version.waiting)}")
        return came

    async def _answers(self) -> tuple[StatusAnswer, VersionsAnswer] | None:
        """None while the daemon does not answer. Raises Refused when it ended."""
        client = self._daemon.client
        try:
            status = (await asyncio.to_thread(client.get, "/v1/status")).read(StatusAnswer)
            return status, (await asyncio.to_thread(client.get, "/v1/versions")).read(VersionsAnswer)
        except Unreachable:
            if not self._daemon.running:
                raise Refused(f"cannot serve: {await self._daemon.death()}") from None
            return None

    async def _activate(self, version: str) -> None:
        """Has it served in place of another. Raises Refused with the daemon's reason."""
        client = self._daemon.client
        progress = Progress(client)
        asking = awaited(
            asyncio.to_thread(client.post_and_wait, "/v1/activate", {"version": version}, progress.tick), "activate"
        )
        stopping = awaited(self._stop.wait(), "stop")
        try:
            await asyncio.wait({asking, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if asking.done():
                answer = asking.result()
                if answer.data.get("success") is False:
                    raise Refused(clean(answer.data.get("message")))
        finally:
            stopping.cancel()
            asking.cancel()
            progress.end()

    async def _print_gates(self) -> None:
        async for event in followed_events(self._daemon.socket):
            if event.get("event") != "gate":
                continue
            with suppress(*UNREADABLE):
                news = convert({key: value for key, value in event.items() if key != "event"}, GateNews)
                if news.version != self._judging:
                    self._judging = news.version
                    self._line.end()
                    say(f"validating {clean(news.version)}", flush=True)
                if news.done is not None:
                    self._print(news.version, [news.done])
                elif self._line.in_place:
                    self._line.show(f"{clean(news.gate)} …")

    def _print(self, version: str, gates: Iterable[GateReport]) -> None:
        for gate in gates:
            if (version, gate.gate) not in self._printed:
                self._printed.add((version, gate.gate))
                self._line.end()
                print(gate_line(gate, colours(sys.stdout)), flush=True)

    def _once(self, text: str) -> None:
        if text not in self._said and len(self._said) < 100:
            self._said.add(text)
            self._line.end()
            say(text, flush=True)


def _refusal(came: ServeOutcome) -> str:
    """Each reason, and what to do."""
    reasons = "; ".join(f"{clean(version)}: {clean(because)}" for version, because in came.reasons)
    return f"cannot serve {reasons}; put it right where it comes from, and run the same command again"
