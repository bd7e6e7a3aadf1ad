"""What a decoder can't do any more once it reads what came from strangers."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from tests.costly_audio import spoken
from tests.support import PATIENCE_SECONDS, open_paths, soon
from tests.worker.decoders.test_pool import Started, decode, pool
from tests.worker.running import ROOT

PROBE = """
import ctypes, os, signal, socket, sys
import numpy, soundfile, soxr
from modelward.worker.decoders.confinement import confine
a, b = socket.socketpair()
libc = ctypes.CDLL(None, use_errno=True)
def call(*numbers):
    if libc.syscall(*numbers) < 0:
        raise OSError(ctypes.get_errno(), "refused")
tries = {
    "read a file": lambda: open("/etc/hostname"),
    "read a file of its own program": lambda: open(numpy.__file__),
    "write a file": lambda: os.open("/tmp/probe", os.O_CREAT | os.O_WRONLY),
    "write to no name": lambda: os.open("/tmp", os.O_TMPFILE | os.O_WRONLY),
    "look at a file": lambda: os.stat("/etc/passwd"),
    "list a directory": lambda: os.listdir("/"),
    "remove a file": lambda: os.unlink("/tmp/probe"),
    "TCP": lambda: socket.socket(),
    "a Unix socket": lambda: socket.socket(socket.AF_UNIX),
    "a pair of sockets": lambda: socket.socketpair(),
    "connect": lambda: a.connect("/run/x"),
    "accept": lambda: a.accept(),
    "fork": lambda: os.fork(),
    "exec": lambda: os.execv("/bin/true", ["true"]),
    "signal another process": lambda: os.kill(os.getppid(), 0),
    "memory files": lambda: os.memfd_create("x"),
    "pipes": lambda: os.pipe(),
    "another's memory": lambda: call(310, os.getppid(), 0, 0, 0, 0, 0),
    "ptrace": lambda: call(101, 16, os.getppid(), 0, 0),
    "io_uring": lambda: call(425, 8, 0),
    "a user namespace": lambda: libc.unshare(0x10000000) and call(272, 0x10000000),
    "limits of another": lambda: call(302, os.getppid(), 0, 0, 0),
    "ioctl": lambda: call(16, 0, 0x5412, b"x"),
}
print("missing:", confine(os.getppid(), 640 << 20))
for name, attempt in tries.items():
    try:
        attempt()
    except PermissionError:
        continue
    except OSError as e:
        print(name, "failed otherwise:", e)
    else:
        print(name, "was possible")
sys.stdout.flush()
os._exit(0)
"""


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the probe knows numbers of system calls for x86-64")
def test_a_decoder_can_open_nothing_start_nothing_and_reach_nobody() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROBE],
        env={**os.environ, "PYTHONPATH": str(ROOT / ".imports"), "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
    )
    assert done.stdout == "missing: \n", done.stdout + done.stderr


def test_a_running_decoder_has_no_new_privileges_one_thread_and_only_the_descriptors_it_was_given(
    started: Started,
) -> None:
    async def play() -> None:
        async with pool() as decoders:
            await decode(decoders, spoken(3))
            (pid,) = started()
            await soon(lambda: len(_descriptors(pid)) == 5)  # three standard ones, its inbox, its own pidfd
            before = _descriptors(pid)
            for format, subtype in (("MP3", "MPEG_LAYER_III"), ("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("OGG", "OPUS")):
                await decode(decoders, spoken(3, format, subtype))
            await soon(lambda: _descriptors(pid) == before)
            status = dict(
                line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in line
            )
            assert (status["NoNewPrivs"], status["Seccomp"], status["Threads"]) == ("1", "2", "1")
            assert int(status["CapEff"], 16) == int(status["CapPrm"], 16) == 0
            assert psutil.Process(pid).rlimit(psutil.RLIMIT_CORE) == (0, 0)
            assert os.getsid(pid) == pid

    asyncio.run(play())


def _descriptors(pid: int) -> list[str]:
    return sorted(open_paths(pid))
