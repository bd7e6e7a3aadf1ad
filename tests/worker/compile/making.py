"""Real compiler children for tests: give one an artifact, read what it reported."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from modelward.worker import protocol
from modelward.worker.protocol import FormLearned, FormMade, FormRefused, FormRequest, FormsDone

ROOT = Path(__file__).resolve().parents[3]
SECONDS = 100


@dataclass
class Outcome:
    """Everything one compiler reported, by stage, and how it ended."""

    made: dict[str, FormMade] = field(default_factory=dict)
    refused: dict[str, FormRefused] = field(default_factory=dict)
    learned: dict[str, dict[str, object]] = field(default_factory=dict)
    done: bool = False
    status: int = 0
    errors: str = ""


def request(artifact: Path, **more: Any) -> FormRequest:
    """Both stages of the artifact, left beside it; `more` are fields of FormRequest.

    Urgent: tests run on busy machines.
    """
    settings: dict[str, Any] = {"memory_bytes": 2 << 30, "cpu_seconds": 90, "urgent": True, **more}
    return FormRequest(artifact=str(artifact), root=str(artifact.parent), **settings)


def run_compiler(stdin: bytes) -> subprocess.CompletedProcess[bytes]:
    """The child as the daemon starts it: hardly any environment, a session of its own."""
    return subprocess.run(
        [sys.executable, "-m", "modelward.worker.compile"],
        input=stdin,
        capture_output=True,
        timeout=SECONDS,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / ".imports")},
        cwd="/",
        start_new_session=True,
    )


def compiled(artifact: Path, **more: Any) -> Outcome:
    """What a child made of the artifact."""
    done = run_compiler(msgspec.json.encode(request(artifact, **more)))
    outcome = Outcome(status=done.returncode, errors=done.stderr.decode(errors="replace"))
    for line in done.stdout.splitlines():
        match message := protocol.decode_from_compiler(line):
            case FormMade():
                outcome.made[message.stage] = message
            case FormRefused():
                outcome.refused[message.stage] = message
            case FormLearned():
                outcome.learned[message.key] = message.recipe
            case FormsDone():
                outcome.done = True
    return outcome
