"""Refuses this process groups of system calls that it does not need, by a seccomp filter for each group.

It covers what neither paths (Landlock has no right for modes, owners and times of files) nor resource limits can bound.
It needs no_new_privs, and holds for threads and children made afterwards, for ever. Threads can still be made,
processes not. It only takes rights away and reports what it could not do.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from .limits import libc

_PR_SET_SECCOMP: Final = 22
_MODE_FILTER: Final = 2

# linux/bpf_common.h and linux/seccomp.h; offsets are those of struct seccomp_data on little-endian machines
_LOAD: Final = 0x20
_EQUAL: Final = 0x15
_ANY_BIT: Final = 0x45
_AT_LEAST: Final = 0x35
_RETURN: Final = 0x06
_NUMBER: Final = 0
_ARCHITECTURE: Final = 4
_FIRST_ARGUMENT: Final = 16
_ALLOW: Final = 0x7FFF0000
_KILL_PROCESS: Final = 0x80000000
_REFUSE: Final = 0x00050000 | errno.EPERM
_NOT_KNOWN: Final = 0x00050000 | errno.ENOSYS
_OTHER_ABI: Final = 0x40000000  # x32's numbers begin here

_CLONE_THREAD: Final = 0x00010000
_CLONE_NEW: Final = 0x7E020000  # NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET
_SET_ID_BITS: Final = 0o6000
_ALL_BUT_UNIX: Final = 0xFFFFFFFE  # AF_UNIX is 1


class Call(NamedTuple):
    """A system call's numbers; -1 where a machine has none. Refused always, or by the bits of one argument.

    `refused_bits`: refused when any of them is set in argument number `argument`. `needed_bits`: refused when none of
    them is.
    """

    name: str
    x86_64: int
    aarch64: int
    argument: int = -1
    refused_bits: int = 0
    needed_bits: int = 0
    answer: int = _REFUSE


PROCESSES: Final = (
    Call("clone", 56, 220, argument=0, needed_bits=_CLONE_THREAD),
    Call("clone3", 435, 435, answer=_NOT_KNOWN),  # its flags cannot be read by a filter; C libraries fall back to clone
    Call("fork", 57, -1),
    Call("vfork", 58, -1),
    Call("execve", 59, 221),
    Call("execveat", 322, 281),
)
"""New processes and programs; threads can still be made."""

FILE_ATTRIBUTES: Final = (
    Call("chmod", 90, -1),
    Call("fchmod", 91, 52),
    Call("fchmodat", 268, 53),
    Call("fchmodat2", 452, 452),
    Call("chown", 92, -1),
    Call("fchown", 93, 55),
    Call("lchown", 94, -1),
    Call("fchownat", 260, 54),
    Call("setxattr", 188, 5),
    Call("lsetxattr", 189, 6),
    Call("fsetxattr", 190, 7),
    Call("removexattr", 197, 14),
    Call("lremovexattr", 198, 15),
    Call("fremovexattr", 199, 16),
    Call("setxattrat", 463, 463),
    Call("removexattrat", 466, 466),
    Call("utime", 132, -1),
    Call("utimes", 235, -1),
    Call("futimesat", 261, -1),
    Call("utimensat", 280, 88),
    Call("mknod", 133, -1),
    Call("mknodat", 259, 33),
    Call("open", 2, -1, argument=2, refused_bits=_SET_ID_BITS),
    Call("creat", 85, -1, argument=1, refused_bits=_SET_ID_BITS),
    Call("openat", 257, 56, argument=3, refused_bits=_SET_ID_BITS),
    Call("openat2", 437, 437, answer=_NOT_KNOWN),  # its mode cannot be read by a filter
)
"""Modes, owners, times and attributes of files, devices, and files made set-uid."""

PRIVILEGES: Final = (
    Call("ptrace", 101, 117),
    Call("process_vm_readv", 310, 270),
    Call("process_vm_writev", 311, 271),
    Call("kcmp", 312, 272),
    Call("unshare", 272, 97),
    Call("setns", 308, 268),
    Call("mount", 165, 40),
    Call("umount2", 166, 39),
    Call("pivot_root", 155, 41),
    Call("chroot", 161, 51),
    Call("open_tree", 428, 428),
    Call("move_mount", 429, 429),
    Call("fsopen", 430, 430),
    Call("fsmount", 432, 432),
    Call("mount_setattr", 442, 442),
    Call("open_by_handle_at", 304, 265),
    Call("bpf", 321, 280),
    Call("perf_event_open", 298, 241),
    Call("userfaultfd", 323, 282),
    Call("add_key", 248, 217),
    Call("request_key", 249, 218),
    Call("keyctl", 250, 219),
    Call("init_module", 175, 105),
    Call("finit_module", 313, 273),
    Call("delete_module", 176, 106),
    Call("kexec_load", 246, 104),
    Call("kexec_file_load", 320, 294),
    Call("setuid", 105, 146),
    Call("setgid", 106, 144),
    Call("setreuid", 113, 145),
    Call("setregid", 114, 143),
    Call("setgroups", 116, 159),
    Call("setresuid", 117, 147),
    Call("setresgid", 119, 149),
    Call("setfsuid", 122, 151),
    Call("setfsgid", 123, 152),
    Call("shmget", 29, 194),
    Call("shmat", 30, 196),
    Call("semget", 64, 190),
    Call("semop", 65, 193),
    Call("semtimedop", 220, 192),
    Call("msgget", 68, 186),
    Call("msgsnd", 69, 189),
    Call("msgrcv", 70, 188),
    Call("mq_open", 240, 180),
)
"""Other processes, namespaces, mounts, memory and queues that outlive their process, and large parts of the kernel that
neither Python nor ONNX Runtime uses.
"""

KERNEL: Final = (
    Call("clone", 56, 220, argument=0, refused_bits=_CLONE_NEW),
    Call("clone3", 435, 435, answer=_NOT_KNOWN),  # its flags cannot be read by a filter; C libraries fall back to clone
    Call("io_uring_setup", 425, 425),
    Call("pidfd_getfd", 438, 438),
    Call("name_to_handle_at", 303, 264),
    Call("fanotify_init", 300, 262),
    Call("fsconfig", 431, 431),
    Call("fspick", 433, 433),
    Call("quotactl", 179, 60),
    Call("acct", 163, 89),
    Call("swapon", 167, 224),
    Call("swapoff", 168, 225),
    Call("reboot", 169, 142),
    Call("sethostname", 170, 161),
    Call("setdomainname", 171, 162),
    Call("iopl", 172, -1),
    Call("ioperm", 173, -1),
    Call("modify_ldt", 154, -1),
    Call("settimeofday", 164, 170),
    Call("clock_settime", 227, 112),
    Call("clock_adjtime", 305, 266),
    Call("adjtimex", 159, 171),
    Call("syslog", 103, 116),
    Call("vhangup", 153, 58),
    Call("personality", 135, 92),
    Call("migrate_pages", 256, 238),
    Call("move_pages", 279, 239),
)
"""Namespaces of new processes, descriptors of others, and calls that only administration of the machine needs."""

NETWORK: Final = (Call("socket", 41, 198, argument=0, refused_bits=_ALL_BUT_UNIX),)
"""New sockets other than Unix sockets. A socket that was handed over still accepts."""

_AUDIT: Final = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}

Line = tuple[int, int, int, int]  # code, jump when true, jump when false, value


class _FilterProgram(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p))


def refuse_calls(calls: Iterable[Call]) -> str:
    """Refuses these from now on. Returns "" when done, else the reason."""
    machine = platform.machine()
    if machine not in _AUDIT:
        return f"system calls not refused (not known how on {machine})"
    code = program(calls, machine)
    text = ctypes.create_string_buffer(code, len(code))
    filter_ = _FilterProgram(len(code) // 8, ctypes.addressof(text))
    if libc.prctl(_PR_SET_SECCOMP, ctypes.c_ulong(_MODE_FILTER), ctypes.byref(filter_), 0, 0) != 0:
        return f"system calls not refused ({os.strerror(ctypes.get_errno())})"
    return ""


def program(calls: Iterable[Call], machine: str) -> bytes:
    """The filter's code: kills on a foreign architecture's calls, refuses those above, allows the rest."""
    lines: list[Line] = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_EQUAL, 1, 0, _AUDIT[machine]),
        (_RETURN, 0, 0, _KILL_PROCESS),
        (_LOAD, 0, 0, _NUMBER),
        (_AT_LEAST, 0, 1, _OTHER_ABI),
        (_RETURN, 0, 0, _REFUSE),
    ]
    for call in calls:
        number = call.x86_64 if machine == "x86_64" else call.aarch64
        if number >= 0:
            block = list(_block(call))
            lines += [(_EQUAL, 0, len(block), number), *block]
    lines.append((_RETURN, 0, 0, _ALLOW))
    return b"".join(struct.pack("=HBBI", *line) for line in lines)


def _block(call: Call) -> Iterator[Line]:
    """What follows on a call of this number; ends with a return."""
    if call.argument >= 0:
        yield (_LOAD, 0, 0, _FIRST_ARGUMENT + 8 * call.argument)
        if call.refused_bits:
            yield (_ANY_BIT, 1, 0, call.refused_bits)
        else:
            yield (_ANY_BIT, 0, 1, call.needed_bits)
        yield (_RETURN, 0, 0, _ALLOW)
    yield (_RETURN, 0, 0, call.answer)
