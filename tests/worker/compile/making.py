"""Real compiler children for tests: read what it reported, keep what it made as the daemon does."""

from __future__ import annotations

import asyncio
import os
import pickle
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
from tests.good_versions import made_once
from tests.support import PATIENCE_SECONDS
from tests.versions import masked_version
from tests.worker.validate.judging import judge

from modelward.daemon.models.child_directory import FOR_COMPILER, child_directory
from modelward.daemon.models.publish_artifact import publish_form
from modelward.worker import child_protocol
from modelward.worker.child_protocol import FormLearned, FormMade, FormRefused, FormRequest, FormsDone
from modelward.worker.shared.artifact import read_artifact

ROOT = Path(__file__).resolve().parents[3]


class Made(FormMade, frozen=True, tag="form_made"):
    """A form that a compiler reported, and where it was kept."""

    artifact: str = ""


@dataclass
class Outcome:
    """Everything one compiler reported, by stage, and how it ended."""

    made: dict[str, Made] = field(default_factory=dict)
    refused: dict[str, FormRefused] = field(default_factory=dict)
    learned: dict[str, dict[str, object]] = field(default_factory=dict)
    done: bool = False
    status: int = 0
    errors: str = ""


def request(artifact: Path, directory: Path, **more: Any) -> FormRequest:
    """Both stages of the artifact, left in `directory`; `more` are fields of FormRequest.

    Urgent: tests run on busy machines.
    """
    settings: dict[str, Any] = {"memory_bytes": 2 << 30, "cpu_seconds": 90, "urgent": True, **more}
    return FormRequest(artifact=str(artifact), root=str(artifact.parent), directory=str(directory), **settings)


def run_compiler(stdin: bytes) -> subprocess.CompletedProcess[bytes]:
    """The child as the daemon starts it: hardly any environment, a session of its own."""
    return subprocess.run(
        [sys.executable, "-m", "modelward.worker.compile"],
        input=stdin,
        capture_output=True,
        timeout=PATIENCE_SECONDS,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / ".imports"), "OPENBLAS_NUM_THREADS": "1"},
        cwd="/",
        start_new_session=True,
    )


def compiled(artifact: Path, **more: Any) -> Outcome:
    """What a child made of the artifact, kept beside it."""
    return asyncio.run(_compiled(artifact, more))


async def _compiled(artifact: Path, more: dict[str, Any]) -> Outcome:
    async with child_directory(artifact.parent, FOR_COMPILER) as directory:
        asked = request(artifact, directory, **more)
        return _kept(asked, await asyncio.to_thread(run_compiler, msgspec.json.encode(asked)))


def _kept(asked: FormRequest, done: subprocess.CompletedProcess[bytes]) -> Outcome:
    plain = read_artifact(Path(asked.artifact))
    outcome = Outcome(status=done.returncode, errors=done.stderr.decode(errors="replace"))
    for line in done.stdout.splitlines():
        match message := child_protocol.decode_from_compiler(line):
            case FormMade():
                kept = publish_form(asked, plain.version, plain.digest, message.stage)
                outcome.made[message.stage] = Made(**msgspec.structs.asdict(message), artifact=str(kept))
            case FormRefused():
                outcome.refused[message.stage] = message
            case FormLearned():
                outcome.learned[message.key] = message.recipe
            case FormsDone():
                outcome.done = True
    return outcome


def masked_artifact() -> Path:
    """The artifact of a version that answers the same in a fraction of the time without its padding masks.

    Made once in a run of the tests, as `masked_forms` is. For copying from, not for changing.
    """

    def make(directory: Path) -> None:
        verdict = judge(masked_version(directory / "models"), directory / "cache").verdict
        assert verdict.accepted, verdict.because

    return next((made_once("masked", make) / "cache").glob("dtmf-*"))


def masked_forms() -> tuple[Path, Outcome]:
    """A copy of it with its forms beside, and what the compiler answered."""
    plain = masked_artifact()

    def make(directory: Path) -> None:
        shutil.copytree(plain, artifact := directory / "root" / plain.name)
        (directory / "outcome").write_bytes(pickle.dumps(compiled(artifact, lone_threads=2)))

    kept = made_once("masked-forms", make)
    outcome: Outcome = pickle.loads((kept / "outcome").read_bytes())
    for stage, made in outcome.made.items():  # each form was moved with its root since
        outcome.made[stage] = msgspec.structs.replace(made, artifact=str(kept / "root" / Path(made.artifact).name))
    return kept / "root" / plain.name, outcome
