"""What befalls the house, and when: a seed becomes a list of timed actions.

Pure: the same seed, length and kinds of broken versions give the same plan on every machine. Invariants: what an action
names came before it and was not taken away; nobody is left without a worker and a daemon at once; no process ends while
the log disk is full, for the lines that it counts as dropped would be forgotten with it.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Final

GOOD_FORMS: Final = ("digits", "words", "external", "quantized", "sherpa", "twin")
ARRIVALS: Final = ("renamed", "copied", "copied slowly", "from 1980", "from 2099")
LINK_WAYS: Final = ("ln -sfn", "ln and mv -T", "rm and ln", "absolute")
WRONG_LINKS: Final = ("dangling", "outside", "a loop", "gone", "a broken version")
GOOD_RELOADS: Final = ("settle", "rescan", "nothing", "bake", "max_size", "drain", "max_error_rate")
BAD_RELOADS: Final = ("unknown key", "wrong type", "syntax", "gone", "directory", "no text")
LOOKS: Final = ("rescan", "reload-model", "hangup", "hangup of everybody")
CLOCK_STEPS: Final = (3.0, -3.0, 3600.0, -3600.0, 86_400.0, -86_400.0, 40 * 86_400.0, -40 * 86_400.0)
"""Seconds away from the true time; forty days are more than logs are kept."""
DAEMON_ENDS: Final = ("alone", "and a worker", "by logrotate")
DISKS: Final = ("data", "logs")

PERIODS: Final[dict[str, float]] = {  # seconds from one to the next, on the average
    "good version": 14,
    "bad version": 10,
    "remove version": 16,
    "move link": 8,
    "wrong link": 27,
    "activate": 19,
    "roll back": 41,
    "look again": 12,
    "kill worker": 24,
    "end worker": 37,
    "restart workers": 61,
    "kill daemon": 33,
    "fill disk": 29,
    "rotate": 9,
    "reopen": 14,
    "sweep": 31,
    "clean logs": 21,
    "good reload": 17,
    "bad reload": 26,
    "step clock": 15,
}
PROCESSES: Final = frozenset({"kill worker", "end worker", "restart workers", "kill daemon"})
WORKER_REST_SECONDS: Final = 6.0  # from one worker's end to the next
DAEMON_REST_SECONDS: Final = 10.0  # from a worker's end to the daemon's: its successor listens by then
RESTART_SECONDS: Final = 12.0  # what replacing every worker may take
DROPS_SAID_SECONDS: Final = 2.0  # after the log disk has room again
FIRST_VERSION: Final = "dtmf-v1.0"
MOST_VERSIONS: Final = 12


@dataclass(frozen=True, slots=True, order=True)
class Action:
    """`what` is the variation, `name` a version, `number` what the kind needs (seconds of a step)."""

    at_seconds: float
    kind: str
    what: str = ""
    name: str = ""
    lasts_seconds: float = 0.0
    number: float = 0.0

    @property
    def ends_seconds(self) -> float:
        return self.at_seconds + self.lasts_seconds


def plan(seed: int, seconds: float, broken: Sequence[str]) -> list[Action]:
    """The actions of a soak of this length, in order. `broken` are the kinds of broken versions to draw from.

    Each kind of action comes at least once if there is room for it, and each variation before one comes again.
    """
    random = Random(seed)
    walk = _Walk(random, seconds, broken)
    due = [(moment, kind) for kind in PERIODS for moment in _moments(random, PERIODS[kind], seconds)]
    heapq.heapify(due)
    while due:
        moment, kind = heapq.heappop(due)
        later = walk.take(moment, kind)
        if later > moment and later < seconds:
            heapq.heappush(due, (later, kind))
    return walk.actions


def _moments(random: Random, period: float, seconds: float) -> list[float]:
    """The first within the first period, or the first two thirds of a short soak; then at random distances."""
    moment, found = random.uniform(0.0, min(period, seconds * 0.66)), list[float]()
    while moment < seconds:
        found.append(int(moment * 100) / 100)
        moment += max(1.0, random.expovariate(1.0 / period))
    return found


@dataclass
class _Walk:
    """The plan as far as it is made."""

    random: Random
    seconds: float
    broken: Sequence[str]
    actions: list[Action] = field(default_factory=list)
    good: list[str] = field(default_factory=lambda: [FIRST_VERSION])
    bad: list[str] = field(default_factory=list)
    decks: dict[str, list[str]] = field(default_factory=dict)
    count: int = 0
    offset: float = 0.0
    worker_ended: float = -60.0
    process_free: float = 0.0  # from when on a process may be ended
    filled_until: float = -60.0

    def take(self, moment: float, kind: str) -> float:
        """Plans one action; gives `moment`, or the later one at which to try again."""
        if kind in PROCESSES:
            return self._process(moment, kind)
        if kind == "fill disk":
            return self._fill(moment)
        action = self._simple(moment, kind)
        if action is not None:
            self.actions.append(action)
        return moment

    def _draw(self, deck: str, cards: Sequence[str]) -> str:
        """The next of a shuffled deck; each card comes before any comes again."""
        if not self.decks.get(deck):
            self.decks[deck] = self.random.sample(list(cards), len(cards))
        return self.decks[deck].pop()

    def _simple(self, moment: float, kind: str) -> Action | None:
        match kind:
            case "good version":
                return self._arrival(moment, kind, self._draw("forms", GOOD_FORMS), self.good)
            case "bad version":
                return self._arrival(moment, kind, self._draw("broken", self.broken), self.bad)
            case "remove version":
                return self._removal(moment)
            case "move link":
                return Action(moment, kind, self._draw("ways", LINK_WAYS), self.random.choice(self.good))
            case "wrong link":
                what = self._draw("wrong", WRONG_LINKS)
                name = self.random.choice(self.bad or self.good) if what == "a broken version" else ""
                return Action(moment, kind, what, name)
            case "activate":
                return Action(moment, kind, "", self.random.choice([*self.good, *self.bad]))
            case "look again":
                return Action(moment, kind, self._draw("looks", LOOKS))
            case "good reload":
                return Action(moment, kind, self._draw("good", GOOD_RELOADS), number=float(self.random.randint(1, 9)))
            case "bad reload":
                return Action(moment, kind, self._draw("bad", BAD_RELOADS))
            case "step clock":
                return self._clock(moment)
        return Action(moment, kind)

    def _arrival(self, moment: float, kind: str, what: str, among: list[str]) -> Action:
        if len(self.good) + len(self.bad) >= MOST_VERSIONS and (going := self._removal(moment)) is not None:
            self.actions.append(going)
        self.count += 1
        name = f"dtmf-v1.{self.count}"
        among.append(name)
        # The way of arriving goes into `number`, as the place in ARRIVALS.
        way = self.random.randrange(len(ARRIVALS)) if kind == "good version" else 0
        return Action(moment, kind, what, name, number=float(way))

    def _removal(self, moment: float) -> Action | None:
        """The oldest version goes, good or bad, live or not; two good ones stay."""
        old = ([self.good[0]] if len(self.good) > 2 else []) + self.bad[:1]
        if not old:
            return None
        name = self.random.choice(old)
        (self.good if name in self.good else self.bad).remove(name)
        return Action(moment, "remove version", "", name)

    def _clock(self, moment: float) -> Action:
        """To another offset from the true time; every second step goes back to it."""
        self.offset = 0.0 if self.offset else float(self._draw("clock", [str(step) for step in CLOCK_STEPS]))
        return Action(moment, "step clock", number=self.offset)

    def _process(self, moment: float, kind: str) -> float:
        rest = DAEMON_REST_SECONDS if kind == "kill daemon" else WORKER_REST_SECONDS
        begin = max(moment, self.process_free, self.worker_ended + rest)
        if begin > moment:
            return round(begin + 0.01, 2)
        lasts, what = 0.0, ""
        if kind == "kill daemon":
            lasts = round(self.random.uniform(0.1, 3.0), 2)
            what = self._draw("daemon", DAEMON_ENDS)
        if moment + lasts > self.seconds:
            return moment
        self.actions.append(Action(moment, kind, what, lasts_seconds=lasts))
        if kind == "restart workers":
            self.worker_ended = moment + RESTART_SECONDS
        elif kind != "kill daemon" or what == "and a worker":
            self.worker_ended = moment + lasts
        self.process_free = moment + lasts + 1.0
        return moment

    def _fill(self, moment: float) -> float:
        begin = max(moment, self.filled_until + 2 * DROPS_SAID_SECONDS)
        lasts = round(self.random.uniform(1.0, 4.0), 2)
        what = self.decks.setdefault("disks", []) or self.random.sample(list(DISKS), len(DISKS))
        if what[-1] == "logs":
            begin = max(begin, self.worker_ended + WORKER_REST_SECONDS, self.process_free)
        if begin > moment:
            return round(begin + 0.01, 2)
        if moment + lasts > self.seconds - DROPS_SAID_SECONDS:
            return moment
        self.decks["disks"] = what[:-1]
        self.actions.append(Action(moment, "fill disk", what[-1], lasts_seconds=lasts))
        self.filled_until = moment + lasts
        if what[-1] == "logs":
            self.process_free = max(self.process_free, moment + lasts + DROPS_SAID_SECONDS)
        return moment
