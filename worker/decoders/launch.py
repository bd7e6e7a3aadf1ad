"""Starts decoders and hands jobs to them. No other module of a worker starts processes.

A decoder is a fresh interpreter in a session of its own that ends with the worker that started it. The worker that
holds slot n uses decoder number n. Any worker finds it by the name of its socket. `send` and `start` must not be called
on the event loop. Invariant: every started process is reaped.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from ..sandbox.limits import own_score
from .confinement import OOM_SCORE

BASE_MEMORY_BYTES: Final = 256 << 20
NAMINGS: Final = 5
_KEPT: Final = ("PATH", "TMPDIR", "TZ", "PYTHONPATH")


class Inbox:
    """Where the jobs of one decoder go. `path` is its name among all workers, "" for one of this worker only."""

    def __init__(self, launcher: Launcher, path: str = "") -> None:
        self._launcher, self._path = launcher, path
        self._process: subprocess.Popen[bytes] | None = None
        self._out = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)

    def send(self, data: bytes, descriptors: Sequence[int]) -> None:
        """Hands a job over, to a new decoder when there is none. Raises OSError when none can be had."""
        with suppress(OSError):  # it ended, never started, or takes no jobs any more
            if self._path:
                self._find()
            socket.send_fds(self._out, [data], descriptors)
            return
        self._start()
        socket.send_fds(self._out, [data], descriptors)

    def _find(self) -> None:
        self._out.close()
        self._out = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        self._out.connect(self._path)

    def _start(self) -> None:
        theirs = self._bound() if self._path else self._pair()
        with theirs:
            self._process = self._launcher.start(theirs)

    def _pair(self) -> socket.socket:
        self._out.close()
        self._out, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._out.setblocking(False)
        return theirs

    def _bound(self) -> socket.socket:
        """A socket under the name, with `_out` connected to it, because another worker may remove the name at any time.

        A worker does that when a former decoder with this name does not answer. A connected socket stays connected.
        """
        for _ in range(NAMINGS - 1):
            with suppress(OSError):
                return self._named()
        return self._named()

    def _named(self) -> socket.socket:
        with suppress(FileNotFoundError):
            os.unlink(self._path)
        theirs = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        try:
            theirs.bind(self._path)
            self._find()
        except OSError:
            theirs.close()
            raise
        return theirs

    def abandon(self) -> None:
        """Removes the name of a decoder that does not answer, so that no worker finds it."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
        if self._path:
            with suppress(OSError):
                os.unlink(self._path)

    def close(self) -> None:
        """Closes it; a decoder of this worker only ends."""
        if not self._path:
            self.abandon()
        self._out.close()


class Launcher:
    """Starts the processes and reaps them. Created on the event loop; `report` is called when one did not end by
    itself.
    """

    def __init__(self, *, most_bytes: int, report: Callable[[str], None]) -> None:
        self._most_bytes, self._report = most_bytes, report
        self._loop = asyncio.get_running_loop()
        self._running: dict[int, subprocess.Popen[bytes]] = {}

    def start(self, inbox: socket.socket) -> subprocess.Popen[bytes]:
        """Starts a decoder that reads jobs from `inbox`. Raises OSError."""
        # Memory for bytes that are decoded and rewrapped, and for several clips: see `child`.
        memory = BASE_MEMORY_BYTES + 6 * self._most_bytes
        words = (inbox.fileno(), os.getpid(), memory, self._most_bytes)
        with own_score.children_first(OOM_SCORE):  # the children of a confined worker cannot set it themselves
            process = subprocess.Popen(
                [sys.executable, "-m", __package__, *(str(word) for word in words)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,  # what decoders print follows untrusted bytes
                env=_environment(),
                cwd="/",
                pass_fds=(inbox.fileno(),),
                start_new_session=True,
            )
        self._loop.call_soon_threadsafe(self._watch, process)
        return process

    def _watch(self, process: subprocess.Popen[bytes]) -> None:
        pidfd = os.pidfd_open(process.pid)
        self._running[pidfd] = process
        self._loop.add_reader(pidfd, self._ended, pidfd)

    def _ended(self, pidfd: int) -> None:
        """Its name stays: nothing listens there, and the worker that starts the next decoder takes the name over."""
        process = self._running.pop(pidfd)
        self._loop.remove_reader(pidfd)
        os.close(pidfd)
        status = process.wait()
        if status:
            self._report(f"a decoder ended: {_why(status)}")

    def close(self) -> None:
        """Ends and reaps all."""
        for pidfd, process in self._running.items():
            self._loop.remove_reader(pidfd)
            process.kill()
            process.wait()
            os.close(pidfd)
        self._running.clear()


def _environment() -> dict[str, str]:
    """The environment of a decoder: where programs and modules are. An attacker may be able to read all of it."""
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    if place := kept.get("PYTHONPATH"):
        kept["PYTHONPATH"] = os.pathsep.join(str(Path(part).absolute()) for part in place.split(os.pathsep) if part)
    return {
        **kept,
        "LANG": "C.UTF-8",
        "PYTHONSAFEPATH": "1",
        # A block is 256 KiB: a new request to the kernel for each one cost 1 ms a second of sound.
        "MALLOC_MMAP_THRESHOLD_": str(4 << 20),
        "MALLOC_TRIM_THRESHOLD_": str(8 << 20),
        "OPENBLAS_NUM_THREADS": "1",
    }


def _why(status: int) -> str:
    if status == -signal.SIGPROF:
        return "one step took more processor time than any may"
    return signal.Signals(-status).name if status < 0 else f"exit status {status}"
