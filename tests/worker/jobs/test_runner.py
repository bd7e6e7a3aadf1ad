"""When a worker looks for the next job at once, and when it pauses first."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import structlog
from tests.worker.http.serving import SlowModel, wav

from modelward.worker.inference.admission import Work
from modelward.worker.inference.engine import Engine
from modelward.worker.inference.loader import LoadedVersion
from modelward.worker.jobs.runner import JobRunner, JobWords
from modelward.worker.jobs.store import JobStore, StoreLimits

WORDS = JobWords(lambda request, loaded: ("auto", False), lambda request, answer: (b"{}", "application/json"))


def loop_of_links(name: str) -> Callable[[Path], None]:
    def made(job: Path) -> None:
        (job / name).unlink(missing_ok=True)
        (job / name).symlink_to(job / name)

    return made


def loaded(version: str, artifact: str) -> LoadedVersion:
    return LoadedVersion(version, version * 8, artifact, SlowModel(version))  # type: ignore[arg-type]


async def rounds(directory: Path, spoil: list[Callable[[Path], None]], *, model: bool) -> list[bool]:
    """What each round says until it says that there is nothing more now, and once more."""
    store = JobStore(str(directory), worker="w1", run="r")
    for number, change in enumerate(spoil):
        room = StoreLimits(9, 1 << 30)
        change(directory / store.accept(wav(1), {}, room, now=float(number), client="c").id)
    engine = Engine(loaded, swapped=lambda *_: None)
    if model:
        await engine.prepare("r", "v1", "/v1")
        engine.commit("r")
    log: Any = structlog.get_logger()
    work = Work(queue=8, audio_bytes=1 << 30)
    runner = JobRunner(store, engine=engine, work=work, log=log, words=WORDS, max_audio_seconds=lambda: 60.0)
    said = []
    while len(said) < 9 and said[-2:] != [False, False]:
        said.append(await runner._one())
    return said


def whole(job: Path) -> None: ...


@pytest.mark.parametrize(
    ("spoil", "model", "said"),
    [
        ([], True, [False, False]),
        ([whole], False, [False, False]),
        ([whole, whole], True, [True, True, False, False]),
        ([loop_of_links("audio")], True, [True, False, False]),  # it waits, and is not tried again at once
        ([loop_of_links("audio"), whole], True, [True, True, False, False]),
        ([loop_of_links("pieces")], True, [False, False]),
        ([loop_of_links("claim.json"), whole], True, [True, False, False]),
    ],
)
def test_a_worker_looks_again_at_once_only_where_it_worked_on_a_job(
    tmp_path: Path, spoil: list[Callable[[Path], None]], model: bool, said: list[bool]
) -> None:
    assert asyncio.run(rounds(tmp_path, spoil, model=model)) == said
