"""Starts other programs. No other module of the daemon does that.

Each child is a fresh interpreter in a session of its own, with an explicit environment and only the descriptors that it
was given. A pidfd reports its end, so no thread waits and no reused pid is ever signalled. What is left of its group is
killed before the child is reaped, while the pid still belongs to it.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Literal

from msgspec import Struct

MAX_STDIN_BYTES = 64 * 1024
PASSED_ON = ("PATH", "TMPDIR", "TZ", "MODELWARD_HIDE_CPU_FLAGS")  # the last one is for tests: see worker.machine


class Identity(Struct, frozen=True):
    """Identifies a process among all that had its pid: pid and start time in clock ticks since boot."""

    pid: int
    started_ticks: int


def identity(pid: int) -> Identity | None:
    """The identity of `pid` now, from field 22 of /proc/PID/stat; None when there is no such process or only its
    zombie.
    """
    try:
        return identity_in(pid, Path(f"/proc/{pid}/stat").read_bytes())
    except OSError:
        return None


def identity_in(pid: int, stat: bytes) -> Identity | None:
    """The same from the bytes of that file, which may be empty while a process ends."""
    try:
        fields = stat[stat.rindex(b")") + 2 :].split()
        return None if fields[0] in (b"Z", b"X") else Identity(pid, int(fields[19]))
    except (ValueError, IndexError):
        return None


class ChildProcess:
    """A process that the daemon watches: it started the process, or took it back from a former daemon."""

    def __init__(self, name: str, pid: int, *, ours: bool, stdout: IO[bytes] | None = None) -> None:
        self.name, self.pid, self.ours = name, pid, ours
        self._stdout = stdout
        self._loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[int | None] = self._loop.create_future()
        try:
            self._pidfd = os.pidfd_open(pid)
        except ProcessLookupError:
            if not ours:
                raise
            self._ended.set_result(None)  # SIGCHLD is ignored in this process: the kernel has reaped it already
            return
        try:
            self._loop.add_reader(self._pidfd, self._exited)
        except OSError:
            os.close(self._pidfd)
            raise

    @property
    def stdout_fd(self) -> int:
        """The non-blocking read end of the child's output. Raises ValueError when it has none."""
        if self._stdout is None:
            raise ValueError(f"cannot read {self.name}: started without a pipe")
        return self._stdout.fileno()

    @property
    def running(self) -> bool:
        return not self._ended.done()

    async def wait(self) -> int | None:
        """The exit status after its end: negative for a signal, None when a former daemon was its parent."""
        return await asyncio.shield(self._ended)

    def signal(self, number: signal.Signals) -> bool:
        """Sends a signal to this very process; False when it has ended, or we may not signal it."""
        if not self.running:
            return False
        try:
            signal.pidfd_send_signal(self._pidfd, number)
        except (ProcessLookupError, PermissionError):
            return False
        return True

    def kill_group(self) -> None:
        """Sends SIGKILL to the child and to all processes of its group."""
        # The process first: a number that another part has reaped must not be taken for its group.
        if self.signal(signal.SIGKILL):
            _kill_group(self.pid)

    def _exited(self) -> None:
        self._loop.remove_reader(self._pidfd)
        status = None
        try:
            status = self._reap() if self.ours else None
        finally:  # in any case: this wakes the tasks that wait for its end
            os.close(self._pidfd)
            self._ended.set_result(status)

    def _reap(self) -> int | None:
        """Kills what the child left behind, then reaps it; None when another part took its status."""
        try:
            os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED | os.WNOWAIT)
            _kill_group(self.pid)  # the zombie still owns the number
            return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        except ChildProcessError:  # SIGCHLD is ignored in this process: the kernel reaps by itself
            return None

    def forget(self) -> None:
        """Stops watching a process that was not the expected one."""
        if self.running:
            self._loop.remove_reader(self._pidfd)
            os.close(self._pidfd)
            self._ended.set_result(None)

    def close(self) -> None:
        """Closes the output pipe."""
        if self._stdout is not None:
            self._stdout.close()
            self._stdout = None


def _kill_group(group: int) -> None:
    with suppress(ProcessLookupError, PermissionError):  # no process is left, or none of ours
        os.killpg(group, signal.SIGKILL)


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of a child: only where to find programs and modules, and limits of memory and threads.

    MALLOC_MMAP_THRESHOLD_ makes glibc return the memory of a dropped model to the system. numpy's products are small
    and workers are many, so OpenBLAS uses only the calling thread.
    """
    kept = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    if places := [os.path.abspath(place) for place in os.environ.get("PYTHONPATH", "").split(os.pathsep) if place]:
        kept["PYTHONPATH"] = os.pathsep.join(places)  # absolute: children start in another directory
    return {
        **kept,
        "LANG": "C.UTF-8",
        "PYTHONSAFEPATH": "1",
        "PYTHONUNBUFFERED": "1",
        "MALLOC_MMAP_THRESHOLD_": "131072",
        "OPENBLAS_NUM_THREADS": "1",
        "ORT_DISABLE_TELEMETRY": "1",
        "MODELWARD_PARENT_PID": str(os.getpid()),  # for those that end with their parent: worker.sandbox.limits
        **(extra or {}),
    }


def python(module: str, *arguments: str) -> list[str]:
    """The command line that runs a module of ours in a fresh interpreter."""
    return [sys.executable, "-m", module, *arguments]


def spawn(
    argv: Sequence[str],
    *,
    name: str,
    env: Mapping[str, str] | None = None,
    stdin: bytes | None = None,
    stdout: Literal["pipe", "ours"] | None = None,
    pass_fds: Sequence[int] = (),
) -> ChildProcess:
    """Starts a program and watches it. To be called on the event loop's thread.

    `stdin` is at most MAX_STDIN_BYTES; with `stdout` "ours" the program writes to our own. Raises OSError when the
    system has no process or descriptor to give, ValueError when `stdin` is too long, RuntimeError without a running
    loop; nothing was started then.
    """
    asyncio.get_running_loop()
    with _input(name, stdin) as given:
        process = subprocess.Popen(
            argv,
            stdin=given,
            stdout={"pipe": subprocess.PIPE, "ours": None}.get(stdout or "", subprocess.DEVNULL),
            env=dict(environment() if env is None else env),
            cwd="/",
            pass_fds=tuple(pass_fds),
            start_new_session=True,
        )
    try:
        if process.stdout is not None:
            os.set_blocking(process.stdout.fileno(), False)
        child = ChildProcess(name, process.pid, ours=True, stdout=process.stdout)
    except OSError:  # it cannot be watched, so it must not live
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()
        raise
    process.returncode = 0  # only ChildProcess reaps it: Popen must not wait for a pid that is gone
    return child


def finish(argv: Sequence[str], *, seconds: float) -> tuple[int, str]:
    """Runs a short program to its end, for a command line: its status and its output, errors included.

    Not for the daemon, because it blocks. Status 124: it took too long and was killed. Raises OSError when it cannot be
    started.
    """
    try:
        done = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=seconds,
            start_new_session=True,
        )
    except subprocess.TimeoutExpired:
        return 124, f"not done in {seconds:g} s"
    return done.returncode, done.stdout[-MAX_STDIN_BYTES:].decode(errors="replace")


@contextmanager
def _input(name: str, content: bytes | None) -> Iterator[int]:
    """A descriptor from which a child reads `content`: a file in memory, because a full pipe would block the daemon."""
    if content is None:
        yield subprocess.DEVNULL
        return
    if len(content) > MAX_STDIN_BYTES:
        raise ValueError(f"cannot start {name}: {len(content)} bytes of input, at most {MAX_STDIN_BYTES}")
    with os.fdopen(os.memfd_create("stdin"), "w+b", buffering=0) as f:
        f.write(content)
        f.seek(0)
        yield f.fileno()


def take_back(name: str, who: Identity) -> ChildProcess | None:
    """Watches a process that a former daemon started; None when it is gone or another process has its pid now."""
    try:
        child = ChildProcess(name, who.pid, ours=False)
    except OSError:
        return None
    if identity(who.pid) != who:  # checked after the pidfd is open: no later process can take its place
        child.forget()
        return None
    return child
