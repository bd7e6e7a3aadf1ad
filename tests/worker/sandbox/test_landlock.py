"""What a confined process can still do, tried by real processes as root and as nobody."""

from __future__ import annotations

import functools
import os
import socket
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from tests.support import PATIENCE_SECONDS
from tests.worker.validate.judging import ROOT

PRELUDE = """
import errno, os, socket, sys
from pathlib import Path
from modelward.worker.sandbox.limits import ProcessLimits, apply_limits
from modelward.worker.sandbox.landlock import *
from modelward.worker.sandbox.landlock import READ, READ_WRITE
inside, outside = Path(sys.argv[1]), Path(sys.argv[2])

def refused(action):
    try:
        action()
    except OSError as e:
        return errno.errorcode[e.errno]
    return ""

apply_limits(ProcessLimits(niceness=0))
"""


NOBODY = 65534


@functools.cache
def python(user: int | None) -> str:
    """An interpreter that this user may run and that can import ours, "" when there is none."""
    environment = {"PYTHONPATH": str(ROOT / ".imports"), "PYTHONDONTWRITEBYTECODE": "1"}
    probe = [sys.executable, "-c", "import modelward.worker.sandbox.landlock"]
    for probe[0] in (sys.executable, "/usr/bin/python3"):
        try:
            if (
                subprocess.run(
                    probe, env=environment, user=user, capture_output=True, timeout=PATIENCE_SECONDS
                ).returncode
                == 0
            ):
                return probe[0]
        except OSError:
            continue
    return ""


def run(script: str, *arguments: str, user: int | None = None) -> str:
    if not python(user):
        pytest.skip("no interpreter that this user may run")
    done = subprocess.run(
        [python(user), "-c", PRELUDE + textwrap.dedent(script), *arguments],
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        user=user,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / ".imports"), "PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def users() -> list[int | None]:
    return [None, NOBODY] if os.geteuid() == 0 else [None]


def landlock_abi() -> int:
    return int(
        run(
            "from modelward.worker.sandbox.limits import libc\nimport ctypes\nprint(libc.syscall(444, None, 0, 1))",
            "a",
            "b",
        )
    )


@pytest.fixture(scope="module")
def needs_landlock() -> None:
    if landlock_abi() < 1:
        pytest.skip("this kernel has no Landlock")


@pytest.mark.parametrize("user", users())
def test_reaches_no_network_not_even_this_machine(user: int | None, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        said = run(
            """
            print(leave_network() or "left", refused(lambda: socket.create_connection(("127.0.0.1", int(sys.argv[3])))))
            """,
            "a",
            "b",
            str(server.getsockname()[1]),
            user=user,
        )
    if "network not taken away" in said:
        pytest.skip(said)
    assert said == "left ENETUNREACH"


def test_is_still_itself_in_a_user_namespace(tmp_path: Path) -> None:
    script = "print(leave_network() or 'left', os.getuid(), os.getgid() >= 0)"
    user = users()[-1] if python(users()[-1]) else None
    said = run(script, "a", "b", user=user)
    if "network not taken away" in said:
        pytest.skip(said)
    assert said == f"left {user or os.getuid()} True"


@pytest.mark.usefixtures("needs_landlock")
def test_writes_only_where_it_was_told_and_reads_only_what_it_was_shown(tmp_path: Path) -> None:
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    inside.mkdir(), outside.mkdir()
    (outside / "secret").write_text("secret")
    said = run(
        """
        assert restrict_view([VisiblePath(str(inside), READ_WRITE), VisiblePath("/does/not/exist", READ)]) == ""
        (inside / "sub").mkdir()
        (inside / "sub" / "file").write_text("x")
        (inside / "sub").rename(inside / "other")
        (inside / "other" / "file").unlink()
        print(refused(lambda: (outside / "new").write_text("x")),
              refused(lambda: (outside / "secret").read_text()),
              refused(lambda: (outside / "secret").unlink()),
              refused(lambda: os.truncate(outside / "secret", 0)),
              refused(lambda: os.listdir(outside)))
        """,
        str(inside),
        str(outside),
    )
    assert said == "EACCES EACCES EACCES EACCES EACCES"
    assert (outside / "secret").read_text() == "secret"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has capabilities to give up")
def test_root_keeps_no_power_but_over_permissions(tmp_path: Path) -> None:
    said = run(
        """
        assert drop_capabilities() == ""
        print(refused(lambda: os.chroot("/")), refused(lambda: os.setuid(1)),
              [line.split()[1] for line in open("/proc/self/status") if line.startswith("CapEff")])
        """,
        "a",
        "b",
    )
    assert said == "EPERM EPERM ['0000000000000006']"
