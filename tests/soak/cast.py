"""Plays a plan: each kind of action in its lane, one after another within a lane, the lanes side by side."""

from __future__ import annotations

import queue
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

import psutil
from tests.soak.actors import ACTORS, Left
from tests.soak.plan import Action
from tests.soak.town import Town

from modelward.daemon.errors import ModelwardError

LANES: Final = {
    "good version": "arrivals",
    "bad version": "arrivals",
    "remove version": "arrivals",
    "move link": "links",
    "wrong link": "links",
    "activate": "wishes",
    "roll back": "wishes",
    "look again": "looks",
    "kill worker": "processes",
    "end worker": "processes",
    "restart workers": "processes",
    "kill daemon": "processes",
    "fill disk": "disks",
    "rotate": "logs",
    "reopen": "logs",
    "sweep": "upkeep",
    "clean logs": "cleaner",
    "good reload": "settings",
    "bad reload": "settings",
    "step clock": "clock",
}


@dataclass
class Cast:
    """Runs a plan on a town. `done` counts actions by kind, `left` those that could not be done."""

    town: Town
    done: Counter[str] = field(default_factory=Counter)
    left: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)  # what an actor found that must not be
    _lanes: dict[str, queue.SimpleQueue[Action | None]] = field(default_factory=dict)
    _threads: list[threading.Thread] = field(default_factory=list)

    def play(self, actions: list[Action], seconds: float) -> None:
        """Begins each action at its time; returns when all are done and the time is over."""
        for lane in set(LANES.values()):
            self._lanes[lane] = queue.SimpleQueue()
            thread = threading.Thread(target=self._run, args=(self._lanes[lane],), name=lane, daemon=True)
            thread.start()
            self._threads.append(thread)
        began = time.monotonic()
        for action in actions:
            time.sleep(max(0.0, began + action.at_seconds - time.monotonic()))
            self._lanes[LANES[action.kind]].put(action)
            self.town.reap()
        time.sleep(max(0.0, began + seconds - time.monotonic()))
        for lane in self._lanes.values():
            lane.put(None)
        for thread in self._threads:
            thread.join(180)
            if thread.is_alive() or not self._lanes[thread.name].empty():
                self.wrong.append(f"the soak's own lane of {thread.name} did not come to its end")

    def _run(self, lane: queue.SimpleQueue[Action | None]) -> None:
        while (action := lane.get()) is not None:
            words = " ".join(w for w in (action.kind, action.what, action.name) if w)
            try:
                said = ACTORS[action.kind](self.town, action)
            except (Left, ModelwardError, OSError, psutil.Error) as e:
                self.left[action.kind] += 1
                self.town.say(f"{words}: left: {e}")
            except AssertionError as e:
                self.wrong.append(f"{words}: {e}")
                self.town.say(f"{words}: WRONG: {e}")
            else:
                self.done[action.kind] += 1
                self.town.say(words + (f": {said}" if said else ""))
