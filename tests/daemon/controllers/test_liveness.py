"""What keeps a daemon from being called alive: a round or a look that does not end, a part that fails for long."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from tests.fakes.clock import FakeClock

from modelward.daemon.controllers.liveness import ROUND_SECONDS, Liveness


async def _answers(seconds: float) -> bool:
    return True


@pytest.mark.parametrize(
    ("round_seconds", "look_seconds", "failing", "because"),
    [
        (None, None, "", ""),
        (ROUND_SECONDS, ROUND_SECONDS, "", ""),
        (ROUND_SECONDS + 1, None, "", "a round has taken more than 120 s"),
        (None, ROUND_SECONDS + 1, "", "a look at the model root has taken more than 120 s"),
        (None, None, "pool has failed", "pool has failed"),
    ],
)
def test_a_round_or_a_look_that_hangs_and_a_part_that_fails_are_said(
    round_seconds: float | None, look_seconds: float | None, failing: str, because: str
) -> None:
    clock = FakeClock()
    now = clock.monotonic()
    socket, manager = SimpleNamespace(answers=_answers), SimpleNamespace(stopping=False)
    idle_check = SimpleNamespace(began=None if look_seconds is None else now - look_seconds)
    rounds = SimpleNamespace(wrong=lambda: failing)
    daemon: Any = SimpleNamespace(
        clock=clock, channel=socket, api=socket, manager=manager, idle_check=idle_check, round=rounds
    )
    liveness = Liveness(daemon)
    liveness.round_began = None if round_seconds is None else now - round_seconds
    assert asyncio.run(liveness.wrong()) == because
