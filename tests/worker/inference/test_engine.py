from __future__ import annotations

import asyncio
import os
import threading
import weakref
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from tests.support import PATIENCE_SECONDS

from modelward.worker.inference.engine import (
    ABANDONED_LOADS,
    LOAD_NICENESS,
    CannotLoad,
    Engine,
    NoModel,
)
from modelward.worker.inference.loader import LoadedVersion


class TinyModel:
    """A model that can be made slow, broken or endless by its version's name."""

    def __init__(self, version: str) -> None:
        self.version = version

    def warm(self) -> None:
        if "cold" in self.version:
            raise RuntimeError("it does not run")


class Loader:
    """Loads tiny models; `gate` holds back those called slow."""

    def __init__(self) -> None:
        self.loaded: list[str] = []
        self.gate = threading.Event()
        self.niceness: list[int] = []

    def __call__(self, version: str, artifact: str) -> LoadedVersion:
        self.loaded.append(version)
        self.niceness.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
        if "slow" in version:
            self.gate.wait(PATIENCE_SECONDS)
        if "broken" in version:
            raise ValueError("cannot load it: no such tensor")
        return LoadedVersion(version, "d" * 64, artifact, TinyModel(version))


def on_loop(test: Callable[[Engine, Loader], Awaitable[None]], **options: Any) -> None:
    async def run() -> None:
        loader = Loader()
        try:
            await asyncio.wait_for(test(Engine(loader, **options), loader), PATIENCE_SECONDS)
        finally:
            loader.gate.set()

    asyncio.run(run())


async def serve(engine: Engine, version: str) -> LoadedVersion:
    await engine.prepare(f"to {version}", version, f"/a/{version}")
    return engine.commit(f"to {version}")


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not condition():
            await asyncio.sleep(0.005)


def test_answers_with_nothing_before_the_first_version() -> None:
    async def test(engine: Engine, _: Loader) -> None:
        with pytest.raises(NoModel):
            engine.take()

    on_loop(test)


def test_a_request_keeps_the_version_it_began_with() -> None:
    async def test(engine: Engine, _: Loader) -> None:
        await serve(engine, "v1")
        mine = engine.take()
        await serve(engine, "v2")
        assert (mine.version, engine.take().version) == ("v1", "v2")

    on_loop(test)


def test_the_old_version_goes_with_its_last_request() -> None:
    async def test(engine: Engine, _: Loader) -> None:
        await serve(engine, "v1")
        requests = [engine.take(), engine.take()]
        old = weakref.ref(requests[0].model)
        await serve(engine, "v2")
        requests.pop()
        assert old() is not None
        requests.pop()
        await until(lambda: old() is None)  # the thread that loaded it may hold it a moment longer

    on_loop(test)


def test_an_old_model_is_taken_apart_when_no_request_is_in_work() -> None:
    busy, asked = [True], list[bool]()

    def quiet() -> bool:
        asked.append(True)
        return not busy[0]

    async def test(engine: Engine, _: Loader) -> None:
        await serve(engine, "v1")
        old = weakref.ref(engine.take().model)
        await serve(engine, "v2")
        asked.clear()
        await until(lambda: len(asked) >= 3)
        assert old() is not None
        busy[0] = False
        await until(lambda: old() is None)

    on_loop(test, quiet=quiet)


def test_an_old_model_goes_all_the_same_when_requests_never_end() -> None:
    async def test(engine: Engine, _: Loader) -> None:
        await serve(engine, "v1")
        old = weakref.ref(engine.take().model)
        await serve(engine, "v2")
        await until(lambda: old() is None)

    on_loop(test, quiet=lambda: False)


def test_what_is_prepared_serves_nobody_before_its_commit() -> None:
    async def test(engine: Engine, _: Loader) -> None:
        await serve(engine, "v1")
        await engine.prepare("r", "v2", "/a/v2")
        assert engine.take().version == "v1" and engine.prepared == "r"
        engine.commit("r")
        assert engine.take().version == "v2" and engine.prepared == ""

    on_loop(test)


@pytest.mark.parametrize("version", ["broken", "cold"])
def test_keeps_the_old_version_when_the_new_one_fails(version: str) -> None:
    async def test(engine: Engine, _: Loader) -> None:
        await serve(engine, "v1")
        with pytest.raises(CannotLoad, match="no such tensor|does not run"):
            await engine.prepare("r", version, "/a")
        with pytest.raises(CannotLoad):
            engine.commit("r")
        assert engine.take().version == "v1"

    on_loop(test)


def test_a_newer_prepare_replaces_an_older_one() -> None:
    async def test(engine: Engine, loader: Loader) -> None:
        await serve(engine, "v1")
        older = asyncio.create_task(engine.prepare("r1", "slow", "/a/slow"))
        await until(lambda: "slow" in loader.loaded)
        await engine.prepare("r2", "v3", "/a/v3")
        with pytest.raises(CannotLoad, match="newer"):
            await older
        loader.gate.set()
        await until(lambda: engine.abandoned == 0)
        assert engine.prepared == "r2"
        with pytest.raises(CannotLoad):
            engine.commit("r1")
        assert engine.commit("r2").version == "v3"

    on_loop(test)


def test_an_aborted_load_never_becomes_the_prepared_version() -> None:
    async def test(engine: Engine, loader: Loader) -> None:
        load = asyncio.create_task(engine.prepare("r", "slow", "/a"))
        await until(lambda: loader.loaded)
        engine.abort("r")
        with pytest.raises(CannotLoad, match="aborted"):
            await load
        loader.gate.set()
        await until(lambda: engine.abandoned == 0)
        assert engine.prepared == "" and engine.current is None

    on_loop(test)


def test_abort_forgets_only_its_own_rollout() -> None:
    async def test(engine: Engine, _: Loader) -> None:
        await engine.prepare("r", "v1", "/a")
        engine.abort("another")
        assert engine.prepared == "r"
        engine.abort("r")
        assert engine.prepared == ""

    on_loop(test)


def test_loads_that_were_given_up_do_not_pile_up_and_are_not_blamed_on_the_next() -> None:
    async def test(engine: Engine, loader: Loader) -> None:
        tasks = []
        for i in range(ABANDONED_LOADS):
            tasks.append(asyncio.create_task(engine.prepare(f"r{i}", f"slow{i}", "/a")))
            await until(lambda i=i: f"slow{i}" in loader.loaded)
            engine.abort(f"r{i}")
        passed_over = asyncio.create_task(engine.prepare("r", "v1", "/a"))
        next_one = asyncio.create_task(engine.prepare("r", "v2", "/a"))
        await asyncio.gather(*tasks, passed_over, return_exceptions=True)
        assert engine.abandoned == ABANDONED_LOADS
        assert loader.loaded == [f"slow{i}" for i in range(ABANDONED_LOADS)]
        loader.gate.set()
        assert (await next_one).version == "v2"
        await until(lambda: engine.abandoned == 0)
        assert "v1" not in loader.loaded

    on_loop(test)


def test_does_not_load_again_what_it_serves() -> None:
    async def test(engine: Engine, loader: Loader) -> None:
        serving = await serve(engine, "v1")
        await engine.prepare("r", "v1", "/a/v1")
        assert engine.commit("r") is serving
        assert loader.loaded == ["v1"]

    on_loop(test)


def test_loads_gently_once_something_is_served() -> None:
    async def test(engine: Engine, loader: Loader) -> None:
        await serve(engine, "v1")
        await serve(engine, "v2")
        first, second = loader.niceness
        assert second == min(19, first + LOAD_NICENESS) or second == LOAD_NICENESS
        assert first == os.getpriority(os.PRIO_PROCESS, 0)

    on_loop(test)


def test_loads_at_full_priority_when_the_session_makes_threads_of_its_own() -> None:
    async def test(engine: Engine, loader: Loader) -> None:
        await serve(engine, "v1")
        await serve(engine, "v2")
        assert len(set(loader.niceness)) == 1

    on_loop(test, gentle=False)


def test_tells_of_a_swap_but_not_of_the_first_version() -> None:
    swaps: list[int] = []

    async def test(engine: Engine, _: Loader) -> None:
        await serve(engine, "v1")
        assert swaps == []
        await serve(engine, "v2")
        assert swaps == [1]

    on_loop(test, swapped=lambda: swaps.append(1))


def test_a_load_that_no_thread_was_to_be_had_for_fails_and_the_next_is_tried() -> None:
    async def test(engine: Engine, loader: Loader) -> None:
        before = threading.stack_size(1 << 46)  # a stack that no machine has
        try:
            for _ in range(ABANDONED_LOADS + 1):
                with pytest.raises(CannotLoad, match="thread"):
                    await engine.prepare("r", "v1", "/a")
        finally:
            threading.stack_size(before)
        assert (await engine.prepare("r", "v1", "/a")).version == "v1"
        assert engine.abandoned == 0

    on_loop(test)
