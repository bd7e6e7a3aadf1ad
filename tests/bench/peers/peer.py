"""What the bench knows of a server that it measures: what to install, how to start it, how to ask it.

A peer's file holds both sides: `PEER` for the bench, and `serve`, which runs in an environment of the peer's own. So
nothing is imported here that such an environment may not have.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench.clips import FORM_TYPE, Clip
from tests.bench.load import Answer, post

CORES = len(os.sched_getaffinity(0))


RECOGNIZER = ("numpy", "onnxruntime", "msgspec")
"""What pip installs for a peer that uses `recognizer.py`."""


@dataclass(frozen=True)
class Place:
    """Where a server runs: the interpreter of its environment, the link that names its version, its port, a scratch
    directory of its own, and how many processes (or threads of work) it should have."""

    python: Path
    link: Path
    port: int
    scratch: Path
    workers: int = CORES

    @property
    def bin(self) -> Path:
        return self.python.parent


@dataclass(frozen=True)
class Peer:
    """`requirements` are what pip installs for it. `command` starts it. `replace` makes it take the version that the
    link names now; None for one that can only be started anew. `parallel` requests run at once at most."""

    name: str
    title: str
    requirements: tuple[str, ...]
    command: Callable[[Place], list[str]]
    ask: Callable[[int, Clip], Answer]
    replace: Callable[[Place], None] | None = None
    parallel: int = 1
    setup: str = ""
    environment: dict[str, str] = field(default_factory=dict)


def itself(module: str) -> Callable[[Place], list[str]]:
    """The command of a peer whose server is its own file."""

    def command(place: Place) -> list[str]:
        return [str(place.python), "-m", module, str(place.link), str(place.port), str(place.workers)]

    return command


def asked_by_form(path: str) -> Callable[[int, Clip], Answer]:
    """A clip as the form's part `audio`; the answer is JSON with `result` and `version`."""

    def ask(port: int, clip: Clip) -> Answer:
        body, headers = post(port, path, clip.form, FORM_TYPE)
        said = json.loads(body)
        return Answer(said["result"], said.get("version") or headers.get("x-model-version", ""))

    return ask
