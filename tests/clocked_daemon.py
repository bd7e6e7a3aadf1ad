"""The daemon with a clock that a test moves on: `python -m tests.clocked_daemon HANDS CONFIG`.

The file HANDS holds two numbers: by how many seconds the clock is to be ahead, and by how many it is. The clock moves
between two rounds alone, and while nothing is measured: what is under way would seem to have taken so long. Every
worker counts as heard then: workers go by the machine's clock, and their next message is a while away.
"""

from __future__ import annotations

import mmap
import struct
import sys
import threading
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from modelward.daemon.cli.program import main
from modelward.daemon.config.load import Config
from modelward.daemon.health.sampler import Sampler, SystemReading
from modelward.daemon.state.store import Store
from modelward.daemon.supervisor import Supervisor
from modelward.daemon.system.clock import Clock, SystemClock

HANDS: Final = struct.Struct("2d")


class Hands:
    """The file that both sides see. Reading and writing it is no call of the system's."""

    def __init__(self, path: Path) -> None:
        if not path.exists():
            path.write_bytes(HANDS.pack(0.0, 0.0))
        with open(path, "r+b") as file:
            self._map = mmap.mmap(file.fileno(), HANDS.size)

    def wanted(self) -> float:
        return float(HANDS.unpack(self._map[:])[0])

    def want(self, seconds: float) -> None:
        """Asks the daemon to move its clock."""
        struct.pack_into("d", self._map, 0, seconds)

    def ahead(self) -> float:
        """As of the last whole round."""
        return float(HANDS.unpack(self._map[:])[1])

    def report(self, ahead: float) -> None:
        struct.pack_into("d", self._map, 8, ahead)


class MovedClock(SystemClock):
    """The machine's clocks, all of them `ahead`."""

    def __init__(self, ahead: float) -> None:
        self.ahead = ahead

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead

    def elapsed(self) -> float:
        return super().elapsed() + self.ahead

    def wall(self) -> float:
        return super().wall() + self.ahead


class PausingSampler(Sampler):
    """Measures nothing while the clock moves, and a processor at rest: that of the tests may be as busy as it likes."""

    def __init__(self, clock: Clock, interval_seconds: float, moving: threading.Lock) -> None:
        super().__init__(clock, interval_seconds)
        self._moving = moving

    def read(self, paths: Iterable[Path], pids: Mapping[str, int]) -> SystemReading:
        with self._moving:
            reading = super().read(paths, pids)
        return replace(reading, machine=replace(reading.machine, cpu_busy_seconds=0.0, cpu_idle_seconds=reading.at))


class Clocked(Supervisor):
    def __init__(
        self,
        hands: Hands,
        config: Config,
        origin: Path | None,
        clock: Clock,
        environ: Mapping[str, str],
        store: Store,
    ) -> None:
        self._hands, self._moving = hands, threading.Lock()
        self._moved = store.clock = MovedClock(hands.wanted())
        super().__init__(config, origin, self._moved, environ, store)
        self.alerts.alert_manager.monitor = PausingSampler(self._moved, config.monitor.interval, self._moving)

    async def step(self) -> None:
        if (wanted := self._hands.wanted()) != self._moved.ahead:
            with self._moving:
                self._moved.ahead = wanted
            for process in self.workers.pool.processes():
                self.workers.pool.record_message(process.name, ready=False)
        await super().step()
        self._hands.report(self._moved.ahead)


if __name__ == "__main__":
    main(Path(sys.argv[2]), partial(Clocked, Hands(Path(sys.argv[1]))))
