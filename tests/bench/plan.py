"""What one run of the bench may do, and where: handed to every section."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.bench import shape, venvs
from tests.bench.flavours import FILES
from tests.bench.ours import Modelward
from tests.bench.peers.peer import CORES, Peer


@dataclass(frozen=True)
class Plan:
    """`root` keeps what is dear to make: the model, modelward's world with its compiled versions, environments.

    `quick` uses the small model, few rounds, and no peer that is not in this interpreter already: it shows that the
    bench works and measures nothing. `long` measures what takes too long for every day, and only that. `clips` are the
    lengths wanted and `peers` the servers, all when empty.
    """

    root: Path
    quick: bool = False
    long: bool = False
    clips: tuple[float, ...] = ()
    peers: tuple[str, ...] = ()

    @property
    def model(self) -> Path:
        """The version that everybody serves; made when it is not there."""
        target = self.root / ("small" if self.quick else "model")
        if not all((target / file).exists() for file in FILES):
            print("making the model", file=sys.stderr, flush=True)
            shape.write_version(target, shape.SMALL if self.quick else shape.FULL)
        return target

    @property
    def scratch(self) -> Path:
        return self.root / "scratch" / str(os.getpid())

    def modelward(self, workers: int = CORES) -> Modelward:
        if self.quick:
            return Modelward(self.root / "small-house", self.model, workers=workers)
        made = venvs.environment(self.root / "venvs", "modelward", venvs.ours())
        if made.python is None:
            raise RuntimeError(f"cannot measure: modelward can't be installed: {made.because}")
        return Modelward(self.root / "house", self.model, made.python, workers)

    def environment(self, peer: Peer) -> venvs.Environment:
        if self.quick:
            return venvs.Environment(*venvs.here(peer.requirements))
        return venvs.environment(self.root / "venvs", peer.name, peer.requirements)
