"""The wire to the service manager, on real sockets."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelward.daemon import systemd


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.bind(str(tmp_path / "notify"))
        s.settimeout(5)
        yield s


def test_assignments_go_out_in_one_datagram_and_a_line_break_makes_no_new_one(manager: socket.socket) -> None:
    environ = {"NOTIFY_SOCKET": manager.getsockname()}
    assert systemd.notify(environ, "READY=1", systemd.status("refused:\nMAINPID=1"))
    assert manager.recv(4096) == b"READY=1\nSTATUS=refused: MAINPID=1"


def test_an_abstract_address_is_understood() -> None:
    name = f"modelward-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.bind("\0" + name)
        assert systemd.notify({"NOTIFY_SOCKET": "@" + name}, "READY=1")
        assert s.recv(100) == b"READY=1"


@pytest.mark.parametrize("address", ["", "relative", "/nowhere/at/all"])
def test_with_nobody_to_tell_nothing_happens(address: str) -> None:
    assert not systemd.notify({"NOTIFY_SOCKET": address}, "READY=1")


def test_a_manager_that_does_not_read_never_holds_us_up(manager: socket.socket) -> None:
    environ = {"NOTIFY_SOCKET": manager.getsockname()}
    longest, told = 0.0, 0
    for _ in range(1000):
        began = time.monotonic()
        told += systemd.notify(environ, "WATCHDOG=1")
        longest = max(longest, time.monotonic() - began)
    assert told < 1000  # its queue was full
    assert longest < 0.5


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
    assert systemd.watchdog_seconds(environ, 7) == seconds


def test_sockets_are_taken_by_name_and_not_inherited_further() -> None:
    script = (
        "import os, sys; from modelward.daemon import systemd; os.dup2(int(sys.argv[1]), 3)\n"
        "environ = {'LISTEN_PID': str(os.getpid()), 'LISTEN_FDS': '1', 'LISTEN_FDNAMES': 'http'}\n"
        "found = systemd.listen_sockets(environ, os.getpid())\n"
        "print(sorted(found), found['http'].getsockname()[1], os.get_inheritable(3))\n"
        "print(systemd.listen_sockets(environ, os.getpid() + 1))\n"
    )
    with socket.create_server(("127.0.0.1", 0)) as server:
        done = subprocess.run(
            [sys.executable, "-c", script, str(server.fileno())],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
            pass_fds=(server.fileno(),),
            capture_output=True,
            text=True,
            timeout=30,
        )
        assert done.stdout.splitlines() == [f"['http'] {server.getsockname()[1]} False", "{}"], done.stderr
