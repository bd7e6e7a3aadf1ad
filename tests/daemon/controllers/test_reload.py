"""A hang-up is never lost: what is on the disk when the last one comes is what holds."""

from __future__ import annotations

import asyncio
import threading
from types import SimpleNamespace
from typing import Any, cast

import structlog
from tests.support import PATIENCE_SECONDS, soon

from modelward.daemon.config.load import Config, parse
from modelward.daemon.controllers.reload import ConfigReload, ReloadParts


class Disk:
    """The configuration file. A reading gets what is there when it begins, and ends when `slow` is set."""

    def __init__(self) -> None:
        self.text, self.readings, self.slow = "", 0, threading.Event()

    def read(self) -> Config:
        text = self.text
        self.readings += 1
        assert self.slow.wait(PATIENCE_SECONDS)
        return parse(text, "test")


async def _at_once(seconds: float) -> list[str]:
    return []


def _daemon(disk: Disk, reopened: list[str]) -> Any:
    nothing: Any = lambda *_, **__: None  # noqa: E731
    return SimpleNamespace(
        config=Config(),
        environ={},
        settings_sync=SimpleNamespace(reached=_at_once),
        manager=SimpleNamespace(reloading=nothing, reloaded=nothing),
        alert_manager=SimpleNamespace(look=nothing),
        validation=SimpleNamespace(catalog=SimpleNamespace(reconsider=nothing)),
        pool=SimpleNamespace(unblock=nothing),
        async_store=SimpleNamespace(note=nothing),
        log=structlog.get_logger("test"),
        wake=nothing,
        read_config=disk.read,
        reopen_logs=lambda: reopened.append("again"),
    )


async def _hung_up(times_meanwhile: int) -> tuple[Disk, Any, list[str]]:
    disk, reopened = Disk(), list[str]()
    daemon = _daemon(disk, reopened)
    reloading = ConfigReload(cast(ReloadParts, daemon), lambda: "as it is")
    reloading.hang_up()
    await soon(lambda: disk.readings == 1)
    disk.text = 'models.settle = "7s"'
    for _ in range(times_meanwhile):
        reloading.hang_up()
    disk.slow.set()
    await soon(lambda: bool(reopened))
    return disk, daemon, reopened


def test_a_hang_up_while_the_file_is_being_read_has_it_read_again() -> None:
    disk, daemon, _ = asyncio.run(_hung_up(1))
    assert disk.readings == 2
    assert daemon.config.models.settle == 7.0


def test_many_hang_ups_meanwhile_are_one() -> None:
    disk, _, reopened = asyncio.run(_hung_up(50))
    assert disk.readings == 2
    assert reopened == ["again"]


class SlowAtFirst(Disk):
    """Only its first reading has to wait for `slow`."""

    def read(self) -> Config:
        text = self.text
        self.readings += 1
        assert self.readings > 1 or self.slow.wait(PATIENCE_SECONDS)
        return parse(text, "test")


def test_of_two_reloads_the_one_that_was_asked_for_last_holds_though_the_first_took_longer() -> None:
    async def play() -> Config:
        disk = SlowAtFirst()
        daemon = _daemon(disk, [])
        reloading = ConfigReload(cast(ReloadParts, daemon), lambda: "as it is")
        first = asyncio.create_task(reloading.reload())
        await soon(lambda: disk.readings == 1)
        disk.text = 'models.settle = "7s"'
        second = asyncio.create_task(reloading.reload())
        await asyncio.wait({second}, timeout=0.2)
        disk.slow.set()
        assert all(answer["success"] for answer in await asyncio.gather(first, second))
        return cast(Config, daemon.config)

    assert asyncio.run(play()).models.settle == 7.0
