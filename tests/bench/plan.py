"""What one run of the bench may do, and where: handed to every section."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.bench import shape, venvs
from tests.bench.facts import MASKED
from tests.bench.flavours import BESIDE
from tests.bench.ours import Modelward
from tests.bench.peers.peer import CORES, Peer
from tests.bench.precision import FILE, Precision


@dataclass(frozen=True)
class Plan:
    """`root` keeps what is dear to make: the model, modelward's world with its compiled versions, environments.

    `quick` uses the small model, few rounds, and no peer that is not in this interpreter already: it shows that the
    bench works and measures nothing. `clips` are the lengths wanted and `peers` the servers, all when empty.
    """

    root: Path
    quick: bool = False
    clips: tuple[float, ...] = ()
    peers: tuple[str, ...] = ()

    @property
    def model(self) -> Path:
        """The version that everybody serves, in every precision; made when it is not there."""
        target = self.root / ("small" if self.quick else "model")
        if not all((target / file).exists() for file in (*FILE.values(), *BESIDE)):
            print("making the model", file=sys.stderr, flush=True)
            shape.write_version(target, shape.SMALL if self.quick else shape.FULL, fp32=True)
        return target

    @property
    def scratch(self) -> Path:
        return self.root / "scratch" / str(os.getpid())

    def modelward(self, workers: int = CORES, precision: Precision = "int8") -> Modelward:
        """Each precision has a world of its own, and so has a masked processor."""
        house = self.root / ("small-house" if self.quick else "house")
        if precision != "int8":
            house = house.with_name(f"{house.name}-{precision}")
        if os.environ.get(MASKED):
            house = house.with_name(f"{house.name}-masked")
        return Modelward(house, self.model, self.python, workers, precision)

    @property
    def python(self) -> Path | None:
        """The interpreter of an environment with what a user installs; None is that of the bench."""
        if self.quick:
            return None
        made = venvs.environment(self.root / "venvs", "modelward", venvs.ours())
        if made.python is None:
            raise RuntimeError(f"cannot measure: modelward can't be installed: {made.because}")
        return made.python

    def environment(self, peer: Peer) -> venvs.Environment:
        if self.quick:
            return venvs.Environment(*venvs.here(peer.requirements))
        return venvs.environment(self.root / "venvs", peer.name, peer.requirements)

    def newest(self, peer: Peer) -> venvs.Environment:
        """The same with the newest releases that its requirements allow."""
        return venvs.environment(self.root / "venvs", peer.name, peer.requirements, newest=not self.quick)
