"""Several workers' shares of the same slots, on a real file, in one event loop."""

from __future__ import annotations

import asyncio
import os
import tempfile
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests import support
from tests.examples import examples
from tests.support import soon

from modelward.worker.scheduling.fairness import PATIENCE_SECONDS, mark
from modelward.worker.scheduling.slot_file import Board
from modelward.worker.scheduling.slots import NO_SLOT, Slots


@dataclass
class Hands:
    """A clock that only goes on when it is read or moved."""

    now: int = 1_000_000_000

    def __call__(self) -> int:
        self.now += 1000
        return self.now


@dataclass(eq=False)
class Asked:
    """One piece of work: it asks when made and holds what it got until `end`."""

    slots: Slots
    order: int
    task: asyncio.Task[int] = field(init=False)

    def __post_init__(self) -> None:
        self.task = asyncio.get_running_loop().create_task(self.slots.turn())

    @property
    def has(self) -> bool:
        return self.task.done() and not self.task.cancelled()

    def end(self) -> None:
        self.slots.free(self.task.result())


async def rest() -> None:
    """Returns when every worker has heard what the others told it."""
    for _ in range(24):
        await asyncio.sleep(0)


@asynccontextmanager
async def workers(
    count: int, slots: int, directory: Path, clock: Callable[[], int] | None = None
) -> AsyncIterator[list[Slots]]:
    path = directory / "slots"
    path.touch()
    os.truncate(path, slots)
    clock = clock or Hands()
    made = [Slots(str(path), monotonic_ns=clock) for _ in range(count)]
    try:
        yield made
    finally:
        for one in made:
            one.close()


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(test, support.PATIENCE_SECONDS))


STEPS = st.lists(st.tuples(st.sampled_from(["ask", "ask", "end", "cancel"]), st.integers(0, 99)), max_size=40)


@settings(max_examples=examples(120), suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(2, 4), st.integers(2, 4), STEPS)
def test_nobody_waits_while_a_slot_is_free_and_who_asked_first_has_it_first(
    count: int, slots: int, steps: list[tuple[str, int]]
) -> None:
    async def play(directory: Path) -> None:
        async with workers(count, slots, directory) as them:
            asked: list[Asked] = []
            given_up_to = -1
            for order, (step, which) in enumerate(steps):
                having, waiting = [a for a in asked if a.has], [a for a in asked if not a.task.done()]
                if step == "ask":
                    asked.append(Asked(them[which % count], order))
                elif step == "end" and having:
                    ended = having[which % len(having)]
                    asked.remove(ended)
                    ended.end()
                elif step == "cancel" and waiting:
                    waiting[which % len(waiting)].task.cancel()
                await rest()
                having, waiting = [a for a in asked if a.has], [a for a in asked if not a.task.done()]
                assert len(having) == sum(w.running for w in them) <= slots
                assert len(waiting) == sum(w.waiting for w in them)
                assert not waiting or len(having) == slots
                given_up_to = max([given_up_to, *(a.order for a in having)])
                assert all(a.order > given_up_to for a in waiting)
            for one in asked:
                if not one.has:
                    one.task.cancel()
            await rest()

    with tempfile.TemporaryDirectory() as directory:
        run(play(Path(directory)))


def test_one_worker_has_all_slots_while_the_others_have_nothing_to_do(tmp_path: Path) -> None:
    async def play() -> None:
        async with workers(2, 2, tmp_path) as (a, b):
            mine = [Asked(a, i) for i in range(3)]
            await rest()
            assert [m.has for m in mine] == [True, True, False]
            his = Asked(b, 3)
            await rest()
            mine[0].end()
            await rest()
            assert mine[2].has and not his.has
            mine[1].end()
            await rest()
            assert his.has

    run(play())


def test_one_run_may_fill_all_slots_while_nobody_else_of_any_worker_runs_or_waits(tmp_path: Path) -> None:
    async def play() -> None:
        async with workers(2, 2, tmp_path) as (a, b):
            mine = Asked(a, 0)
            await rest()
            assert (a.reach, b.reach) == (2, 1)
            his = Asked(b, 1)
            await rest()
            assert (a.reach, b.reach) == (1, 1)
            his.end()
            await rest()
            assert a.reach == 2
            more = Asked(a, 2)
            await rest()
            assert a.reach == 1, "two of one worker's are two"
            mine.end()
            more.end()
            await rest()
            assert a.reach == 1, "nothing runs"

    run(play())


def test_one_who_shares_with_nobody_runs_one_piece_at_a_time(tmp_path: Path) -> None:
    async def play(slots: Slots) -> None:
        one, two = Asked(slots, 0), Asked(slots, 1)
        await rest()
        assert one.task.result() == NO_SLOT and not two.has
        one.end()
        await rest()
        assert two.task.result() == NO_SLOT
        slots.close()

    async def with_a_single_slot() -> None:
        async with workers(1, 1, tmp_path) as (a,):
            await play(a)

    async def without() -> None:
        await play(Slots())

    run(without())
    run(with_a_single_slot())


def test_a_cancelled_task_that_had_just_got_its_slot_gives_it_back(tmp_path: Path) -> None:
    async def play() -> None:
        async with workers(2, 2, tmp_path) as (a, b):
            first, second, third = Asked(a, 0), Asked(a, 1), Asked(b, 2)
            await rest()
            assert not third.has
            first.end()
            b._woken()  # as if the datagram had come: the slot is given, the task has not run yet
            third.task.cancel()
            await rest()
            assert third.task.cancelled() and b.running == 0
            fourth = Asked(a, 3)
            await rest()
            assert fourth.has and second.has

    run(play())


def test_one_who_does_not_take_what_is_free_is_passed_over(tmp_path: Path) -> None:
    async def play() -> None:
        async with workers(1, 2, tmp_path) as (a,):
            stopped = Board(str(tmp_path / "slots"))
            stopped.stand(mark(1, stopped.number))
            late = Asked(a, 0)
            await rest()
            assert not late.has
            await soon(lambda: late.has)
            late.end()
            again = Asked(a, 1)
            await rest()
            assert again.has, "once is enough"
            stopped.close()

    run(play())


def test_goes_on_alone_when_all_slots_are_held_and_nothing_moves(tmp_path: Path) -> None:
    async def play() -> None:
        clock = Hands()
        async with workers(1, 2, tmp_path, clock) as (a,):
            hangs = Board(str(tmp_path / "slots"))
            assert {hangs.take(()), hangs.take((0, 1)), hangs.take((1,)), hangs.take((0,))} >= {0, 1}
            one, two = Asked(a, 0), Asked(a, 1)
            await rest()
            assert not one.has
            clock.now += int(PATIENCE_SECONDS * 1e9)
            await soon(lambda: one.has)
            assert one.task.result() == NO_SLOT and not two.has
            one.end()
            await rest()
            assert two.task.result() == NO_SLOT, "it does not wait as long again"
            two.end()
            hangs.close()
            three, four = Asked(a, 2), Asked(a, 3)
            await rest()
            assert {three.task.result(), four.task.result()} == {0, 1}

    run(play())


def test_keeps_its_place_for_as_long_as_those_before_it_move_on(tmp_path: Path) -> None:
    async def play() -> None:
        clock = Hands()
        async with workers(2, 2, tmp_path, clock) as (a, b):
            first = [Asked(a, i) for i in range(8)]
            late = Asked(b, 8)
            await rest()
            for one in first[:6]:
                clock.now += int(0.6 * PATIENCE_SECONDS * 1e9)
                one.end()
                looked = clock.now
                await soon(lambda looked=looked: clock.now - looked > 20_000)  # type: ignore[misc]
                assert not late.has
            first[6].end()
            await soon(lambda: late.has)
            assert late.task.result() != NO_SLOT

    run(play())


def test_all_lose_patience_together_when_every_slot_is_held_by_one_that_hangs(tmp_path: Path) -> None:
    async def play() -> None:
        clock = Hands()
        async with workers(4, 2, tmp_path, clock) as (hangs, *others):
            held = [Asked(hangs, i) for i in range(2)]
            late = [Asked(one, i) for i, one in enumerate(others)]
            await rest()
            assert all(one.has for one in held) and not any(one.has for one in late)
            clock.now += int(1.1 * PATIENCE_SECONDS * 1e9)
            started = clock.now
            await soon(lambda: all(one.has for one in late))
            assert clock.now - started < PATIENCE_SECONDS * 1e9
            assert {one.task.result() for one in late} == {NO_SLOT}
            for one in (*late, *held):
                one.end()
            again = [Asked(one, i) for i, one in enumerate(others)]
            await soon(lambda: {one.task.result() for one in again if one.has} >= {0, 1})

    run(play())


def test_who_lost_patience_with_nobody_waiting_begins_anew(tmp_path: Path) -> None:
    async def play() -> None:
        clock = Hands()
        async with workers(1, 2, tmp_path, clock) as (a,):
            busy = Board(str(tmp_path / "slots"))
            held = [busy.take(()), busy.take((busy.number % 2,))]
            assert sorted(s for s in held if s is not None) == [0, 1]
            gone = Asked(a, 0)
            await rest()
            gone.task.cancel()
            await rest()
            clock.now += 10 * int(PATIENCE_SECONDS * 1e9)
            late = Asked(a, 1)
            await rest()
            assert not late.has
            busy.close()
            await soon(lambda: late.has)
            assert late.task.result() != NO_SLOT

    run(play())


def test_follows_the_number_of_slots(tmp_path: Path) -> None:
    async def play() -> None:
        async with workers(1, 1, tmp_path) as (a,):
            asked = [Asked(a, i) for i in range(5)]
            await rest()
            assert a.running == 1
            os.truncate(tmp_path / "slots", 3)
            asked[0].end()
            await rest()
            assert a.running == 3
            os.truncate(tmp_path / "slots", 1)
            asked[1].end()
            await rest()
            assert a.running == 2, "what it has it keeps, nothing is added"
            asked[2].end()
            asked[3].end()
            await rest()
            assert a.running == 1 and asked[4].has

    run(play())


def test_goes_alone_while_the_file_is_gone_and_shares_again_when_it_is_back(tmp_path: Path) -> None:
    async def play() -> None:
        clock, said = Hands(), list[str]()
        slots = Slots(str(tmp_path / "slots"), report=said.append, monotonic_ns=clock)
        for _ in range(3):
            alone = Asked(slots, 0)
            await rest()
            assert alone.task.result() == NO_SLOT
            alone.end()
            clock.now += 2_000_000_000
        assert len(said) == 1 and said[0].startswith("cannot share slots with other workers: No such file")
        for _ in range(2):
            (tmp_path / "slots").write_bytes(b"..")
            shared = [Asked(slots, 1), Asked(slots, 2)]
            await rest()
            assert {s.task.result() for s in shared} == {0, 1}
            for one in shared:
                one.end()
            (tmp_path / "slots").unlink()
            clock.now += 2_000_000_000
            alone, waits = Asked(slots, 3), Asked(slots, 4)
            await rest()
            assert alone.task.result() == NO_SLOT and not waits.has
            alone.end()
            await rest()
            waits.end()
            clock.now += 2_000_000_000
        slots.close()

    run(play())


@pytest.mark.parametrize("slots", [1, 2])
def test_at_rest_nothing_is_due(tmp_path: Path, slots: int) -> None:
    async def play() -> None:
        async with workers(2, slots, tmp_path) as them:
            asked = [Asked(w, i) for i in range(3) for w in them]
            await rest()
            for one in asked:
                await one.task
                one.end()
                await rest()
            loop: Any = asyncio.get_running_loop()
            assert [h for h in loop._scheduled if not h.cancelled() and "Slots" in repr(h)] == []

    run(play())


def test_one_who_leaves_a_file_that_is_gone_takes_nobodys_bell_away(tmp_path: Path) -> None:
    async def play() -> None:
        async with workers(1, 2, tmp_path) as (old,):
            one = Asked(old, 0)
            await rest()
            one.end()
            (tmp_path / "slots").unlink()
            async with workers(2, 2, tmp_path) as (a, b):
                asked = [Asked(a, 1), Asked(a, 2), Asked(b, 3)]
                await rest()
                assert [one.has for one in asked] == [True, True, False]
                bells = sorted(path.name for path in tmp_path.glob("slots.*"))
                assert bells == ["slots.0", "slots.1"]
                old.close()
                assert sorted(path.name for path in tmp_path.glob("slots.*")) == bells
                asked[2].task.cancel()
                for done in asked[:2]:
                    done.end()

    run(play())


def test_a_piece_that_can_wait_lets_others_go_first_but_not_for_ever() -> None:
    async def play() -> list[str]:
        now, order = [0], []
        slots = Slots(monotonic_ns=lambda: now[0])

        async def take(name: str, later_seconds: float = 0.0) -> None:
            slot = await slots.turn(later_seconds=later_seconds)
            order.append(name)
            slots.free(slot)

        first = await slots.turn()
        waiting = []
        for seconds, name, later in ((0, "long", 3.0), (1, "soon", 0.0), (2, "later", 0.0), (4, "late", 0.0)):
            now[0] = seconds * 10**9
            waiting.append(asyncio.create_task(take(name, later)))
            await asyncio.sleep(0)
        slots.free(first)
        await asyncio.gather(*waiting)
        slots.close()
        return order

    assert asyncio.run(play()) == ["soon", "later", "long", "late"]


def test_a_board_that_is_opened_aside_is_waited_for_and_shared(tmp_path: Path) -> None:
    async def test() -> None:
        (tmp_path / "slots").touch()
        os.truncate(tmp_path / "slots", 2)
        with ThreadPoolExecutor(1) as aside:
            one, other = (Slots(str(tmp_path / "slots"), aside=aside) for _ in range(2))
            asked = [Asked(slots, n) for n, slots in enumerate((one, other, one, other))]
            await soon(lambda: sum(a.has for a in asked) == 2)
            assert NO_SLOT not in [a.task.result() for a in asked if a.has]
            first = [a for a in asked if a.has]
            for a in first:
                a.end()
            await soon(lambda: all(a.has for a in asked))
            for a in asked:
                if a not in first:
                    a.end()
            one.close()
            other.close()
        assert os.listdir(tmp_path) == ["slots"]

    run(test())


def test_a_board_on_a_disk_that_does_not_answer_holds_up_no_request(tmp_path: Path) -> None:
    async def test() -> None:
        answers = threading.Event()
        with ThreadPoolExecutor(1) as aside:
            aside.submit(answers.wait)
            slots = Slots(str(tmp_path / "slots"), aside=aside)
            assert await slots.turn() == NO_SLOT
            slots.free(NO_SLOT)
            slots.close()
            answers.set()

    run(test())
