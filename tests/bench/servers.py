"""A peer that runs: started in its own environment and session, known by a mark, ended with everything it started."""

from __future__ import annotations

import os
import signal
import subprocess
import uuid
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench import trees
from tests.bench.clips import Clip
from tests.bench.load import Answer, Failed
from tests.bench.peers.peer import CORES, Peer, Place
from tests.house import free_port
from tests.support import eventually

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 180.0


@dataclass
class Server:
    """A peer that runs. Its output goes to `scratch`/out."""

    peer: Peer
    place: Place
    mark: str = field(default_factory=lambda: uuid.uuid4().hex)
    process: subprocess.Popen[bytes] | None = None

    @property
    def name(self) -> str:
        return self.peer.name

    def start(self, first: Clip) -> Server:
        """Returns when it answers `first`."""
        self.launch()
        eventually(lambda: self._answers(first), START_SECONDS)
        return self

    def launch(self) -> None:
        self.place.scratch.mkdir(parents=True, exist_ok=True)
        path = os.pathsep.join((str(ROOT), str(ROOT / ".imports")))
        environment = {**os.environ, "PYTHONPATH": path, trees.MARK: self.mark, "ORT_DISABLE_TELEMETRY": "1"}
        environment |= {"PATH": f"{self.place.bin}{os.pathsep}{os.environ['PATH']}", "OPENBLAS_NUM_THREADS": "1"}
        with open(self.place.scratch / "out", "ab") as out:
            self.process = subprocess.Popen(
                self.peer.command(self.place),
                cwd=self.place.scratch,
                env=environment | self.peer.environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _answers(self, clip: Clip) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            out = (self.place.scratch / "out").read_text(errors="replace").strip().splitlines()
            raise RuntimeError(f"{self.name} ended with {self.process.returncode}: {' / '.join(out[-3:])}")
        try:
            return self.ask(clip) is not None
        except Failed:
            return False

    def ask(self, clip: Clip) -> Answer:
        return self.peer.ask(self.place.port, clip)

    def pids(self) -> list[int]:
        return trees.marked(self.mark)

    def restart(self) -> None:
        """Stops it as Ctrl-C does, waits for its end, starts it again; returns at once then."""
        assert self.process is not None
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(START_SECONDS)
        finally:
            trees.end(self.mark, 1.0)
        self.launch()

    def stop(self) -> None:
        trees.end(self.mark)
        if self.process is not None:
            self.process.wait(20)
            self.process = None


def placed(python: Path, link: Path, scratch: Path, workers: int = CORES) -> Place:
    return Place(python, link, free_port(), scratch, workers)
