"""With how many threads a piece of work runs."""

from __future__ import annotations

import asyncio
import os
import struct
import tempfile
import threading
from pathlib import Path

import pytest
from tests.support import PATIENCE_SECONDS, soon
from tests.worker.http.serving import wav

from modelward.worker.audio.limits import BadAudio
from modelward.worker.inference.admission import SHORT_SECONDS, Work
from modelward.worker.scheduling.model_runs import LONG_NICENESS, Run
from modelward.worker.scheduling.slots import Slots


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


def test_while_slow_runs_hold_every_slot_and_others_ask_nothing_can_be_answered_soon() -> None:
    async def play(directory: str) -> None:
        path, release, slowed = Path(directory, "slots"), threading.Event(), asyncio.Event()
        path.touch()
        os.truncate(path, 2)
        sibling = Slots(str(path))
        work = Work(
            queue=9,
            audio_bytes=1,
            slots=(Slots(str(path)), Slots(), Slots()),
            limit_seconds=PATIENCE_SECONDS,
            slow_seconds=0.05,
            slowed=slowed.set,
        )
        try:
            theirs = await sibling.turn()
            slow = asyncio.create_task(work.infer(lambda threads: release.wait(PATIENCE_SECONDS)))
            await slowed.wait()
            assert work.jammed() == "", "nobody asked for anything meanwhile"
            other = asyncio.create_task(work.infer(lambda threads: threads))
            await soon(lambda: work.waiting == 1)
            assert "takes more than" in work.jammed()
            other.cancel()
            await soon(lambda: work.waiting == 0)
            assert "takes more than" in work.jammed(), "who comes next would wait as well"
            sibling.free(theirs)
            assert work.jammed() == "", "a slot is free"
            theirs = await sibling.turn()
            assert work.jammed()
            release.set()
            assert await slow
            assert work.jammed() == ""
            assert not work.stuck
        finally:
            release.set()
            work.close()
            sibling.close()

    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(play(directory))


def test_a_short_wav_waits_for_no_long_one() -> None:
    async def read(work: Work, seconds: float) -> int:
        async with work.decoded(bytearray(wav(seconds)), max_seconds=3600) as samples:
            return len(samples.samples)

    async def play() -> None:
        release = threading.Event()
        work = Work(queue=9, audio_bytes=1 << 30)
        try:
            cut = asyncio.create_task(work.beside(lambda: release.wait(PATIENCE_SECONDS), long=True))
            long = [asyncio.create_task(read(work, 2 * SHORT_SECONDS)) for _ in range(3)]
            assert await read(work, 5) == 5 * 16_000
            assert not any(task.done() for task in long), "they wait for one another"
            release.set()
            assert await asyncio.gather(*long) == [2 * SHORT_SECONDS * 16_000] * 3
            await cut
        finally:
            release.set()
            work.close()

    asyncio.run(play())


def test_a_run_is_slow_only_beside_what_runs_of_the_same_model_take() -> None:
    async def play() -> None:
        slowed = asyncio.Event()
        work = Work(queue=9, audio_bytes=1, slow_seconds=0.05, slowed=slowed.set)
        pause = threading.Event()
        try:
            await work.infer(lambda threads: pause.wait(0.5))
            assert slowed.is_set(), "nothing was known of it"
            slowed.clear()
            await work.infer(lambda threads: pause.wait(0.5))
            assert not slowed.is_set()
        finally:
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


@pytest.mark.parametrize(("channels", "rate", "because"), [(60_000, 8000, "60000 channels"), (1, 1, "says 1 Hz")])
@pytest.mark.parametrize("split", [True, False])
def test_a_clip_whose_header_makes_no_sense_is_refused_before_room_is_asked_for(
    channels: int, rate: int, because: str, split: bool
) -> None:
    form = struct.pack("<HHIIHH", 7, channels, rate, rate, channels, 8)
    data = b"RIFF\xff\xff\xff\xffWAVEfmt " + struct.pack("<I", 16) + form + b"data\xff\xff\xff\xff"
    data += bytes(100 * channels)

    async def play() -> None:
        work = Work(queue=9, audio_bytes=1)
        try:
            async with work.reserved(1), asyncio.timeout(PATIENCE_SECONDS):  # whoever asks for room waits
                with pytest.raises(BadAudio, match=because):
                    async with work.decoded(bytearray(data), max_seconds=3600, split=split):
                        pass
        finally:
            work.close()

    asyncio.run(play())
