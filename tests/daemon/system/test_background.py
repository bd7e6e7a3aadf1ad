"""No exception of a task, a callback or a thread is lost, and none ends anything but that."""

from __future__ import annotations

import ast
import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from tests.fakes.clock import FakeClock
from tests.support import PATIENCE_SECONDS, soon
from tests.unexpected import UNEXPECTED

from modelward.daemon.system import background as module
from modelward.daemon.system.background import (
    PROVED_SECONDS,
    Background,
    here,
    reader,
    record_thread_failures,
    start_thread,
)
from modelward.daemon.system.failures import MAX_PARTS, PAUSES_SECONDS, SHOWN_SECONDS

ROOT = Path(__file__).resolve().parents[3]
HOMES = ("daemon/system/background.py", "worker/shared/background.py", "worker/shared/started.py")
EXCEPTIONS = ("worker/attach.py", "worker/validate/time_limit.py")
"""A program of somebody else's, and one without an event loop."""


def on_loop(test: Callable[[], Awaitable[None]]) -> None:
    async def whole() -> None:
        await asyncio.wait_for(test(), PATIENCE_SECONDS)

    asyncio.run(whole())


class Sleeps:
    """Pauses that a test lets end, and how long each was to be."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)
        await asyncio.sleep(0)


@pytest.mark.parametrize("error", UNEXPECTED)
def test_a_task_that_raises_anything_is_recorded_and_started_again_after_longer_and_longer_pauses(
    error: Callable[[], BaseException],
) -> None:
    async def test() -> None:
        clock, sleeps, runs = FakeClock(), Sleeps(), 0
        background, working = Background(clock, sleep=sleeps), asyncio.Event()

        async def work() -> None:
            nonlocal runs
            runs += 1
            if runs <= len(PAUSES_SECONDS) + 1:
                raise error()
            working.set()
            await asyncio.Event().wait()

        background.start("a part", work, restart=True)
        await working.wait()
        assert sleeps.seconds == [*PAUSES_SECONDS, PAUSES_SECONDS[-1]]
        (failure,) = background.failures.current()
        assert failure.part == "a part" and failure.because.startswith(type(error()).__name__)
        assert "\n" not in failure.because
        clock.advance(PAUSES_SECONDS[-1] + PROVED_SECONDS)
        assert background.failures.current() == ()
        background.end()

    on_loop(test)


def test_a_task_that_is_not_started_again_is_recorded_for_a_while() -> None:
    async def test() -> None:
        clock = FakeClock()
        background = Background(clock)

        async def work() -> None:
            raise ValueError("once")

        await background.start("a part", work)
        assert [f.because for f in background.failures.current()] == ["ValueError: once"]
        clock.advance(SHOWN_SECONDS + PAUSES_SECONDS[0])
        assert background.failures.current() == ()

    on_loop(test)


def test_a_task_is_ended_by_its_cancellation_alone() -> None:
    async def test() -> None:
        background = Background(FakeClock())
        begun = asyncio.Event()

        async def work() -> None:
            begun.set()
            await asyncio.Event().wait()

        task = background.start("a part", work, restart=True)
        await begun.wait()
        task.cancel()
        await asyncio.wait({task})
        assert task.cancelled() and background.failures.current() == ()

    on_loop(test)


def test_what_any_callback_of_the_loop_raises_is_recorded_under_the_module_that_it_comes_from() -> None:
    async def test() -> None:
        background = Background(FakeClock())
        background.install()

        def callback() -> None:
            raise RuntimeError("in a callback")

        loop = asyncio.get_running_loop()
        loop.call_soon(callback)
        loop.call_later(0.0, lambda: background.failures.works(1, 2))  # type: ignore[call-arg, arg-type]
        await soon(lambda: len(background.failures.current()) == 2)
        found = {failure.because.partition(":")[0]: failure.part for failure in background.failures.current()}
        assert "callback" in found["RuntimeError"]

    on_loop(test)


def test_a_guarded_callback_raises_nothing() -> None:
    async def test() -> None:
        background = Background(FakeClock())
        seen: list[int] = []

        def callback(number: int, *, more: int) -> None:
            seen.append(number + more)
            raise MemoryError

        background.guarded("news", callback)(1, more=2)
        assert seen == [3]
        assert [f.part for f in background.failures.current()] == ["news"]

    on_loop(test)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_what_ends_a_thread_is_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test() -> None:
        background = Background(FakeClock())
        record_thread_failures(background)

        def work() -> None:
            raise LookupError("in a thread")

        start_thread("looker", work)
        await soon(lambda: bool(background.failures.current()))
        assert [f.part for f in background.failures.current()] == ["thread looker"]

    monkeypatch.setattr("threading.excepthook", module.threading.excepthook)  # as it was, afterwards
    on_loop(test)


def test_a_call_on_a_thread_is_recorded_and_over_when_it_works() -> None:
    async def test() -> None:
        background, broken = Background(FakeClock()), True

        def work() -> str:
            if broken:
                raise KeyError("x")
            return "done"

        assert await asyncio.to_thread(background.call, "look", work, "nothing") == "nothing"
        await soon(lambda: background.failures.failing("look"))
        broken = False
        assert await asyncio.to_thread(background.call, "look", work, "nothing") == "done"
        await soon(lambda: not background.failures.failing("look"))
        assert background.failures.current() == ()
        assert [f.part for f in background.failures.report()] == ["look"], "that it failed is reported all the same"
        assert background.failures.report() == ()

    on_loop(test)


def test_whoever_records_many_parts_keeps_so_many() -> None:
    async def test() -> None:
        background = Background(FakeClock())
        for number in range(2 * MAX_PARTS):
            background.failures.failed(f"part {number}", RuntimeError())
        assert len(background.failures.current()) == MAX_PARTS

    on_loop(test)


def test_a_fault_that_is_asked_for_strikes_tasks_calls_and_what_is_awaited() -> None:
    async def test() -> None:
        def fault(name: str) -> None:
            raise OverflowError(name)

        background = Background(FakeClock(), fault=fault)
        background.install()
        assert here() is background

        async def work() -> None:
            raise AssertionError("not reached")

        await background.start("a task", work)
        assert background.call("a call", lambda: 1, 0) == 0
        with pytest.raises(OverflowError):
            await reader(work(), "a child")
        assert {f.because for f in background.failures.current()} == {"OverflowError: a task", "OverflowError: a call"}

    on_loop(test)


BANNED = {"create_task", "ensure_future", "TaskGroup", "Thread", "Timer"}


def starts(module: Path) -> set[str]:
    """What a module starts by itself, by the names of the calls."""
    text = module.read_text(encoding="utf-8")
    if not any(name in text for name in BANNED):
        return set()
    calls = [node.func for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)]
    return BANNED & {getattr(func, "attr", getattr(func, "id", "")) for func in calls}


def test_tasks_and_threads_are_started_in_one_place() -> None:
    found = {}
    for top in ("daemon", "worker"):
        for path in sorted((ROOT / top).rglob("*.py")):
            name = str(path.relative_to(ROOT))
            if name not in (*HOMES, *EXCEPTIONS) and (calls := starts(path)):
                found[name] = calls
    assert found == {}


def test_that_place_is_found_to_start_them() -> None:
    assert all(starts(ROOT / home) for home in HOMES)
