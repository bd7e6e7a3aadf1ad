"""Starts other programs: the only spawner of the house.

Each child is a fresh interpreter in a session of its own, with an explicit environment and no descriptor it was not
given. Its end is seen through a pidfd, so no thread waits and no recycled pid is ever signalled; whatever is left of
its group is killed before it is reaped, while the pid still belongs to it.
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
PASSED_ON = ("PATH", "TMPDIR", "TZ", "MODELWARD_HIDE_CPU_FLAGS")  # the last for tests: see worker.machine


class Identity(Struct, frozen=True):
    """A process that can't be mistaken for a later one: pid and start time in clock ticks since boot."""

    pid: int
    started_ticks: int


def identity(pid: int) -> Identity | None:
    """Who `pid` is now, from field 22 of /proc/PID/stat; None when there is no such process or only its zombie."""
    try:
        return identity_in(pid, Path(f"/proc/{pid}/stat").read_bytes())
    except OSError:
        return None


def identity_in(pid: int, stat: bytes) -> Identity | None:
    """The same from the bytes of that file, which may be none while a process goes."""
    try:
        fields = stat[stat.rindex(b")") + 2 :].split()
        return None if fields[0] in (b"Z", b"X") else Identity(pid, int(fields[19]))
    except (ValueError, IndexError):
        return None


class ChildProcess:
    """A process we watch: one we started, or one a former daemon started and we took back."""

    def __init__(self, name: str, pid: int, *, ours: bool, stdout: IO[bytes] | None = None) -> None:
        self.name, self.pid, self.ours = name, pid, ours
        self._stdout = stdout
        self._loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[int | None] = self._loop.create_future()
        self._pidfd = os.pidfd_open(pid)
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
        """The exit status once it ended: negative for a signal, None when a former daemon was its parent."""
        return await asyncio.shield(self._ended)

    def signal(self, number: signal.Signals) -> bool:
        """Sends a signal to this very process; False when it has ended, or is not ours to signal."""
        if not self.running:
            return False
        try:
            signal.pidfd_send_signal(self._pidfd, number)
        except (ProcessLookupError, PermissionError):
            return False
        return True

    def kill_group(self) -> None:
        """SIGKILL to the child and everything it started that stayed in its group."""
        # The process first: a number that was reaped by somebody else must not be taken for its group.
        if self.signal(signal.SIGKILL):
            _kill_group(self.pid)

    def _exited(self) -> None:
        self._loop.remove_reader(self._pidfd)
        status = None
        try:
            status = self._reap() if self.ours else None
        finally:  # in any case: the tasks that wait for its end are woken
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
        """Stops watching a process that is not the one that was meant."""
        if self.running:
            self._loop.remove_reader(self._pidfd)
            os.close(self._pidfd)
            self._ended.set_result(None)

    def close(self) -> None:
        """Gives back the output pipe."""
        if self._stdout is not None:
            self._stdout.close()
            self._stdout = None


def _kill_group(group: int) -> None:
    with suppress(ProcessLookupError, PermissionError):  # nobody is left, or nobody of ours
        os.killpg(group, signal.SIGKILL)


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """What a child gets to know: nothing of ours but where to find programs and modules.

    MALLOC_MMAP_THRESHOLD_ makes glibc give a dropped model's memory back to the system; numpy's products are small
    and workers are many, so OpenBLAS keeps to the thread that calls it.
    """
    kept = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    if places := [os.path.abspath(place) for place in os.environ.get("PYTHONPATH", "").split(os.pathsep) if place]:
        kept["PYTHONPATH"] = os.pathsep.join(places)  # absolute: children start elsewhere
    return {
        **kept,
        "LANG": "C.UTF-8",
        "PYTHONSAFEPATH": "1",
        "PYTHONUNBUFFERED": "1",
        "MALLOC_MMAP_THRESHOLD_": "131072",
        "OPENBLAS_NUM_THREADS": "1",
        "ORT_DISABLE_TELEMETRY": "1",
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
    stdout: Literal["pipe"] | None = None,
    pass_fds: Sequence[int] = (),
) -> ChildProcess:
    """Starts a program and watches it. To be called on the event loop's thread.

    `stdin` is at most MAX_STDIN_BYTES. Raises OSError when the system has no process or descriptor to give, ValueError
    when `stdin` is too long, RuntimeError without a running loop; nothing was started then.
    """
    asyncio.get_running_loop()
    with _input(name, stdin) as given:
        process = subprocess.Popen(
            argv,
            stdin=given,
            stdout=subprocess.PIPE if stdout == "pipe" else subprocess.DEVNULL,
            env=dict(environment() if env is None else env),
            cwd="/",
            pass_fds=tuple(pass_fds),
            start_new_session=True,
        )
    try:
        if process.stdout is not None:
            os.set_blocking(process.stdout.fileno(), False)
        child = ChildProcess(name, process.pid, ours=True, stdout=process.stdout)
    except OSError:  # it can't be watched, so it must not live
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()
        raise
    process.returncode = 0  # reaped by Child alone: keeps Popen's finalizer from waiting for a pid that is gone
    return child


def finish(argv: Sequence[str], *, seconds: float) -> tuple[int, str]:
    """Runs a short program to its end, for a command line: its status and what it printed, errors included.

    Not for the daemon: it waits. Status 124: it took too long and was killed. Raises OSError when it can't be started.
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
    """A descriptor that yields `content` to a child: a file in memory, for a full pipe would block the daemon."""
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
    if identity(who.pid) != who:  # asked after the pidfd is held: no later process can take its place
        child.forget()
        return None
    return child
