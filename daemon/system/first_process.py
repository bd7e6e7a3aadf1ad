"""The first process of a container (PID 1): starts the daemon as its child, reaps every orphan, passes signals on.

It is not the daemon: whoever reaps all processes takes from the daemon the statuses of its own children. The kernel
ends a container with its first process, so while workers of a daemon that ended are left, it starts the next daemon,
which takes them back. Invariant: it ends with the status of the last daemon.
"""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Collection
from contextlib import suppress
from typing import Final

from .clock import SystemClock

UNDER_INIT: Final = "MODELWARD_UNDER_INIT"
"""In the environment of a daemon that is started again when it ends and leaves its workers."""
KEPT: Final = frozenset({signal.SIGKILL, signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU})
FAULTS: Final = frozenset({signal.SIGFPE, signal.SIGILL, signal.SIGSEGV, signal.SIGBUS, signal.SIGTRAP, signal.SIGSYS})
ENDING: Final = (signal.SIGTERM, signal.SIGINT)
PROVED_SECONDS: Final = 10.0
"""A daemon that ran for so long is followed by the next one at once; before, there is a pause."""
LONGEST_PAUSE_SECONDS: Final = 30.0


def run() -> int | None:
    """None in the process that is to be the daemon, each time that one is started; in the first process its status.

    To be called before there are threads. The daemon has the signal mask of the caller.
    """
    handled = signal.valid_signals() - KEPT - FAULTS
    before = signal.pthread_sigmask(signal.SIG_BLOCK, handled)
    clock, pause_seconds = SystemClock(), 0.0
    while True:
        began = clock.monotonic()
        daemon = os.fork()
        if daemon == 0:
            os.environ[UNDER_INIT] = "1"
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            return None
        status, received = _watch(daemon, handled)
        if received.intersection(ENDING):
            if _others_live():  # it died before it drained them, or while it did
                _end_all(handled)
            return _exit_status(status)
        if signal.SIGQUIT in received and status == 0:
            pause_seconds = 0.0
            continue
        proved = clock.monotonic() - began >= PROVED_SECONDS
        pause_seconds = 0.0 if proved else min(LONGEST_PAUSE_SECONDS, max(1.0, 2 * pause_seconds))
        if not _others_live():
            return _exit_status(status)
        _report(f"the daemon ended; its workers serve on, and the next daemon starts in {pause_seconds:g} s", status)
        if not _rest(pause_seconds, handled):
            return _exit_status(status)


def _watch(daemon: int, handled: Collection[int]) -> tuple[int, set[int]]:
    """Passes signals on until the daemon ends. Its status, negative for a signal, and the signals that were passed."""
    received: set[int] = set()
    pidfd = os.pidfd_open(daemon)
    try:
        while True:
            number = signal.sigwait(handled)
            if number != signal.SIGCHLD:
                received.add(number)
                with suppress(ProcessLookupError):
                    signal.pidfd_send_signal(pidfd, number)
            elif (status := _reap(daemon)) is not None:
                return status, received
    finally:
        os.close(pidfd)


def _reap(daemon: int = 0) -> int | None:
    """Takes the status of every child that has ended; returns the daemon's, None while it lives."""
    found = None
    with suppress(ChildProcessError):
        while True:
            pid, raw = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            if pid == daemon:
                found = os.waitstatus_to_exitcode(raw)
    return found


def _others_live() -> bool:
    """Whether processes are left. A daemon's children became ours with its end."""
    try:
        _reap()
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def _rest(seconds: float, handled: Collection[int]) -> bool:
    """Waits before the next daemon. False when there shall be none: everything ended, or has to end."""
    clock = SystemClock()
    until = clock.monotonic() + seconds
    while (left := until - clock.monotonic()) > 0:
        got = signal.sigtimedwait(handled, left)
        if got is not None and got.si_signo in ENDING:
            _end_all(handled)
            return False
        if not _others_live():
            return False
    return True


def _end_all(handled: Collection[int]) -> None:
    """Has the workers drain, and waits until all are gone. Their number of seconds is theirs to keep."""
    with suppress(ProcessLookupError):
        os.kill(-1, signal.SIGTERM)
    while _others_live():
        signal.sigwait(handled)


def _exit_status(status: int) -> int:
    """As a shell has it: 128 and the number for a signal."""
    return status if status >= 0 else 128 - status


def _report(event: str, status: int) -> None:
    """Loses the line where the output is full or closed: whoever reads it may have stopped, and must not stop us."""
    from ...worker.shared.log_lines import line_of, now  # for a bad day alone

    line = {"time": now(), "level": "error", "event": event, "worker": "init", "status": _exit_status(status)}
    with suppress(OSError):
        if select.select((), (2,), (), 0.0)[1]:  # a pipe has room for a line then
            os.write(2, line_of(line))
