"""Sees what a running daemon or worker calls on its event loop's thread that may wait for a disk or a name server.

Each process of a house imports a `sitecustomize` that calls `watch`. An audit hook sees what Python reports by itself
(open, listdir, rename, getaddrinfo, new processes); a profile function sees every call of a C function by its own name
(stat, fsync, statvfs), and so what no audit event is for. Only calls count that were made while the loop runs and that
code of ours is behind. Files of the kernel (/proc, /sys, /dev, memory) wait for no disk.
"""

from __future__ import annotations

import _socket
import asyncio
import fcntl
import io
import json
import os
import sqlite3
import stat
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any, Final, NamedTuple

KERNEL: Final = ("/proc/", "/sys/", "/dev/")
AUDITED: Final = {
    "open",
    *(f"os.{name}" for name in ("chmod", "chown", "link", "listdir", "mkdir", "posix_spawn", "remove", "rename")),
    *(f"os.{name}" for name in ("rmdir", "scandir", "symlink", "truncate", "utime")),
    *(f"socket.{name}" for name in ("getaddrinfo", "gethostbyaddr", "gethostbyname", "getnameinfo")),
    *("shutil.rmtree", "sqlite3.connect", "subprocess.Popen"),
}
NAMED: Final = (
    *("access", "fdatasync", "fsync", "fstatvfs", "ftruncate", "getxattr", "listxattr", "lstat", "posix_fallocate"),
    *("pread", "preadv", "pwrite", "pwritev", "readlink", "sendfile", "setxattr", "stat", "statvfs", "sync"),
)
_OF_FILES: Final = frozenset(("read", "readall", "readinto", "readline", "readlines", "write", "writelines", "flush"))


class Blocking(NamedTuple):
    """One kind of call: in which program, by which function of ours (and those above it), what, and an example."""

    program: str
    by: str
    what: str
    example: str
    above: str


def site(directory: Path, found: Path) -> Path:
    """A directory to import from: every daemon and worker that does reports to a file in `found`."""
    directory.mkdir(parents=True)
    found.mkdir(parents=True)
    code = f"from tests.loop_watch import watch\nwatch({str(found)!r})\n"
    (directory / "sitecustomize.py").write_text(code, encoding="utf-8")
    return directory


def blocking(found: Path) -> list[Blocking]:
    """What all processes reported, each kind once."""
    lines = [line for path in sorted(found.iterdir()) for line in path.read_text("utf-8").splitlines()]
    kinds = {kind[:3]: kind for kind in (Blocking(*json.loads(line)) for line in lines)}
    return sorted(kinds.values())


def watched(found: Path) -> set[str]:
    """The programs whose loop was watched."""
    return {path.name.partition("-")[0] for path in found.iterdir()}


def watch(found: str) -> None:
    """To be called before the program begins. Does nothing in a program that is neither the daemon nor a worker."""
    programs = {"modelward.daemon": "daemon", "modelward.worker": "worker"}
    program = next((programs[word] for word in sys.orig_argv if word in programs), "")
    if not program or (program == "daemon" and "run" not in sys.orig_argv):
        return
    # Opened now: a worker confines itself before its loop begins.
    path = os.path.join(found, f"{program}-{os.getpid()}")
    _Watch(program, os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)).begin()


class _Watch:
    def __init__(self, program: str, fd: int) -> None:
        self._program, self._fd = program, fd
        self._thread, self._seen = 0, set[tuple[str, str]]()
        self._functions: dict[object, str] = {getattr(os, name): f"os.{name}" for name in NAMED}
        self._functions |= {fcntl.flock: "fcntl.flock", fcntl.lockf: "fcntl.lockf", time.sleep: "time.sleep"}
        self._functions |= {_socket.gethostbyname: "socket.gethostbyname"}

    def begin(self) -> None:
        """From now on each loop that `asyncio.run` runs is watched."""
        run = asyncio.run

        def watched_run(main: Any, **options: Any) -> Any:
            self._thread = threading.get_ident()
            sys.setprofile(self._profile)
            try:
                return run(main, **options)
            finally:
                sys.setprofile(None)
                self._thread = 0

        asyncio.run = watched_run
        os.read, os.write = self._with_fd("os.read", os.read), self._with_fd("os.write", os.write)
        sys.addaudithook(self._audit)

    def _with_fd(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def called(fd: int, *arguments: Any) -> Any:
            if threading.get_ident() == self._thread and fd != self._fd and _is_on_disk(fd):
                self._report(sys._getframe(1), name, _name_of(fd))
            return function(fd, *arguments)

        return called

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event in AUDITED and threading.get_ident() == self._thread:
            place = os.fsdecode(arguments[0]) if arguments and isinstance(arguments[0], str | bytes) else ""
            if isinstance(arguments[0] if arguments else None, int):
                return  # a descriptor that was opened already
            if not place.startswith(KERNEL):
                self._report(sys._getframe(1), event, place)

    def _profile(self, frame: FrameType, event: str, function: Any) -> None:
        if event != "c_call" or frame.f_globals.get("__name__") == __name__:
            return
        owner = getattr(function, "__self__", None)
        if isinstance(owner, io.FileIO | io.BufferedReader | io.BufferedWriter | io.BufferedRandom | io.TextIOWrapper):
            if function.__name__ in _OF_FILES and not owner.closed and _is_on_disk(owner.fileno()):
                self._report(frame, f"file.{function.__name__}", str(owner.name))
        elif isinstance(owner, sqlite3.Connection | sqlite3.Cursor):
            self._report(frame, f"sqlite3.{function.__name__}", "")
        elif isinstance(owner, _socket.socket) and function.__name__ == "bind" and owner.family == _socket.AF_UNIX:
            self._report(frame, "socket.bind", "")
        elif getattr(owner, "__name__", "") in ("posix", "time", "fcntl", "_socket"):
            name = self._functions.get(function)
            if name is not None and not (place := _place(frame)).startswith(KERNEL):
                self._report(frame, name, place)

    def _report(self, frame: FrameType, what: str, place: str) -> None:
        if place.startswith("<memory>"):
            return
        above = list(_ours(frame))
        if not above or (above[0], what) in self._seen:
            return
        self._seen.add((above[0], what))
        line = json.dumps(Blocking(self._program, above[0], what, place, " < ".join(above[1:5])))
        _write(self._fd, line.encode() + b"\n")


_write, _fstat, _readlink = os.write, os.fstat, os.readlink


def _ours(frame: FrameType | None) -> Iterator[str]:
    """Functions of ours below which the call was made, the nearest first; "import" for what a module begins with."""
    while frame is not None:
        name = frame.f_globals.get("__name__", "")
        if name.startswith("modelward."):
            function = frame.f_code.co_qualname
            yield f"{name.removeprefix('modelward.')}:{'import' if function == '<module>' else function}"
        frame = frame.f_back


def _is_on_disk(fd: int) -> bool:
    try:
        return stat.S_ISREG(_fstat(fd).st_mode) and not _name_of(fd).startswith(("/memfd:", *KERNEL))
    except OSError:
        return False


def _name_of(fd: int) -> str:
    return _readlink(f"/proc/self/fd/{fd}")


def _place(frame: FrameType) -> str:
    """The path that a function of the library was asked about, where its caller has it under a usual name."""
    for name in ("path", "filename", "self", "file", "fd", "directory"):
        value = frame.f_locals.get(name)
        if isinstance(value, str | bytes | os.PathLike):
            return os.fsdecode(value)
    return ""
