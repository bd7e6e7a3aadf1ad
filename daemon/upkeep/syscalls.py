"""The few system calls that upkeep needs and Python does not offer: collapse, rename without overwriting, guarded open.

Thin: arguments in, `OSError` out. It decides nothing. The numbers are those of Linux, the same on x86-64 and arm64.
"""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from typing import Final

FALLOC_FL_COLLAPSE_RANGE: Final = 0x08
RENAME_NOREPLACE: Final = 1

RESOLVE_NO_XDEV: Final = 0x01
RESOLVE_NO_SYMLINKS: Final = 0x04
RESOLVE_BENEATH: Final = 0x08
_GUARDS: Final = RESOLVE_NO_XDEV | RESOLVE_NO_SYMLINKS | RESOLVE_BENEATH
_SYS_OPENAT2: Final = 437

_SYS_IOPRIO_SET: Final = {"x86_64": 251, "aarch64": 30}
_IOPRIO_WHO_PROCESS: Final = 1
_IOPRIO_CLASS_IDLE: Final = 3 << 13

_AT_EMPTY_PATH: Final = 0x1000
_STATX_BTIME: Final = 0x800

_libc = ctypes.CDLL(None, use_errno=True)
_libc.fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
_libc.renameat2.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint)
_libc.syscall.restype = ctypes.c_long


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


_how_size = ctypes.c_size_t(ctypes.sizeof(_OpenHow))


def _check(result: int, what: str = "") -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)
    return result


def collapse_head(fd: int, length: int) -> None:
    """Removes the first `length` bytes of a file in place; the rest moves up. Atomic for appending writers.

    `length` must be a multiple of the file system's block and less than the file's size (EINVAL). Raises EOPNOTSUPP
    where the file system cannot do it (see fallocate(2)).
    """
    _check(_libc.fallocate(fd, FALLOC_FL_COLLAPSE_RANGE, 0, length))


def rename_noreplace(source: str, target: str, *, source_dir: int, target_dir: int) -> None:
    """Renames unless the target exists (FileExistsError). Where the kernel cannot do that, it checks for the target
    first.
    """
    try:
        result = _libc.renameat2(source_dir, os.fsencode(source), target_dir, os.fsencode(target), RENAME_NOREPLACE)
        _check(result, target)
    except OSError as e:
        if e.errno not in (errno.EINVAL, errno.ENOSYS):
            raise
        try:
            os.stat(target, dir_fd=target_dir, follow_symlinks=False)
        except FileNotFoundError:
            os.rename(source, target, src_dir_fd=source_dir, dst_dir_fd=target_dir)
        else:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), target) from e


def open_directory(path: str, *, dir_fd: int) -> int:
    """A descriptor of the directory `path` below `dir_fd`, through no link and no mount point (ELOOP, EXDEV).

    Bind mounts of the same file system count as mount points. Where openat2 is missing or forbidden, `path` must be a
    single name, and the mount is compared through /proc.
    """
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    how = _OpenHow(flags, 0, _GUARDS)
    fd = _libc.syscall(
        ctypes.c_long(_SYS_OPENAT2), ctypes.c_int(dir_fd), os.fsencode(path), ctypes.byref(how), _how_size
    )
    if fd >= 0:
        return int(fd)
    number = ctypes.get_errno()
    if number not in (errno.ENOSYS, errno.EPERM) or "/" in path or path == "..":
        raise OSError(number, os.strerror(number), path)
    plain = os.open(path, flags, dir_fd=dir_fd)
    if mount_id(plain) != mount_id(dir_fd):
        os.close(plain)
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), path)
    return plain


def mount_id(fd: int) -> int:
    """The number of the mount through which a file was opened. Two bind mounts of one file system differ."""
    with open(f"/proc/self/fdinfo/{fd}", encoding="ascii") as info:
        for line in info:
            if line.startswith("mnt_id:"):
                return int(line.split()[1])
    raise OSError(errno.ENOTSUP, "no mnt_id in fdinfo")


def birth_seconds(fd: int) -> float | None:
    """When the file was made, seconds since 1970; None where the file system does not keep it."""
    facts = (ctypes.c_uint8 * 256)()
    if _libc.statx(fd, b"", _AT_EMPTY_PATH, _STATX_BTIME, facts) < 0:
        return None
    if not int.from_bytes(bytes(facts[0:4]), sys.byteorder) & _STATX_BTIME:
        return None
    seconds = int.from_bytes(bytes(facts[80:88]), sys.byteorder, signed=True)
    return seconds + int.from_bytes(bytes(facts[88:92]), sys.byteorder) / 1e9


def lower_io_priority() -> None:
    """Lets this thread use the disk only when no other needs it. Does nothing on machines that it does not know.

    It lowers the priority for the disk, not for the processor. A Python thread that loses the processor while it holds
    the interpreter's lock stops all other threads, the event loop too. Measured on a machine with busy processors: 2 s
    at nice 19, 6 s at SCHED_IDLE.
    """
    number = _SYS_IOPRIO_SET.get(os.uname().machine)
    if number is not None:
        arguments = (ctypes.c_int(_IOPRIO_WHO_PROCESS), ctypes.c_int(0), ctypes.c_int(_IOPRIO_CLASS_IDLE))
        _libc.syscall(ctypes.c_long(number), *arguments)
