"""Looks at the house all the while: who serves what, what each process holds, whether the daemon is there."""

from __future__ import annotations

import contextlib
import statistics
import threading
import time
from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field

import psutil
from tests.house import House

from modelward.daemon.errors import ModelwardError

SERVING_SECONDS = 0.1
LAG_SECONDS = 0.5  # a worker's word comes to us over a daemon that may be busy
HOLDING_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Holding:
    """What one process held at a moment. `role` is daemon or worker."""

    at: float
    role: str
    pid: int
    rss_bytes: int
    descriptors: int


@dataclass
class Serving:
    """Which versions workers answered with, look by look, and by their own word; times are monotonic seconds.

    A canary that is called back at once served for less than the time between two looks.
    """

    at: list[float] = field(default_factory=list)
    versions: list[frozenset[str]] = field(default_factory=list)
    words_at: list[float] = field(default_factory=list)
    words: list[str] = field(default_factory=list)

    def add(self, at: float, versions: frozenset[str]) -> None:
        self.at.append(at)
        self.versions.append(versions)

    def said(self, at: float, version: str) -> None:
        """A worker said that it serves this from now on."""
        self.words_at.append(at)
        self.words.append(version)

    def during(self, began: float, ended: float) -> frozenset[str]:
        """Every version that served at some look from the last before `began` to the first after `ended`, or of which a
        worker said so meanwhile."""
        first = max(0, bisect_left(self.at, began) - 1)
        word = bisect_left(self.words_at, began - 2 * SERVING_SECONDS)
        words = self.words[word : bisect_right(self.words_at, ended + LAG_SECONDS)]
        return frozenset(words).union(*self.versions[first : bisect_right(self.at, ended) + 1])


def medians(holdings: list[Holding], role: str, what: str, began: float, ended: float) -> tuple[float, float]:
    """The median of the first and of the second half of a time; (0, 0) when a half has nothing."""
    middle = (began + ended) / 2
    mine = [(h.at, getattr(h, what)) for h in holdings if h.role == role and began <= h.at <= ended]
    halves = [v for at, v in mine if at < middle], [v for at, v in mine if at >= middle]
    return (statistics.median(halves[0]), statistics.median(halves[1])) if all(halves) else (0.0, 0.0)


def worker_holding(pid: int, role: str) -> Holding | None:
    """What a process holds now; None when it is gone."""
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(pid)
        if process.status() != psutil.STATUS_ZOMBIE:
            return Holding(time.monotonic(), role, pid, process.memory_info().rss, process.num_fds())
    return None


class Watcher:
    """`serving` and `holdings` grow while it runs."""

    def __init__(self, house: House) -> None:
        self._house = house
        self.serving, self.holdings = Serving(), list[Holding]()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._listener = threading.Thread(target=self._listen, daemon=True)

    def begin(self) -> None:
        self._thread.start()
        self._listener.start()

    def end(self) -> None:
        self._over.set()
        self._thread.join(30)

    def _run(self) -> None:
        held, known = 0.0, dict[int, str]()
        while not self._over.wait(SERVING_SECONDS):
            with contextlib.suppress(ModelwardError):  # the daemon is away: workers stay as they are
                workers = self._house.workers()
                # So does one that has not come back to a new daemon yet.
                known = {pid: version for pid, version in known.items() if psutil.pid_exists(pid)}
                known |= {w["pid"]: w["serving"] for w in workers if w["serving"]}
                self.serving.add(time.monotonic(), frozenset(known.values()))
                if time.monotonic() - held >= HOLDING_SECONDS:
                    held = time.monotonic()
                    self._hold([w["pid"] for w in workers if w["state"] == "ready"])

    def _listen(self) -> None:
        while not self._over.wait(SERVING_SECONDS):
            with contextlib.suppress(ModelwardError):  # the daemon is away
                for event in self._house.api.events():
                    if (event["event"], event.get("kind")) == ("worker", "serving"):
                        self.serving.said(time.monotonic(), event["version"])

    def _hold(self, workers: list[int]) -> None:
        daemon = self._house.process.pid if self._house.process else 0
        found = [worker_holding(daemon, "daemon"), *(worker_holding(pid, "worker") for pid in workers)]
        self.holdings += [h for h in found if h is not None]
