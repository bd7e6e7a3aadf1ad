"""What a process that refused itself sockets can still do, tried by real processes as root and as nobody."""

from __future__ import annotations

import os

import pytest
from tests.worker.sandbox.test_landlock import NOBODY, run

USERS = [None, NOBODY] if os.geteuid() == 0 else [None]

pytestmark = pytest.mark.parametrize("user", USERS, ids=["as we are", "as nobody"][: len(USERS)])


def _tried(user: int | None, script: str) -> str:
    return run("from modelward.worker.sandbox.socket_filter import refuse_sockets\n" + script, "/", "/", user=user)


def test_no_socket_of_any_family_can_be_opened_afterwards(user: int | None) -> None:
    said = _tried(
        user,
        "before = socket.socket(); before.close()\n"
        "print(repr(refuse_sockets()))\n"
        "for family in (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX, socket.AF_NETLINK):\n"
        "    print(refused(lambda: socket.socket(family)))\n",
    )
    assert said.split() == ["''", "EPERM", "EPERM", "EPERM", "EPERM"]


def test_children_are_bound_by_it_and_files_are_not(user: int | None) -> None:
    said = _tried(
        user,
        "import subprocess\n"
        "refuse_sockets()\n"
        "print(len(Path('/proc/self/status').read_bytes()) > 0)\n"
        "child = subprocess.run([sys.executable, '-c', 'import socket; socket.socket()'], capture_output=True)\n"
        "print(child.returncode, b'PermissionError' in child.stderr)\n",
    )
    assert said.split() == ["True", "1", "True"]


def test_a_ring_that_could_open_sockets_by_itself_is_refused_too(user: int | None) -> None:
    said = _tried(
        user,
        "import ctypes\n"
        "libc = ctypes.CDLL(None, use_errno=True)\n"
        "refuse_sockets()\n"
        "print(libc.syscall(425, 1, None), errno.errorcode[ctypes.get_errno()])\n",
    )
    assert said.split() == ["-1", "EPERM"]
