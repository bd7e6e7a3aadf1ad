"""Clients: as many as wanted that ask again and again, or requests that come at a pace whoever still waits.

A client opens a connection for each request, as curl or `requests.post` does. What went wrong is counted, never raised.
"""

from __future__ import annotations

import http.client
import itertools
import statistics
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tests.bench.clips import Clip, error_rate

TIMEOUT_SECONDS = 900.0  # the last of sixteen ten-minute clips waits for four minutes behind a lock


class Failed(Exception):
    """No answer, or one that is none."""


@dataclass(frozen=True)
class Answer:
    """A text and the version that it comes from ("" where the server does not say)."""

    text: str
    version: str = ""


Ask = Callable[[Clip], Answer]


def post(
    port: int, path: str, body: bytes, kind: str, *, timeout: float = TIMEOUT_SECONDS
) -> tuple[bytes, dict[str, str]]:
    """Body and headers (names in lower case) of a 200. Raises Failed."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request("POST", path, body, {"Content-Type": kind})
        response = connection.getresponse()
        data = response.read()
    except (OSError, http.client.HTTPException) as e:
        raise Failed(repr(e)) from e
    finally:
        connection.close()
    if response.status != 200:
        raise Failed(f"{response.status} {data[:200]!r}")
    return data, {name.lower(): value for name, value in response.getheaders()}


@dataclass
class Turn:
    """What some clients saw. `seconds` has the latency of each answered request, `wall_seconds` is of all together."""

    wall_seconds: float = 0.0
    seconds: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    error_rates: list[float] = field(default_factory=list)

    def figures(self) -> dict[str, float | int | list[float]]:
        """For the report; latencies are kept, so that several turns can be looked at together."""
        return {
            "requests": len(self.seconds) + len(self.failures),
            "failed": len(self.failures),
            "clips_per_second": len(self.seconds) / self.wall_seconds if self.wall_seconds else 0.0,
            "seconds": [round(value, 5) for value in self.seconds],
            "error_rate": statistics.fmean(self.error_rates) if self.error_rates else 1.0,
        }


def closed(ask: Ask, clips: Sequence[Clip], clients: int, requests: int) -> Turn:
    """`clients` that each ask, wait for the answer and ask again, until `requests` were asked by all together."""
    turn, numbers, lock = Turn(), itertools.count(), threading.Lock()

    def client() -> None:
        while (number := next(numbers)) < requests:
            clip, began = clips[number % len(clips)], time.monotonic()
            try:
                answer = ask(clip)
            except Failed as e:
                with lock:
                    turn.failures.append(str(e))
                continue
            took = time.monotonic() - began
            with lock:
                turn.seconds.append(took)
                turn.error_rates.append(error_rate(answer.text, clip.dialled))

    for clip in clips:
        _ = clip.form  # made before the clock runs
    threads = [threading.Thread(target=client) for _ in range(clients)]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    turn.wall_seconds = time.monotonic() - began
    return turn


@dataclass(frozen=True)
class Seen:
    """One request of an open load: when it was due and answered (monotonic), and by which version; "" for a failure."""

    due: float
    done: float
    version: str
    failure: str = ""

    @property
    def seconds(self) -> float:
        return self.done - self.due


@dataclass
class Arrivals:
    """Requests at a fixed pace, each in a thread of its own; latency counts from when each was due."""

    ask: Ask
    clips: Sequence[Clip]
    pace_seconds: float
    seen: list[Seen] = field(default_factory=list)
    _over: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def begin(self) -> Arrivals:
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        return self

    def end(self) -> list[Seen]:
        """Lets the last be answered; all of them in the order of their answers."""
        self._over.set()
        assert self._thread is not None
        self._thread.join()
        return list(self.seen)

    def _run(self) -> None:
        due, threads = time.monotonic(), []
        for number in itertools.count():
            if self._over.wait(max(0.0, due - time.monotonic())):
                break
            thread = threading.Thread(target=self._ask, args=(due, self.clips[number % len(self.clips)]))
            thread.start()
            threads.append(thread)
            due += self.pace_seconds
        for thread in threads:
            thread.join()

    def _ask(self, due: float, clip: Clip) -> None:
        try:
            version, failure = self.ask(clip).version, ""
        except Failed as e:
            version, failure = "", str(e)
        self.seen.append(Seen(due, time.monotonic(), version, failure))


def percentile(values: Sequence[float], percent: float) -> float:
    """The nearest rank: the smallest value that so many percent do not exceed; 0.0 of nothing."""
    ordered = sorted(values)
    rank = -(-len(ordered) * percent // 100)
    return ordered[max(0, int(rank) - 1)] if ordered else 0.0
