"""With how many threads a piece of work runs."""

from __future__ import annotations

import asyncio
import os
import tempfile
import threading
from pathlib import Path

import pytest
from tests.support import PATIENCE_SECONDS, soon

from modelward.worker.runs import LONG_NICENESS, Run
from modelward.worker.slots import Slots
from modelward.worker.work import Work


class Model:
    """Says with how many threads it was run."""

    def __init__(self, lone_threads: int) -> None:
        self.ready, self.asked = lone_threads, 0

    def lone_threads(self) -> int:
        self.asked += 1
        return self.ready

    def run(self, threads: int) -> int:
        return threads


async def runs(model: Model, at_once: int, *, slots: int = 2, free: int = 9, others: int = 0) -> list[int]:
    """What `at_once` pieces of work ran with, while `others` of another worker run."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "slots")
        path.touch()
        os.truncate(path, slots)
        heard: list[Run] = []
        mine, sibling = Slots(str(path)), Slots(str(path))
        work = Work(
            queue=9,
            audio_bytes=1,
            slots=(mine, Slots(), Slots()),
            ran=heard.append,
            free_processors=lambda: free,
        )
        try:
            for _ in range(others):
                await sibling.turn()
            found = await asyncio.gather(*(work.infer(model.run, model.lone_threads) for _ in range(at_once)))
            assert [run.threads for run in heard] == list(found)
            return list(found)
        finally:
            sibling.close()
            work.close()


@pytest.mark.parametrize(
    ("lone_threads", "at_once", "options", "wanted"),
    [
        (2, 1, {}, [2]),
        (1, 1, {}, [1]),  # none ready, or none proved
        (2, 1, {"free": 1}, [1]),  # other programs want the processors
        (2, 1, {"others": 1}, [1]),  # another worker runs something
        (2, 1, {"slots": 1}, [1]),  # one worker is to use one processor
        (3, 1, {}, [1]),  # proved with more than there are workers by now
        (2, 2, {}, [2, 1]),
    ],
)
def test_more_threads_are_for_what_has_the_machine_to_itself(
    lone_threads: int, at_once: int, options: dict[str, int], wanted: list[int]
) -> None:
    assert asyncio.run(runs(Model(lone_threads), at_once, **options)) == wanted


@pytest.mark.parametrize("options", [{"others": 1}, {"free": 1}])
def test_a_model_is_not_opened_again_while_others_want_the_processors(options: dict[str, int]) -> None:
    model = Model(2)
    asyncio.run(runs(model, 1, **options))
    assert model.asked == 0


@pytest.mark.parametrize("slots", [1, 2])
def test_runs_that_outlive_every_limit_are_counted_and_when_they_hold_all_slots_nothing_can_be_answered(
    slots: int, tmp_path: Path
) -> None:
    async def play() -> None:
        path = tmp_path / "slots"
        path.touch()
        os.truncate(path, slots)
        release, noticed = threading.Event(), asyncio.Event()
        work = Work(
            queue=9, audio_bytes=1, slots=(Slots(str(path)), Slots(), Slots()), limit_seconds=0.05, noticed=noticed.set
        )
        try:
            stuck = [
                asyncio.create_task(work.infer(lambda threads: release.wait(PATIENCE_SECONDS))) for _ in range(slots)
            ]
            await noticed.wait()
            await soon(lambda: work.stuck == slots)
            assert "does not end" in work.jammed()
            for task in stuck:
                task.cancel()  # their clients were told; the runs go on
            await asyncio.sleep(0)
            assert work.stuck == slots
            release.set()
            await soon(lambda: not work.stuck)
            assert work.jammed() == ""
            assert await work.infer(lambda threads: threads)
        finally:
            release.set()
            work.close()

    asyncio.run(play())


def test_a_short_clip_waits_for_no_run_of_a_long_one_and_runs_at_a_higher_priority() -> None:
    def niceness(threads: int) -> int:
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    async def play() -> None:
        release = threading.Event()
        work = Work(queue=9, audio_bytes=1)
        try:
            long = [asyncio.create_task(work.infer(lambda threads: release.wait(60), long=True)) for _ in range(3)]
            await soon(lambda: work.waiting == 2)
            usual = await work.infer(niceness)
            assert (work.runs, work.waiting) == (1, 2), "those of long clips go on one after the other"
            release.set()
            assert await asyncio.gather(*long) == [True] * 3
            assert await work.infer(niceness, long=True) == min(19, usual + LONG_NICENESS)
        finally:
            release.set()
            work.close()

    asyncio.run(play())
