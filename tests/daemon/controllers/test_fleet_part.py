"""When a fetch that failed is tried again, by a clock that only counts."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, cast

import pytest
from tests.fakes.clock import FakeClock

from modelward.daemon.config.load import Config
from modelward.daemon.config.schema import Models
from modelward.daemon.controllers.fleet_part import FleetPart
from modelward.daemon.fleet.agent_planner import retry_delay
from modelward.daemon.fleet.file_engine import FileEngine


def test_a_clock_that_is_set_back_does_not_delay_the_next_try(tmp_path: Path) -> None:
    clock, config = FakeClock(), Config(models=Models(root=tmp_path / "gone"))
    part = FleetPart(lambda: config, clock, FileEngine(tmp_path / "record.json"), "m", cast(Any, None), lambda: None)
    failed = asyncio.run(part.facts())
    assert failed.trouble and 1 <= failed.retry_at - clock.wall() <= 30
    for wall in (clock.wall() - 2 * 86_400, clock.wall() + 365 * 86_400):
        clock.set_wall(wall)
        (tmp_path / "gone").mkdir(exist_ok=True)
        assert asyncio.run(part.facts()).retry_at - wall == pytest.approx(retry_delay("m", 1))
    clock.advance(30)
    assert asyncio.run(part.facts()).retry_at <= clock.wall()
