"""Takes from a worker what serving does not need: files, addresses to connect to, privileges, parts of the kernel.

To be called once, before a second thread exists and before anything is loaded. It only takes rights away, reports what
could not be taken, and never fails. Invariants: a worker reads no model root and no state. It writes only to its logs,
to transcription jobs and to the directory that workers share. Processes that it starts have no more rights than itself.
"""

from __future__ import annotations

import os
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from msgspec import Struct, field

from ..protocol import WorkerSettings
from ..settings import STANDARD_OUTPUT
from ..shared.worker_directories import identities, places_of, token_places
from .landlock import (
    EXECUTE,
    MAKE_DIR,
    MAKE_REG,
    MAKE_SOCK,
    READ_DIR,
    READ_FILE,
    REMOVE_DIR,
    REMOVE_FILE,
    TRUNCATE,
    WRITE_FILE,
    VisiblePath,
    device_views,
    drop_capabilities,
    program_views,
    restrict_view,
)
from .limits import (
    ProcessLimits,
    apply_limits,
    end_before_others,
    own_score,
)
from .seccomp import (
    FILE_ATTRIBUTES,
    KERNEL,
    NETWORK,
    PRIVILEGES,
    refuse_calls,
)

PROCESSES: Final = 16384  # and threads, of all programs of this user
OOM_SCORE: Final = 100  # a validator has more, a compiler most
_LOOK: Final = READ_FILE | READ_DIR
_APPEND: Final = WRITE_FILE | MAKE_REG
_KEEP: Final = _LOOK | WRITE_FILE | MAKE_REG | MAKE_DIR | REMOVE_FILE | REMOVE_DIR | TRUNCATE
_SHARE: Final = _LOOK | WRITE_FILE | MAKE_SOCK | REMOVE_FILE
# The kernel may drop what it knows of a file in /proc and make it anew, without the rights it was given. An open
# descriptor prevents that.
_IN_PROC: Final = ("/proc/self", "/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/proc/loadavg")
_ELF: Final = b"\x7fELF\x02\x01"
_ELF_HEAD: Final = struct.Struct("<16x16xQ14xHH")  # where its segments are described, how long each is, how many
_SEGMENT: Final = struct.Struct("<II4Q")
_INTERPRETER: Final = 3


class Confinement(Struct, frozen=True):
    """What holds and what does not, each in short phrases for people.

    `places` are the directories that the worker may use beside its program, with their identities. A directory that is
    made anew is another one, which the worker cannot use.
    """

    applied: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    places: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        missing = f"not confined: {'; '.join(self.missing)}" if self.missing else ""
        return "; ".join(part for part in (", ".join(self.applied), missing) if part)


def confine(settings: WorkerSettings) -> Confinement:
    """Takes the rights away."""
    if not settings.confine:
        return Confinement(missing=("workers.confine is false",))
    other_devices = not only_cpu(settings)
    limits = apply_limits(ProcessLimits(open_files=0, processes=PROCESSES, niceness=0))
    problems = [*limits, end_before_others(OOM_SCORE), drop_capabilities()]
    applied = [] if any("privileges" in problem for problem in limits) else ["no new privileges"]
    places = identities(places_of(settings))
    if not settings.cache_dir:
        problems.append("file system not restricted (no cache directory was given)")
    else:
        own_score.keep()
        _hold()
        restricted = restrict_view(views(settings), signals=True)  # decoders that another worker started are ended too
        problems.append(restricted)
        applied += [] if restricted.startswith("file system") else ["landlock"]
    calls = (*PRIVILEGES, *KERNEL, *FILE_ATTRIBUTES)
    refused = refuse_calls(calls if other_devices else (*calls, *NETWORK))
    applied += [] if refused else ["seccomp"]
    if other_devices:
        problems.append("devices, sockets and programs are open for " + ", ".join(settings.providers))
    confined = "landlock" in applied
    return Confinement(tuple(applied), tuple(filter(None, [*problems, refused])), places if confined else {})


def only_cpu(settings: WorkerSettings) -> bool:
    """Whether no execution provider needs a device."""
    return set(settings.providers) <= {"CPUExecutionProvider"}


def views(settings: WorkerSettings) -> list[VisiblePath]:
    """All that a worker may still do in the file system."""
    package = Path(__file__).resolve().parents[1]
    own = list(program_views(package, sys.path, {sys.prefix, sys.base_prefix, sys.exec_prefix}))
    programs = list(_programs())
    if only_cpu(settings) and programs:
        own = [VisiblePath(view.path, view.rights & ~EXECUTE) for view in own]
        own += [VisiblePath(path, READ_FILE | EXECUTE) for path in programs]
    if not only_cpu(settings):
        own += device_views()
    own += [
        VisiblePath(path, _LOOK)
        for path in (*_IN_PROC, *token_places(settings.token_file), settings.token_file)
        if path
    ]
    rights = {settings.cache_dir: _LOOK, settings.log_dir: _APPEND, settings.slots: _SHARE}
    rights[settings.jobs_dir] = _KEEP
    return own + [VisiblePath(path, right) for path, right in rights.items() if path not in ("", STANDARD_OUTPUT)]


def _hold() -> None:
    for path in _IN_PROC:
        try:
            os.open(path, os.O_PATH | os.O_CLOEXEC)
        except OSError:
            continue  # it is not in view either


def _programs() -> Iterator[str]:
    """The programs that start a decoder: this interpreter and its loader. Nothing when that cannot be known."""
    found: list[str] = []
    for path in (sys.executable, "/proc/self/exe"):
        real = os.path.realpath(path)
        try:
            loader = loader_of(real)
        except (OSError, ValueError):
            return
        found += [real, *([loader] if loader else [])]
    yield from dict.fromkeys(found)


def loader_of(program: str) -> str:
    """The dynamic loader that a program names; "" for none. Raises OSError, ValueError for a file that is no
    program.
    """
    with open(program, "rb") as f:
        head = f.read(64)
        if len(head) < 64 or not head.startswith(_ELF):
            raise ValueError(f"{program} is not a 64-bit program")
        at, size, count = _ELF_HEAD.unpack_from(head)
        for number in range(min(count, 64)):
            f.seek(at + number * size)
            kind, _, offset, _, _, length = _SEGMENT.unpack(f.read(_SEGMENT.size))
            if kind == _INTERPRETER:
                f.seek(offset)
                return os.path.realpath(f.read(min(length, 4096)).rstrip(b"\0").decode())
    return ""
