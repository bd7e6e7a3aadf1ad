"""Refuses this process and its children every new socket, or all but a few system calls, by a seccomp filter.

It works where no namespace can take the network away: in a service that may make none, in most containers. It needs
no_new_privs, and no socket may be open yet. It only takes rights away and reports what it could not do.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from .limits import libc

_PR_SET_SECCOMP: Final = 22
_MODE_FILTER: Final = 2

# linux/bpf_common.h and linux/seccomp.h; offsets are those of struct seccomp_data
_LOAD: Final = 0x20
_EQUAL: Final = 0x15
_AT_LEAST: Final = 0x35
_RETURN: Final = 0x06
_NUMBER: Final = 0
_ARCHITECTURE: Final = 4
_ALLOW: Final = 0x7FFF0000
_KILL_PROCESS: Final = 0x80000000
_REFUSE: Final = 0x00050000 | errno.EPERM
_OTHER_ABI: Final = 0x40000000  # x32's numbers begin here


class _Machine(NamedTuple):
    audit: int
    refused: tuple[int, ...]


# socket, and two ways around it: io_uring_setup (a ring opens sockets by itself) and pidfd_getfd (of another process)
_MACHINES: Final = {
    "x86_64": _Machine(0xC000003E, (41, 425, 438)),
    "aarch64": _Machine(0xC00000B7, (198, 425, 438)),
}


class _SocketFilterProgram(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p))


def refuse_sockets() -> str:
    """No socket can be opened from now on. Returns "" when done, else the reason."""
    machine = _MACHINES.get(platform.machine())
    if machine is None:
        return f"sockets not refused (not known how on {platform.machine()})"
    return _install(machine, machine.refused, on_match=_REFUSE, otherwise=_ALLOW, what="sockets")


def refuse_all_but(calls: Mapping[str, tuple[int, ...]]) -> str:
    """Allows only system calls with these numbers, by machine, from now on. Returns "" when done, else the reason.

    The others fail with EPERM.
    """
    machine = _MACHINES.get(platform.machine())
    if machine is None or platform.machine() not in calls:
        return f"system calls not refused (not known how on {platform.machine()})"
    allowed = calls[platform.machine()]
    return _install(machine, allowed, on_match=_ALLOW, otherwise=_REFUSE, what="system calls")


def _install(machine: _Machine, numbers: Sequence[int], *, on_match: int, otherwise: int, what: str) -> str:
    code = _filter(machine, numbers, on_match, otherwise)
    text = ctypes.create_string_buffer(code, len(code))
    program = _SocketFilterProgram(len(code) // 8, ctypes.addressof(text))
    if libc.prctl(_PR_SET_SECCOMP, ctypes.c_ulong(_MODE_FILTER), ctypes.byref(program), 0, 0) != 0:
        return f"{what} not refused ({os.strerror(ctypes.get_errno())})"
    return ""


def _filter(machine: _Machine, numbers: Sequence[int], on_match: int, otherwise: int) -> bytes:
    """Code that kills on a foreign architecture's calls and refuses another ABI's; then the number decides."""
    checks = [(_EQUAL, number) for number in numbers]
    lines = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_EQUAL, 1, 0, machine.audit),
        (_RETURN, 0, 0, _KILL_PROCESS),
        (_LOAD, 0, 0, _NUMBER),
        (_AT_LEAST, 0, 1, _OTHER_ABI),
        (_RETURN, 0, 0, _REFUSE),
        # on a match to the last line, over the checks that follow and the line before
        *((kind, len(checks) - i, 0, value) for i, (kind, value) in enumerate(checks)),
        (_RETURN, 0, 0, otherwise),
        (_RETURN, 0, 0, on_match),
    ]
    return b"".join(struct.pack("=HBBI", *line) for line in lines)
