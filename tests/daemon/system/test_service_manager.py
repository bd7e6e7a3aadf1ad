"""What the service manager hears, in its order, over a real socket."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelward.daemon.system.clock import SystemClock
from modelward.daemon.system.service_manager import ServiceManager
from modelward.daemon.system.systemd import watchdog_seconds


class Ear:
    """The manager's end."""

    def __init__(self, path: Path) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.bind(str(path))
        self.sock.setblocking(False)
        self.environ = {"NOTIFY_SOCKET": str(path)}

    def heard(self) -> list[list[str]]:
        """What came since, a list of assignments each."""
        messages = []
        while True:
            try:
                messages.append(self.sock.recv(4096).decode().split("\n"))
            except BlockingIOError:
                return messages


@pytest.fixture
def ear(tmp_path: Path) -> Iterator[Ear]:
    ear = Ear(tmp_path / "notify")
    yield ear
    ear.sock.close()


def test_ready_is_said_once_and_a_status_when_it_changes(ear: Ear) -> None:
    manager = ServiceManager(ear.environ, SystemClock())
    manager.report("loading", ready=False, busy=False)
    manager.report("loading", ready=False, busy=False)
    manager.report("serving v1", ready=True, busy=False)
    manager.report("serving v1", ready=True, busy=False)
    manager.report("serving v2", ready=False, busy=True)
    assert ear.heard() == [["STATUS=loading"], ["READY=1", "STATUS=serving v1"], ["STATUS=serving v2"]]


def test_a_start_that_makes_progress_asks_for_time(ear: Ear) -> None:
    manager = ServiceManager(ear.environ, SystemClock())
    manager.report("judging v1", ready=False, busy=True)
    manager.report("judging v1", ready=False, busy=True)
    assert ear.heard() == [["EXTEND_TIMEOUT_USEC=60000000", "STATUS=judging v1"], ["EXTEND_TIMEOUT_USEC=60000000"]]


def test_every_reload_ends_with_ready_and_none_is_announced_before_the_start_is_over(ear: Ear) -> None:
    manager = ServiceManager(ear.environ, SystemClock())
    manager.reloading()
    manager.reloaded("serving v1")
    assert ear.heard() == []
    manager.report("serving v1", ready=True, busy=False)
    ear.heard()
    manager.reloading()
    manager.reloaded("serving v1; configuration refused")
    begin, end = ear.heard()
    assert begin[0] == "RELOADING=1"
    assert begin[1].startswith("MONOTONIC_USEC=")
    assert end == ["READY=1", "STATUS=serving v1; configuration refused"]


def test_after_stopping_nothing_is_said_that_would_deny_it(ear: Ear) -> None:
    manager = ServiceManager(ear.environ, SystemClock())
    manager.stop("draining", 30)
    manager.report("serving v1", ready=True, busy=False)
    manager.reloading()
    manager.reloaded("serving v1")
    assert ear.heard() == [["STOPPING=1", "EXTEND_TIMEOUT_USEC=30000000", "STATUS=draining"]]


def test_signs_of_life_stop_while_something_is_wrong_and_come_back(ear: Ear) -> None:
    ear.environ |= {"WATCHDOG_USEC": "30000", "WATCHDOG_PID": str(os.getpid())}
    answers = ["", "a socket does not answer", "a socket does not answer", ""]
    heard: list[int] = []

    async def wrong() -> str:
        heard.append(len(ear.heard()))
        if not answers:
            raise asyncio.CancelledError
        return answers.pop(0)

    async def live() -> None:
        await ServiceManager(ear.environ, SystemClock()).keep_alive(wrong)

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(live())
    assert heard == [0, 1, 0, 0, 1]


def test_without_a_watchdog_nobody_is_asked(ear: Ear) -> None:
    async def wrong() -> str:
        raise AssertionError

    asyncio.run(ServiceManager(ear.environ, SystemClock()).keep_alive(wrong))
    assert ear.heard() == []


@pytest.mark.parametrize(
    ("environ", "seconds"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "7"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "8"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_a_watchdog_counts_only_for_the_process_it_names(environ: dict[str, str], seconds: float | None) -> None:
    assert watchdog_seconds(environ, 7) == seconds
