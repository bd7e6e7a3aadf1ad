"""What keeps a daemon from being called alive: a round or a look that does not end, a part that fails for long."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
from tests.fakes.clock import FakeClock

from modelward.daemon.controllers.liveness import ROUND_SECONDS, Liveness


class Answering:
    """A socket that answers."""

    async def answers(self, seconds: float) -> bool:
        return True


@dataclass
class Between:
    """A look between two rounds that began then."""

    began: float | None


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
    manager: Any = SimpleNamespace(stopping=False)
    wakeups: Any = SimpleNamespace(began=None if round_seconds is None else now - round_seconds)
    liveness = Liveness(
        clock,
        manager,
        snapshot=pytest.fail,
        wakeups=wakeups,
        idle_check=Between(None if look_seconds is None else now - look_seconds),
        failing=lambda: failing,
        sockets={"api.sock": Answering()},
        unconfirmed=list,
        sentence=str,
    )
    assert asyncio.run(liveness.wrong()) == because
