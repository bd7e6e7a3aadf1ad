"""Real validator children for tests: read what it said, keep what it accepted as the daemon does."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from tests.support import PATIENCE_SECONDS

from modelward.daemon.models.child_directory import FOR_VALIDATOR, child_directory
from modelward.daemon.models.publish_artifact import publish_version
from modelward.worker import child_protocol
from modelward.worker.child_protocol import Candidate, GateDone, GateStarted, Judged

ROOT = Path(__file__).resolve().parents[3]


class Verdict(Judged, frozen=True, tag="judged"):
    """A validator's last line, and where the version was kept."""

    artifact: str = ""


@dataclass(frozen=True)
class Outcome:
    """Everything one validator said, and how it ended."""

    verdict: Verdict
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


def candidate(path: Path, directory: Path, **more: Any) -> Candidate:
    settings: dict[str, Any] = {"memory_bytes": 1 << 30, "timeout_seconds": 30.0, **more}
    return Candidate(path=str(path), version=path.name, directory=str(directory), **settings)


def run_child(stdin: bytes, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """The child as the daemon starts it: hardly any environment, a session of its own."""
    return subprocess.run(
        [sys.executable, "-m", "modelward.worker.validate"],
        input=stdin,
        capture_output=True,
        timeout=PATIENCE_SECONDS,
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT / ".imports"),
            "OPENBLAS_NUM_THREADS": "1",
            **environment,
        },
        start_new_session=True,
    )


def judge(path: Path, artifacts: Path | None = None, **more: Any) -> Outcome:
    """A child's verdict on the version in `path`, which is kept in `artifacts`; `more` are fields of Candidate."""
    if artifacts is None:
        with tempfile.TemporaryDirectory() as nowhere:
            return judge(path, Path(nowhere), **more)
    return asyncio.run(_judge(path, artifacts, more))


async def _judge(path: Path, artifacts: Path, more: dict[str, Any]) -> Outcome:
    async with child_directory(artifacts, FOR_VALIDATOR) as directory:
        asked = candidate(path, directory, **more)
        done = await asyncio.to_thread(run_child, msgspec.json.encode(asked))
        messages = [child_protocol.decode_from_validator(line) for line in done.stdout.splitlines()]
        errors = done.stderr.decode(errors="replace")
        assert messages and isinstance(last := messages[-1], Judged), (messages, errors)
        kept = publish_version(directory, artifacts, asked.version, last.digest, asked.kind) if last.accepted else ""
    return Outcome(
        verdict=Verdict(**msgspec.structs.asdict(last), artifact=str(kept)),
        gates=tuple(m for m in messages if isinstance(m, GateDone)),
        started=tuple(m.gate for m in messages if isinstance(m, GateStarted)),
        status=done.returncode,
        errors=errors,
    )
