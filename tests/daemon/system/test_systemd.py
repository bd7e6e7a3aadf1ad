"""What systemd is told and what it hands over: over real sockets, a manager that reads and one that does not."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.support import PATIENCE_SECONDS, modules

from modelward.daemon.system.systemd import listen_sockets, notify, unit


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.bind(str(tmp_path / "notify"))
        s.settimeout(PATIENCE_SECONDS)
        yield s


@pytest.mark.parametrize(
    ("environ", "cgroup", "name"),
    [
        ({"INVOCATION_ID": "1"}, "0::/system.slice/modelward.service\n", "modelward.service"),
        ({"NOTIFY_SOCKET": "/n"}, "1:x:/\n0::/system.slice/modelward@7861.service\n", "modelward@7861.service"),
        ({"INVOCATION_ID": "1"}, "0::/user.slice/user@1000.service/app.slice/shell.scope\n", ""),
        ({"INVOCATION_ID": "1"}, "0::/user.slice/user@1000.service\n", ""),
        ({}, "0::/system.slice/ssh.service\n", ""),
    ],
)
def test_the_service_that_runs_this_process_is_known_by_its_control_group(
    tmp_path: Path, environ: dict[str, str], cgroup: str, name: str
) -> None:
    (tmp_path / "cgroup").write_text(cgroup)
    assert unit(environ, tmp_path / "cgroup") == name
    assert unit(environ, tmp_path / "missing") == ""


def test_one_datagram_carries_all_assignments(manager: socket.socket) -> None:
    assert notify({"NOTIFY_SOCKET": manager.getsockname()}, "READY=1", "STATUS=serving v1")
    assert manager.recv(4096) == b"READY=1\nSTATUS=serving v1"


def test_a_status_cannot_smuggle_in_another_assignment(manager: socket.socket) -> None:
    status = f"STATUS=cannot read {os.fsdecode(bytes([0xFF]))}\nMAINPID=1"
    assert notify({"NOTIFY_SOCKET": manager.getsockname()}, status)
    assert manager.recv(4096) == b"STATUS=cannot read ? MAINPID=1"


def test_a_name_without_a_file_is_reached_too() -> None:
    name = f"modelward-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.bind(f"\0{name}")
        s.settimeout(PATIENCE_SECONDS)
        assert notify({"NOTIFY_SOCKET": f"@{name}"}, "READY=1")
        assert s.recv(4096) == b"READY=1"


@pytest.mark.parametrize("address", [None, "", "relative", "vsock:2:1", "/nobody/there", "/" + "x" * 200, "@"])
def test_with_nobody_there_it_is_said_and_nothing_happens(address: str | None) -> None:
    assert not notify({} if address is None else {"NOTIFY_SOCKET": address}, "READY=1")


def test_a_manager_that_does_not_read_never_blocks(manager: socket.socket) -> None:
    environ = {"NOTIFY_SOCKET": manager.getsockname()}
    sent = [notify(environ, "WATCHDOG=1") for _ in range(1000)]  # a call that blocks would never come back
    assert sent[0]
    assert not sent[-1], "its queue is full by now"


def test_no_descriptor_is_left_behind(manager: socket.socket) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(1000):
        notify({"NOTIFY_SOCKET": manager.getsockname()}, "WATCHDOG=1")
        notify({"NOTIFY_SOCKET": "/nobody/there"}, "WATCHDOG=1")
    assert len(os.listdir("/proc/self/fd")) == before


# sockets handed over: descriptors from 3 on belong to a whole process, so each case is one

CHILD = """
import json, os, sys
from modelward.daemon.system.systemd import listen_sockets
for i, fd in enumerate(sys.argv[1:]):
    os.dup2(int(fd), 3 + i)
    os.close(int(fd))
found = listen_sockets({**os.environ, "LISTEN_PID": str(os.getpid())}, os.getpid())
print(json.dumps({name: [s.getsockname()[1], os.get_inheritable(s.fileno())] for name, s in found.items()}))
"""


def handed_over(count: int, **environ: str) -> dict[str, list[object]]:
    """What a process finds whose descriptors 3, 4 … are `count` listening sockets: which, inheritable or not."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        high = [fcntl.fcntl(s.fileno(), fcntl.F_DUPFD, 50) for s in sockets]  # out of the way of 3, 4 …
        ports = [s.getsockname()[1] for s in sockets]
        done = subprocess.run(
            [sys.executable, "-c", CHILD, *map(str, high)],
            env={**os.environ, "PYTHONPATH": modules(), **environ},
            pass_fds=high,
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
        for fd in high:
            os.close(fd)
    assert done.returncode == 0, done.stderr
    return {name: [ports.index(port), inheritable] for name, (port, inheritable) in json.loads(done.stdout).items()}


def test_sockets_come_by_their_names_and_go_to_no_child() -> None:
    found = handed_over(2, LISTEN_FDS="2", LISTEN_FDNAMES="http:panel")
    assert found == {"http": [0, False], "panel": [1, False]}


def test_sockets_without_a_name_or_with_the_same_one_are_all_kept() -> None:
    assert list(handed_over(2, LISTEN_FDS="2")) == ["fd0", "fd1"]
    assert list(handed_over(2, LISTEN_FDS="2", LISTEN_FDNAMES="m.socket:m.socket")) == ["m.socket", "m.socket.1"]


@pytest.mark.parametrize("count", ["5", "99999999999", "-1", "0", "two", ""])
def test_a_count_that_lies_ends_nothing(count: str) -> None:
    found = handed_over(1, LISTEN_FDS=count, LISTEN_FDNAMES="http")
    assert set(found) <= {"http"}
    assert bool(found) == (count.isdecimal() and int(count) > 0)


def test_what_was_meant_for_another_process_is_not_touched() -> None:
    assert listen_sockets({"LISTEN_PID": str(os.getpid() + 1), "LISTEN_FDS": "3"}, os.getpid()) == {}
    assert listen_sockets({"LISTEN_FDS": "3"}, os.getpid()) == {}
    assert listen_sockets({}, os.getpid()) == {}
