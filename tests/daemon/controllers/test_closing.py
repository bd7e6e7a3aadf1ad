"""The end waits for no part longer than that part's limit, and none keeps another from ending."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.fakes.clock import FakeClock
from tests.support import PATIENCE_SECONDS
from tests.unexpected import UNEXPECTED

from modelward.daemon.api.events import Hub
from modelward.daemon.controllers.closing import Shutdown, Step, together
from modelward.daemon.state.async_store import AsyncStore
from modelward.daemon.state.store import Store
from modelward.daemon.system.background import Background
from modelward.daemon.system.service_manager import ServiceManager
from modelward.daemon.workers.listen_socket import ListenSocket


@pytest.mark.parametrize("error", UNEXPECTED)
def test_a_part_that_hangs_is_left_behind_and_one_that_fails_is_tried_once_more(
    error: Callable[[], BaseException],
) -> None:
    ended: list[str] = []

    async def hang() -> None:
        await asyncio.Event().wait()

    async def fail() -> None:
        ended.append("failed")
        raise error()

    async def end() -> None:
        ended.append("ended")

    async def whole() -> None:
        background = Background(FakeClock())
        steps = Step("hangs", hang, 0.01), Step("fails", fail, PATIENCE_SECONDS), Step("ends", end, PATIENCE_SECONDS)
        await asyncio.wait_for(together(background, *steps), PATIENCE_SECONDS)

    asyncio.run(whole())
    assert sorted(ended) == ["ended", "failed", "failed"]


def test_the_forwarding_of_logs_ends_after_all_that_log(tmp_path: Path) -> None:
    ended: list[str] = []

    class Part:
        """A controller of which only the end is seen."""

        def __init__(self, name: str) -> None:
            self.name = name

        async def ensure(self) -> None: ...

        def next_due(self) -> float | None:
            return None

        async def stop(self) -> None:
            ended.append(self.name)

    async def end_forwarding() -> None:
        ended.append("forwarding")

    async def whole() -> None:
        clock = FakeClock()
        background = Background(clock)
        background.install()
        async_store = AsyncStore(Store(tmp_path / "state.db", clock), lambda entry: None)
        names = ("activation", "maintenance", "pool", "sockets", "panel", "service-manager")
        await Shutdown(
            background,
            [Part(name) for name in names],
            service_manager=ServiceManager({}, clock),
            hub=Hub(),
            listen_socket=ListenSocket(lambda: "", {}),
            wake_sources=(),
            async_store=async_store,
            stop_forwarding=end_forwarding,
        ).run(0.0)

    asyncio.run(whole())
    assert ended[0] == "activation" and len(ended) == 7 and ended[-1] == "forwarding"
