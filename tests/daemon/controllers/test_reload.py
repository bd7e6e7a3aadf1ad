"""A hang-up is never lost: what is on the disk when the last one comes is what holds."""

from __future__ import annotations

import asyncio
import threading
from functools import partial
from types import SimpleNamespace
from typing import Any

from tests.support import PATIENCE_SECONDS, soon

from modelward.daemon.config.load import Config, parse
from modelward.daemon.controllers.reload import ConfigReload


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


class InForce:
    """A configuration that is reloaded from `disk`; the other parts of the daemon do nothing here."""

    def __init__(self, disk: Disk, reopened: list[str]) -> None:
        self.config = Config()
        nothing: Any = lambda *_, **__: None  # noqa: E731
        part: Any = SimpleNamespace(
            reached=_at_once, reloading=nothing, reloaded=nothing, reconsider=nothing, unblock=nothing, note=nothing
        )
        self.reloading = ConfigReload(
            config=lambda: self.config,
            read=disk.read,
            put_in_force=partial(setattr, self, "config"),
            sentence=lambda: "as it is",
            restart="start it again",
            service_manager=part,
            listen_socket=part,
            pool=part,
            settings_sync=part,
            catalog=part,
            async_store=part,
            check=nothing,
            reopen_logs=lambda: reopened.append("again"),
            wake=nothing,
        )


async def _hung_up(times_meanwhile: int) -> tuple[Disk, InForce, list[str]]:
    disk, reopened = Disk(), list[str]()
    daemon = InForce(disk, reopened)
    reloading = daemon.reloading
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
        daemon = InForce(disk, [])
        reloading = daemon.reloading
        first = asyncio.create_task(reloading.reload())
        await soon(lambda: disk.readings == 1)
        disk.text = 'models.settle = "7s"'
        second = asyncio.create_task(reloading.reload())
        await asyncio.wait({second}, timeout=0.2)
        disk.slow.set()
        assert all(answer.success for answer in await asyncio.gather(first, second))
        return daemon.config

    assert asyncio.run(play()).models.settle == 7.0
