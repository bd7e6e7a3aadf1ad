"""Takes from a decoder all that decoding does not need: files, sockets, programs, threads, other processes.

To be called once, when everything is imported and before any untrusted byte is read. It only takes rights away, and
returns which could not be taken. Invariant: afterwards no system call opens a file or a socket, or starts anything.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import Final

from ..sandbox.landlock import drop_capabilities, restrict_view
from ..sandbox.limits import ProcessLimits, apply_limits, die_with_parent
from ..sandbox.socket_filter import refuse_all_but

LIFE_CPU_SECONDS: Final = 3600
STEP_CPU_SECONDS: Final = 10.0
"""For one piece of work between two checks of the clock. An hour of Opus is 2,600 such pieces and takes less in
total.
"""
OOM_SCORE: Final = 500
_FILE_BYTES: Final = 64 << 30
_OPEN_FILES: Final = 128

# read write close lseek pread64 pwrite64 readv writev poll mmap mprotect munmap brk mremap madvise rt_sigaction
# rt_sigprocmask rt_sigreturn sched_yield setitimer getpid sendto recvfrom sendmsg recvmsg shutdown exit fcntl
# getrusage sigaltstack gettid futex sched_getaffinity restart_syscall clock_gettime clock_nanosleep exit_group
# set_robust_list ppoll getrandom membarrier rseq; fstat only by descriptor
CALLS: Final = {
    "x86_64": (0, 1, 3, 5, 7, 8, 9, 10, 11, 12, 13, 14, 15, 17, 18, 19, 20, 24, 25, 28, 38, 39, 44, 45, 46, 47, 48, 60,
               72, 98, 131, 186, 202, 204, 219, 228, 230, 231, 271, 273, 318, 324, 334),
    "aarch64": (25, 57, 62, 63, 64, 65, 66, 67, 68, 73, 80, 93, 94, 98, 99, 103, 113, 115, 123, 124, 128, 132, 134,
                135, 139, 165, 172, 178, 206, 207, 210, 211, 212, 214, 215, 216, 222, 226, 233, 278, 283, 293),
}  # fmt: skip


def confine(parent: int, memory_bytes: int) -> str:
    """Takes the rights away. Returns "" when all are gone, else which are not. Exits if the process `parent`
    has ended.
    """
    die_with_parent()
    with suppress(OSError):  # where memory is short, the kernel kills a decoder before it kills a worker
        Path("/proc/self/oom_score_adj").write_text(str(OOM_SCORE))
    limits = ProcessLimits(memory_bytes, 0, 2 * LIFE_CPU_SECONDS, _FILE_BYTES, _OPEN_FILES, niceness=0)
    steps = [*apply_limits(limits), drop_capabilities(keep=0), restrict_view(())]
    die_with_parent()
    if os.getppid() != parent:
        os._exit(0)
    steps.append(refuse_all_but(CALLS))
    return "; ".join(problem for problem in steps if problem)


def limit_step() -> None:
    """From now on the kernel ends this process when it takes more than STEP_CPU_SECONDS, whatever code runs."""
    signal.setitimer(signal.ITIMER_PROF, STEP_CPU_SECONDS)
