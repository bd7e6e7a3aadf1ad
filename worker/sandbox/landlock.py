"""Takes the network and most of the file system away from this process, as far as the kernel allows.

It uses a network namespace (of its own, or inside a user namespace when unprivileged) and Landlock by plain system
calls. It must run before a second thread exists. It reports what could not be applied and never fails. It only takes
rights away.
"""

from __future__ import annotations

import ctypes
import os
import stat
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from msgspec import Struct

from .limits import libc

_CLONE_NEWUSER: Final = 0x10000000
_CLONE_NEWNET: Final = 0x40000000

_CAPABILITY_VERSION_3: Final = 0x20080522
_KEPT_CAPABILITIES: Final = 1 << 1 | 1 << 2  # DAC_OVERRIDE, DAC_READ_SEARCH

# linux/landlock.h; the system calls have the same numbers on every architecture
_SYS_CREATE_RULESET: Final = 444
_SYS_ADD_RULE: Final = 445
_SYS_RESTRICT_SELF: Final = 446
_CREATE_RULESET_VERSION: Final = 1
_RULE_PATH_BENEATH: Final = 1

EXECUTE: Final = 1 << 0
WRITE_FILE: Final = 1 << 1
READ_FILE: Final = 1 << 2
READ_DIR: Final = 1 << 3
REMOVE_DIR: Final = 1 << 4
REMOVE_FILE: Final = 1 << 5
MAKE_DIR: Final = 1 << 7
MAKE_REG: Final = 1 << 8
MAKE_SOCK: Final = 1 << 9
_REFER: Final = 1 << 13
TRUNCATE: Final = 1 << 14
_IOCTL_DEV: Final = 1 << 15
_ALL_OF_ABI_1: Final = (1 << 13) - 1
_ON_FILES: Final = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | _IOCTL_DEV

READ: Final = EXECUTE | READ_FILE | READ_DIR
READ_WRITE: Final = READ | WRITE_FILE | REMOVE_DIR | REMOVE_FILE | MAKE_DIR | MAKE_REG | _REFER | TRUNCATE

_NETWORK_BIND_AND_CONNECT: Final = 3
_SCOPE_ABSTRACT_SOCKETS: Final = 1
_SCOPE_SIGNALS: Final = 2


class VisiblePath(Struct, frozen=True):
    """What stays visible below `path`: a set of the rights above."""

    path: str
    rights: int


def leave_network() -> str:
    """Moves this process to an empty network namespace. Returns "" when done, else the reason."""
    if libc.unshare(_CLONE_NEWNET) == 0:
        return ""
    uid, gid = os.getuid(), os.getgid()
    if libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET) != 0:
        return f"network not taken away ({os.strerror(ctypes.get_errno())})"
    # our own ids must keep their meaning: owners of files are compared with them
    try:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1")
        Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1")
    except OSError as e:
        return f"network taken away, but user ids are not shown as they are ({e.strerror})"
    return ""


def drop_capabilities(*, keep: int = _KEPT_CAPABILITIES) -> str:
    """Gives up every capability but `keep`: those over files' permissions, which the view bounds. Returns "" or the
    reason.

    As root it would otherwise keep them all, and in a user namespace it has just got them.
    """
    header = struct.pack("=II", _CAPABILITY_VERSION_3, 0)
    held = ctypes.create_string_buffer(24)
    if libc.capget(header, held) == 0 and held.raw == bytes(24):
        return ""  # nothing to give up; in a service even that may be refused
    permitted = struct.unpack("=6I", held.raw)[1]  # containers often hold only the first of them
    left = keep & permitted if os.geteuid() == 0 else 0
    kept = struct.pack("=6I", left, left, 0, 0, 0, 0)
    if libc.capset(header, kept) != 0:
        return f"capabilities not given up ({os.strerror(ctypes.get_errno())})"
    return ""


def restrict_view(views: Iterable[VisiblePath], *, signals: bool = False) -> str:
    """Leaves only `views` of the file system, for ever. Returns "" when done, else what is missing. Needs no_new_privs.

    Views of paths that do not exist are skipped. Only processes started afterwards can be signalled; with `signals`
    also those that the user could signal before.
    """
    abi = libc.syscall(_SYS_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(_CREATE_RULESET_VERSION))
    if abi < 1:
        return f"file system not restricted (Landlock: {os.strerror(ctypes.get_errno())})"
    handled = _handled(abi)
    attributes = struct.pack("=QQQ", handled, *_network_and_scope(abi, signals))
    length = 8 if abi < 4 else 16 if abi < 6 else 24
    ruleset = libc.syscall(_SYS_CREATE_RULESET, attributes, ctypes.c_size_t(length), ctypes.c_uint32(0))
    if ruleset < 0:
        return f"file system not restricted (Landlock: {os.strerror(ctypes.get_errno())})"
    try:
        problems = [problem for view in views if (problem := _allow(ruleset, view, handled))]
        if libc.syscall(_SYS_RESTRICT_SELF, ctypes.c_int(ruleset), ctypes.c_uint32(0)) != 0:
            return f"file system not restricted (Landlock: {os.strerror(ctypes.get_errno())})"
    finally:
        os.close(ruleset)
    if abi < 3:
        problems.append("truncating files is not restricted by this kernel's Landlock")
    return "; ".join(problems)


def program_views(package: Path, search_path: Iterable[str], prefixes: Iterable[str]) -> Iterator[VisiblePath]:
    """What Python, numpy and ONNX Runtime read of the system: libraries, themselves, and facts about the CPU."""
    for path in ("/usr", "/lib", "/lib64", "/opt/intel", "/sys", "/proc/self", *prefixes, *search_path, str(package)):
        if path and os.path.realpath(path) != "/":
            yield VisiblePath(path, READ)
    for path in ("/etc/ld.so.cache", "/etc/localtime", "/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/dev/urandom"):
        yield VisiblePath(path, READ)
    yield VisiblePath("/dev/null", READ | WRITE_FILE)
    yield VisiblePath("/proc/self/clear_refs", WRITE_FILE)  # resets the peak of memory use


def device_views() -> Iterator[VisiblePath]:
    """What execution providers other than the CPU's need: devices, and their libraries and settings."""
    yield VisiblePath("/dev", READ | WRITE_FILE | _IOCTL_DEV)
    for path in ("/etc", "/opt", "/proc", "/run/nvidia-persistenced", "/var/lib/dkms"):
        yield VisiblePath(path, READ)


def _handled(abi: int) -> int:
    handled = _ALL_OF_ABI_1
    for since, right in ((2, _REFER), (3, TRUNCATE), (5, _IOCTL_DEV)):
        handled |= right if abi >= since else 0
    return handled


def _network_and_scope(abi: int, signals: bool) -> tuple[int, int]:
    scope = _SCOPE_ABSTRACT_SOCKETS | (0 if signals else _SCOPE_SIGNALS)
    return (_NETWORK_BIND_AND_CONNECT if abi >= 4 else 0, scope if abi >= 6 else 0)


def _allow(ruleset: int, view: VisiblePath, handled: int) -> str:
    try:
        descriptor = os.open(view.path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        rights = view.rights & handled
        if not stat.S_ISDIR(os.fstat(descriptor).st_mode):
            rights &= _ON_FILES
        rule = struct.pack("=Qi", rights, descriptor)
        if libc.syscall(_SYS_ADD_RULE, ctypes.c_int(ruleset), _RULE_PATH_BENEATH, rule, ctypes.c_uint32(0)) != 0:
            return f"{view.path} is not in view ({os.strerror(ctypes.get_errno())})"
    finally:
        os.close(descriptor)
    return ""
