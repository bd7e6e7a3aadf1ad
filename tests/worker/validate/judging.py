"""Real validator children for tests: give one a candidate, read what it said."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from modelward.worker import protocol
from modelward.worker.protocol import Candidate, GateDone, GateStarted, Judged

ROOT = Path(__file__).resolve().parents[3]
SECONDS = 60


@dataclass(frozen=True)
class Outcome:
    """Everything one validator said, and how it ended."""

    verdict: Judged
    gates: tuple[GateDone, ...]
    started: tuple[str, ...]
    status: int
    errors: str

    def gate(self, name: str) -> GateDone:
        return next(gate for gate in self.gates if gate.gate == name)

    @property
    def failed(self) -> str:
        """The gate that did not pass, "" when all did."""
        return next((gate.gate for gate in self.gates if not gate.passed), "")


def candidate(path: Path, artifacts: Path | None, **more: Any) -> Candidate:
    settings: dict[str, Any] = {"memory_bytes": 1 << 30, "timeout_seconds": 30.0, **more}
    return Candidate(path=str(path), version=path.name, artifact_root=str(artifacts) if artifacts else "", **settings)


def run_child(stdin: bytes, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """The child as the daemon starts it: hardly any environment, a session of its own."""
    return subprocess.run(
        [sys.executable, "-m", "modelward.worker.validate"],
        input=stdin,
        capture_output=True,
        timeout=SECONDS,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / ".imports"), **environment},
        start_new_session=True,
    )


def judge(path: Path, artifacts: Path | None = None, **more: Any) -> Outcome:
    """A child's verdict on the version in `path`; `more` are fields of Candidate."""
    done = run_child(msgspec.json.encode(candidate(path, artifacts, **more)))
    messages = [protocol.decode_from_validator(line) for line in done.stdout.splitlines()]
    errors = done.stderr.decode(errors="replace")
    assert messages and isinstance(messages[-1], Judged), (messages, errors)
    return Outcome(
        verdict=messages[-1],
        gates=tuple(m for m in messages if isinstance(m, GateDone)),
        started=tuple(m.gate for m in messages if isinstance(m, GateStarted)),
        status=done.returncode,
        errors=errors,
    )
