"""What a process that refused itself system calls can still do, tried by real processes as root and as nobody."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support import PATIENCE_SECONDS
from tests.worker.sandbox.test_landlock import NOBODY, run

from modelward.worker.sandbox.seccomp import (
    FILE_ATTRIBUTES,
    PRIVILEGES,
    PROCESSES,
    program,
)

USERS = [None, NOBODY] if os.geteuid() == 0 else [None]
users = pytest.mark.parametrize("user", USERS, ids=["as we are", "as nobody"][: len(USERS)])
SETUP = (
    "import ctypes, stat, subprocess, tempfile, threading\n"
    "from modelward.worker.sandbox.limits import ProcessLimits, apply_limits\n"
    "from modelward.worker.sandbox.seccomp import FILE_ATTRIBUTES, PRIVILEGES, PROCESSES, refuse_calls\n"
    "libc = ctypes.CDLL(None, use_errno=True)\n"
    "place = tempfile.mkdtemp()\n"
    "file = os.open(place + '/f', os.O_RDWR | os.O_CREAT, 0o600)\n"
    "apply_limits(ProcessLimits())\n"
    "print(repr(refuse_calls((*PROCESSES, *FILE_ATTRIBUTES, *PRIVILEGES))))\n"
)


def _tried(user: int | None, script: str) -> list[str]:
    return run(SETUP + script, "/", "/", user=user).splitlines()


@users
def test_no_mode_owner_or_time_of_a_file_can_be_changed(user: int | None) -> None:
    tries = (
        "os.chmod(place, 0o700)",
        "os.fchmod(file, 0o4755)",
        "os.chmod('f', 0o4755, dir_fd=os.open(place, os.O_RDONLY))",
        "os.chown(place, os.getuid(), os.getgid())",
        "os.utime(place, (0, 0))",
        "os.utime(file, (0, 0))",
        "os.setxattr(place, 'user.x', b'1')",
        "os.mkfifo(place + '/p')",
    )
    said = _tried(user, "".join(f"print(refused(lambda: {one}))\n" for one in tries))
    assert said == ["''", *["EPERM"] * len(tries)]


@users
def test_no_file_is_made_set_uid_and_plain_ones_are(user: int | None) -> None:
    said = _tried(
        user,
        "print(refused(lambda: os.open(place + '/s', os.O_WRONLY | os.O_CREAT, 0o4755)))\n"
        "os.close(os.open(place + '/t', os.O_WRONLY | os.O_CREAT, 0o640))\n"
        "os.mkdir(place + '/d', 0o750)\n"
        "os.rename(place + '/t', place + '/d/t')\n"
        "print(sorted(os.listdir(place)), oct(os.stat(place + '/d/t').st_mode & 0o7777))\n",
    )
    assert said == ["''", "EPERM", "['d', 'f'] 0o640"]


@users
def test_no_process_and_no_program_is_started_and_threads_are(user: int | None) -> None:
    said = _tried(
        user,
        "for start in (os.fork, lambda: os.execv(sys.executable, ['x']), lambda: subprocess.run([sys.executable])):\n"
        "    print(refused(start))\n"
        "ran = []\n"
        "thread = threading.Thread(target=lambda: ran.append(1)); thread.start(); thread.join(); print(ran)\n",
    )
    assert said == ["''", "EPERM", "EPERM", "EPERM", "[1]"]


@users
def test_no_namespace_mount_trace_or_other_user_is_to_be_had(user: int | None) -> None:
    said = _tried(
        user,
        "def call(*args):\n"
        "    ctypes.set_errno(0)\n"
        "    return libc.syscall(*args), errno.errorcode.get(ctypes.get_errno())\n"
        "x86 = os.uname().machine == 'x86_64'\n"
        "for group in PRIVILEGES:\n"
        "    number = group.x86_64 if x86 else group.aarch64\n"
        "    found = call(ctypes.c_long(number), 0, 0, 0, 0, 0, 0)\n"
        "    if found != (-1, 'EPERM'): print(group.name, found)\n",
    )
    assert said == ["''"]


@users
def test_nothing_is_made_in_memory_that_outlives_the_process(user: int | None) -> None:
    said = _tried(
        user,
        "def made(call, *args):\n"
        "    ctypes.set_errno(0)\n"
        "    return call(*args) >= 0 or errno.errorcode.get(ctypes.get_errno())\n"
        "kept, private = 0o1600, 0\n"
        "memory, lock = made(libc.shmget, private, 4096, kept), made(libc.semget, private, 1, kept)\n"
        "queue = made(libc.mq_open, b'/modelward-test', os.O_RDWR | os.O_CREAT, 0o600, None)\n"
        "print(memory, lock, made(libc.msgget, private, kept), queue)\n",
    )
    assert said == ["''", "EPERM EPERM EPERM EPERM"]


def test_what_a_model_needs_goes_on_working() -> None:
    script = (
        "from modelward.worker.sandbox.limits import ProcessLimits, apply_limits\n"
        "from modelward.worker.sandbox.seccomp import FILE_ATTRIBUTES, PRIVILEGES, PROCESSES, refuse_calls\n"
        "apply_limits(ProcessLimits())\n"
        "assert refuse_calls((*PROCESSES, *FILE_ATTRIBUTES, *PRIVILEGES)) == ''\n"
        "import onnx, onnxruntime as ort, numpy as np\n"
        "from onnx import TensorProto as T, helper as h\n"
        "value = lambda name: h.make_tensor_value_info(name, T.FLOAT, ['n'])\n"
        "graph = h.make_graph([h.make_node('Neg', ['x'], ['y'])], 'g', [value('x')], [value('y')])\n"
        "model = h.make_model(graph, opset_imports=[h.make_opsetid('', 17)], ir_version=8)\n"
        "options = ort.SessionOptions()\n"
        "options.intra_op_num_threads = 2\n"
        "session = ort.InferenceSession(model.SerializeToString(), options, providers=['CPUExecutionProvider'])\n"
        "print(session.run(None, {'x': np.ones(3, np.float32)}))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
    )
    assert "-1." in done.stdout, done.stderr


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_the_filter_is_short_and_every_number_is_used_once(machine: str) -> None:
    calls = (*PROCESSES, *FILE_ATTRIBUTES, *PRIVILEGES)
    numbers = [n for call in calls if (n := getattr(call, machine)) >= 0]
    assert len(numbers) == len(set(numbers))
    assert len(program(calls, machine)) // 8 < 256


SET_UID = """
import os, sys
from modelward.worker.child_protocol import Candidate
from modelward.worker.validate import __main__ as child
child._after_copy(Candidate(path="/", version="v1", kind="tensor"))
for attempt in (
    lambda: os.chmod(sys.argv[1], 0o4755),
    lambda: os.open(sys.argv[1] + "-made", os.O_WRONLY | os.O_CREAT, 0o4755),
    lambda: os.utime(sys.argv[1], (0, 0)),
    lambda: os.fchmod(os.open(sys.argv[1], os.O_RDONLY), 0o4755),
):
    try:
        attempt()
    except PermissionError:
        print("refused")
"""


def test_a_validator_that_has_its_copy_can_leave_no_set_uid_file(tmp_path: Path) -> None:
    (tmp_path / "program").write_text("x")
    script = (
        "from modelward.worker.sandbox.limits import ProcessLimits, apply_limits\napply_limits(ProcessLimits())\n"
        + SET_UID
    )
    command = [sys.executable, "-c", script, str(tmp_path / "program")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False)
    assert done.stdout.split() == ["refused"] * 4, done.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == ["program"]
