"""The place of a soak: a house, on small disks of its own where that can be had; its versions; the clock's seam."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import subprocess
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from tests.house import DIGITS, House
from tests.soak.plan import FIRST_VERSION, GOOD_FORMS
from tests.soak.seam import Seam
from tests.versions import (
    external_version,
    good_version,
    quantized_version,
    sherpa_version,
)

from modelward.daemon.errors import ModelwardError

DATA_SIZE, LOG_SIZE = "512m", "64m"
ON_DATA = ("models", "state", "cache")
START_SECONDS = 60.0
_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER
_FORMS = {
    "words": lambda root, name: good_version(root, name, words=True),
    "external": external_version,
    "quantized": quantized_version,
    "sherpa": sherpa_version,
}


@dataclass(frozen=True)
class Kill:
    """A worker that was killed: `ports` are its clients', `began` and `ended` enclose its death, monotonic seconds."""

    pid: int
    ports: frozenset[int]
    began: float
    ended: float


@dataclass
class Town:
    """`small_disks`: "" when the house's disks can be filled, else why not."""

    base: Path
    house: House
    seam: Seam
    small_disks: str
    styles: dict[str, str] = field(default_factory=dict)  # what a version writes, by its name
    kinds: dict[str, str] = field(default_factory=dict)  # what is wrong with it, "" for nothing
    kills: list[Kill] = field(default_factory=list)
    daemon_kills: list[float] = field(default_factory=list)
    failed_starts: int = 0
    log: list[str] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)
    changing: threading.RLock = field(default_factory=threading.RLock)  # held while the configuration is a bad one
    ending: threading.Lock = field(default_factory=threading.Lock)  # held while a process ends, or the log disk is full

    def say(self, text: str) -> None:
        self.log.append(f"{time.monotonic() - self.began:8.2f} {text}")

    @property
    def templates(self) -> Path:
        return self.base / "templates"

    def start(self) -> None:
        """The daemon, as a service manager would: again until it stays."""
        deadline = time.monotonic() + START_SECONDS
        with self.changing:
            while True:
                self.house.start(wait=False)
                process = self.house.process
                assert process is not None
                while process.poll() is None:
                    if self.house.answers():
                        return
                    if time.monotonic() > deadline:
                        raise AssertionError(f"the daemon did not answer within {START_SECONDS} s")
                    time.sleep(0.02)
                self.failed_starts += 1
                said = (self.house.root / "daemon.out").read_text(errors="replace")[-300:]
                self.say(f"the daemon did not start: exit status {process.returncode}: {said}")
                if time.monotonic() > deadline:
                    raise AssertionError(f"the daemon did not start within {START_SECONDS} s: {said}")
                time.sleep(0.5)

    def ready(self) -> list[int]:
        """Pids of the workers that take requests; [] when the daemon can't be asked."""
        with contextlib.suppress(ModelwardError):
            return sorted(w["pid"] for w in self.house.workers() if w["state"] == "ready")
        return []

    def reap(self) -> None:
        """Takes in what a dead daemon left: to be done by whoever became its parent."""
        daemon = self.house.process.pid if self.house.process else 0
        for child in psutil.Process().children():
            with contextlib.suppress(psutil.Error, ChildProcessError):
                if child.pid != daemon and child.status() == psutil.STATUS_ZOMBIE:
                    os.waitpid(child.pid, os.WNOHANG)

    def clear(self) -> None:
        """Takes everything away, small disks included."""
        if not self.small_disks:
            for place in (*(self.house.root / name for name in (*ON_DATA, "log")), self.base / "disk"):
                subprocess.run(["umount", "-l", str(place)], capture_output=True, check=False)
        shutil.rmtree(self.base, ignore_errors=True)


def build(base: Path) -> Town:
    """A town with its first version in place; nothing runs yet. This process becomes the parent of all orphans."""
    ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)
    root = base / "house"
    root.mkdir(parents=True)
    small_disks = _mount(base, root)
    seam = Seam(base / "seam")
    house = House(root, _settings(), import_from=(seam.directory,))
    town = Town(base, house, seam, small_disks)
    for form in GOOD_FORMS:
        _FORMS.get(form, good_version)(town.templates, form)
    shutil.copytree(town.templates / "digits", house.models / FIRST_VERSION)
    town.styles[FIRST_VERSION] = DIGITS["dtmf-v1.0"]
    town.kinds[FIRST_VERSION] = ""
    return town


def _settings() -> dict[str, dict[str, object]]:
    return {
        "validation": {"timeout": 15, "memory": "1GiB"},
        "rollout": {"bake": 1, "max_latency_ratio": 1000.0},
        "logs": {"max_size": "256KiB", "keep": 100_000, "max_age": "30d", "max_total": 0},
        "disk": {"check": 2},
    }


def _mount(base: Path, root: Path) -> str:
    """Models, state and cache on one small disk, the logs on another. Why not, "" when it was done."""
    if os.geteuid() != 0 or "MODELWARD_SOAK_MOUNTS" not in os.environ:
        return "needs root and a mount namespace of its own to mount a small disk"
    data = base / "disk"
    for directory in (data, root / "log"):
        directory.mkdir()
    commands = [
        ["mount", "-t", "tmpfs", "-o", f"size={DATA_SIZE},mode=755", "tmpfs", str(data)],
        ["mount", "-t", "tmpfs", "-o", f"size={LOG_SIZE},mode=755", "tmpfs", str(root / "log")],
    ]
    for name in ON_DATA:
        (root / name).mkdir()
        commands += [["mkdir", str(data / name)], ["mount", "--bind", str(data / name), str(root / name)]]
    for command in commands:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            return done.stderr.strip()
    return ""
