"""The end waits for no part longer than that part's limit, and none keeps another from ending."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from tests.fakes.clock import FakeClock
from tests.support import PATIENCE_SECONDS
from tests.unexpected import UNEXPECTED

from modelward.daemon.controllers.closing import Step, together
from modelward.daemon.system.background import Background


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
