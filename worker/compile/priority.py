"""Gives this process the lowest priority for processor and disk, and makes it the first to be killed when memory runs
out.

It decides nothing. It reports what it could not do instead of failing. To be called before a second thread exists,
because later threads inherit it.
"""

from __future__ import annotations

import ctypes
import os
import platform
from pathlib import Path
from typing import Final

from ..sandbox.limits import libc

_OOM_SCORE: Final = 900  # of 1000: of all our processes it is killed first
_IOPRIO_SET: Final = {"x86_64": 251, "aarch64": 30}
_IOPRIO_WHO_PROCESS: Final = 1
_IOPRIO_CLASS_IDLE: Final = 3 << 13


def stand_back(*, urgent: bool = False) -> tuple[str, ...]:
    """Takes the lowest priority. Returns a short phrase for each part that could not be set.

    `urgent`: it shares the processor with low weight, instead of running only when the processor is idle.
    """
    problems = [] if urgent else [_idle_processor()]
    problems += [_idle_disk(), _first_to_go()]
    return tuple(problem for problem in problems if problem)


def _idle_processor() -> str:
    try:
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    except OSError as e:
        return f"not left to idle time ({e.strerror})"  # the niceness of the resource limits stays
    return ""


def _idle_disk() -> str:
    number = _IOPRIO_SET.get(platform.machine())
    if number is None:
        return f"disk priority not lowered (not known how on {platform.machine()})"
    if libc.syscall(number, ctypes.c_int(_IOPRIO_WHO_PROCESS), ctypes.c_int(0), ctypes.c_int(_IOPRIO_CLASS_IDLE)) != 0:
        return f"disk priority not lowered ({os.strerror(ctypes.get_errno())})"
    return ""


def _first_to_go() -> str:
    try:
        Path("/proc/self/oom_score_adj").write_text(str(_OOM_SCORE))
    except OSError as e:
        return f"not the first to go when memory runs out ({e.strerror})"
    return ""
