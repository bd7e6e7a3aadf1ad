"""modelward as a server of the bench: a real daemon with real workers, its versions judged and compiled before.

The world below `root` is kept between runs, because making it takes minutes and is not what is measured.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from tests.bench.clips import FORM_TYPE, Clip
from tests.bench.flavours import BESIDE
from tests.bench.load import Answer, post
from tests.bench.peers.peer import CORES
from tests.bench.precision import FILE, Precision
from tests.house import House, free_port
from tests.support import eventually

VERSIONS = ("bench-v1", "bench-v2")
JUDGING_SECONDS = 900.0


def versions(root: Path, model: Path, precision: Precision = "int8") -> list[Path]:
    """Two versions with the same weights below `root`, made from `model` where they are not there yet.

    Each has one file of weights, so that nobody can serve another.
    """
    made = []
    for name in VERSIONS:
        target = root / name
        if not target.exists():
            shutil.rmtree(root / f".{name}", ignore_errors=True)
            aside = one_file(root / f".{name}", model, precision)
            (aside / "NOTE").write_text(name)
            aside.rename(target)
        made.append(target)
    return made


def one_file(target: Path, model: Path, precision: Precision = "int8") -> Path:
    """A copy of `model` with one file of weights."""
    target.mkdir(parents=True)
    for file in (FILE[precision], *BESIDE):
        shutil.copy(model / file, target / file)
    return target


def point(link: Path, version: Path | str) -> None:
    """Moves the link in one step, as `mv -T` does."""
    aside = link.with_name(f".{link.name}.{os.getpid()}")
    aside.symlink_to(version)
    os.replace(aside, link)


@dataclass
class Modelward:
    """Daemon and workers on the world below `root`; what is not said here is at its default, but that nothing bakes.

    `python` has what a user installs and no more; None is the interpreter of the bench.
    """

    root: Path
    model: Path
    python: Path | None = None
    workers: int = CORES
    precision: Precision = "int8"
    name: str = "modelward"
    house: House = field(init=False)

    def __post_init__(self) -> None:
        versions(self.root / "models", self.model, self.precision)
        settings: dict[str, dict[str, object]] = {
            "models": {"settle": "2s", "rescan": "5s"},
            "validation": {"compile": "exact", "timeout": 600, "golden": ""},
            "workers": {"count": self.workers},
            "panel": {"listen": f"127.0.0.1:{free_port()}"},
        }
        self.house = House(self.root, settings, python=self.python)

    def start(self, first: Clip) -> Modelward:
        """Returns when every worker serves an accepted version in its compiled form."""
        self.house.start()
        for name in VERSIONS:
            self.house.await_state(name, "accepted", JUDGING_SECONDS)
        eventually(self._rests, JUDGING_SECONDS)
        self.ask(first)
        return self

    def _rests(self) -> bool:
        status = self.house.status()
        if not status["live"] or status["rollout"] is not None or not self.house.serves(status["live"]):
            return False
        told = self.house.version(status["live"])["compiled"]
        return "compiling" not in told and told.get("form") != "plain"

    def ask(self, clip: Clip) -> Answer:
        return self.ask_body(clip.form, FORM_TYPE)

    def ask_body(self, sent: bytes, kind: str) -> Answer:
        """A form with a recording, or a recording as it is."""
        body, headers = post(self.house.port, "/api/predict", sent, kind)
        return Answer(json.loads(body)["result"], headers.get("x-model-version", ""))

    def pids(self) -> list[int]:
        """The daemon first, then all that it started; it hands its environment on to nobody."""
        process = self.house.process
        if process is None:
            return []
        below = psutil.Process(process.pid).children(recursive=True)
        return [process.pid, *sorted(child.pid for child in below)]

    def artifact(self) -> Path:
        """The form that the workers have open: equal weights may be compiled otherwise, by what was faster then."""
        live = self.house.link.resolve().name
        form = self.house.version(live)["compiled"].get("form", "plain")
        found = sorted((self.root / "cache").rglob(f"{live}-*-{form}/artifact.json"))
        if not found:
            raise RuntimeError(f"cannot measure: {live} was not compiled")
        return found[0].parent

    def stop(self) -> None:
        self.house.close()
