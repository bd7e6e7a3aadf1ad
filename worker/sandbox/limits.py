"""Limits what a process may use, before it reads anything that came from others.

Resource limits, no new privileges, low priority, and a malloc that returns memory. Every step reports what it could not
do instead of failing. The caller logs it and continues. Invariant: a limit is only lowered.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from msgspec import Struct

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_NO_NEW_PRIVS: Final = 38
PARENT_PID: Final = "MODELWARD_PARENT_PID"
"""The variable in which the daemon gives its children its pid."""
_M_MMAP_THRESHOLD: Final = -3
_MMAP_THRESHOLD_BYTES: Final = 128 << 10
_CPU_GRACE_SECONDS: Final = 2

libc: Final = ctypes.CDLL(None, use_errno=True)


class ProcessLimits(Struct, frozen=True):
    """Zero means no limit.

    `memory_bytes` bounds private writable memory: heap, stacks, anonymous and private mappings. `address_bytes` bounds
    all mappings together, shared libraries and mapped weights included. `cpu_seconds` counts all threads. `processes`
    counts all processes and threads of the user; root has no such limit.
    """

    memory_bytes: int = 0
    address_bytes: int = 0
    cpu_seconds: int = 0
    file_bytes: int = 0
    open_files: int = 256
    processes: int = 0
    niceness: int = 10


def apply_limits(limits: ProcessLimits) -> tuple[str, ...]:
    """Sets all of `limits` that it can. Returns a short phrase for each that could not be set."""
    return tuple(_problems(limits))


def _problems(limits: ProcessLimits) -> Iterator[str]:
    wanted = (
        (resource.RLIMIT_CORE, "core dumps", 0),
        (resource.RLIMIT_NOFILE, "open files", limits.open_files or None),
        (resource.RLIMIT_FSIZE, "file size", limits.file_bytes or None),
        (resource.RLIMIT_CPU, "CPU time", limits.cpu_seconds + _CPU_GRACE_SECONDS if limits.cpu_seconds else None),
        (resource.RLIMIT_DATA, "memory", limits.memory_bytes or None),
        (resource.RLIMIT_NPROC, "processes", limits.processes or None),
        (resource.RLIMIT_AS, "address space", limits.address_bytes or None),
    )
    for which, name, value in wanted:
        if value is not None and (problem := _lower(which, value)):
            yield f"{name} not limited ({problem})"
    if problem := _call(lambda: _prctl(_PR_SET_NO_NEW_PRIVS, 1)):
        yield f"new privileges not refused ({problem})"
    if problem := _call(lambda: os.nice(max(0, limits.niceness - os.nice(0)))):
        yield f"priority not lowered ({problem})"


def end_before_others(score: int) -> str:
    """When memory runs out the kernel kills this process before those of a lower score (oom_score_adj, 0 to 1000).

    Returns "" when done, else the reason. A higher score stays.
    """
    place = Path("/proc/self/oom_score_adj")
    try:
        if int(place.read_text()) < score:
            place.write_text(str(score))
    except (OSError, ValueError) as e:
        return f"not marked as one to end where memory runs out ({getattr(e, 'strerror', None) or e})"
    return ""


class Score:
    """This process's score for `end_before_others`, opened while its file is still in view.

    Children that are started in `children_first` get a higher score, which they cannot set themselves any more.
    """

    def __init__(self) -> None:
        self._lock, self._fd = threading.Lock(), -1

    def keep(self) -> None:
        """Opens the file, for good."""
        with suppress(OSError):
            self._fd = os.open("/proc/self/oom_score_adj", os.O_RDWR | os.O_CLOEXEC)

    @contextmanager
    def children_first(self, score: int) -> Iterator[None]:
        """Does nothing where the file was not opened, or the kernel refuses."""
        with self._lock:
            own = b""
            try:
                own = os.pread(self._fd, 16, 0)
                if int(own) < score:
                    os.pwrite(self._fd, str(score).encode(), 0)
            except (OSError, ValueError):
                own = b""
            try:
                yield
            finally:
                if own:
                    with suppress(OSError):
                        os.pwrite(self._fd, own, 0)


own_score: Final = Score()


def be_nicer(by: int) -> None:
    """Lowers the priority of the calling thread only (setpriority(2)), relative to its own.

    A process that was started at a low priority may not set a higher one. Does nothing where the kernel refuses.
    """
    with suppress(OSError):
        os.nice(by)


def return_freed_memory() -> None:
    """Makes glibc map large blocks one by one, so that memory of a dropped model is returned to the kernel."""
    mallopt = getattr(libc, "mallopt", None)  # other C libraries do not have it and do not need it
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _MMAP_THRESHOLD_BYTES)


def die_with_parent() -> None:
    """The kernel ends this process when the thread that started it ends.

    A parent that ended before is found by its pid, where the environment has it; then the process ends here. To be
    called again after a change of rights, which clears the setting (prctl(2), PR_SET_PDEATHSIG). Does nothing where the
    kernel refuses.
    """
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.environ.get(PARENT_PID, str(os.getppid())) != str(os.getppid()):
        os._exit(1)


def _lower(which: int, value: int) -> str:
    _, hard = resource.getrlimit(which)
    bounded = value if hard == resource.RLIM_INFINITY else min(value, hard)
    # at the soft limit of CPU time comes SIGXCPU, which is clearer than the SIGKILL of the hard one
    soft = max(0, bounded - _CPU_GRACE_SECONDS) if which == resource.RLIMIT_CPU else bounded
    return _call(lambda: resource.setrlimit(which, (soft, bounded)))


def _prctl(option: int, value: int) -> None:
    if libc.prctl(option, value, 0, 0, 0) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def _call(action: Callable[[], object]) -> str:
    try:
        action()
    except (OSError, ValueError) as e:
        return getattr(e, "strerror", None) or str(e)
    return ""
