"""The daemon with faults of its own: `python -m tests.faulty_daemon NOTES CONFIG`.

From its first round on, each thing that its background and its round do raises something unexpected, once. The file
NOTES/raised names them, a line each. While NOTES/escape exists, a round itself raises. Where NOTES/calm exists at its
start, nothing else does.
"""

from __future__ import annotations

import sys
import time
from functools import partial
from pathlib import Path

from tests.unexpected import UNEXPECTED

from modelward.daemon.cli.program import main
from modelward.daemon.supervisor import Supervisor
from modelward.daemon.system.background import Background

SHOWN_SECONDS = 3.0
REPORTS = "alerting"
"""What reports the faults of the others: it is well when they fail, and they when it does."""


class Faults:
    """Raises once at each name, of another type each time."""

    def __init__(self, notes: Path) -> None:
        self._notes = notes
        self._raised: dict[str, float] = {}
        self.armed = False

    def __call__(self, name: str) -> None:
        reports, now = name.startswith(REPORTS), time.monotonic()
        others = [at for known, at in self._raised.items() if known.startswith(REPORTS) != reports]
        others = [] if name.endswith(".stop") else others
        if not self.armed or name in self._raised or any(now - at < SHOWN_SECONDS for at in others):
            return
        self._raised[name] = now
        with open(self._notes / "raised", "a") as notes:
            notes.write(f"{name}\n")
        raise UNEXPECTED[len(self._raised) % len(UNEXPECTED)]()


def build(faults: Faults, notes: Path) -> type[Supervisor]:
    class Faulty(Supervisor):
        async def run(self) -> None:
            faults.armed = not (notes / "calm").exists()
            await super().run()

        async def step(self) -> None:
            if (notes / "escape").exists():
                raise RuntimeError("a round itself fails")
            await super().step()

    return Faulty


if __name__ == "__main__":
    notes = Path(sys.argv[1])
    faults = Faults(notes)
    background = partial(Background, fault=faults, shown_seconds=SHOWN_SECONDS)
    main(Path(sys.argv[2]), partial(build(faults, notes), background=background))
