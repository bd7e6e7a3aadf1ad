"""`python -m modelward.worker.compile`: reads a request from standard input and writes the results to standard output.

It makes forms of one accepted version, at the lowest priority. It may only read that version and fill the directory
that the daemon made for the forms; the daemon moves each form into its place. Nothing depends on it: if this process
fails, the version is served without a form. Exit status 0 when every stage was made or refused; 1 otherwise, with the
reason on standard error.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Final

import msgspec

from ..child_protocol import STAGES, FormMade, FormRefused, FormRequest, FormsDone, FormStarted
from ..sandbox.child_output import Send, message_writer
from ..sandbox.landlock import (
    READ,
    READ_WRITE,
    VisiblePath,
    drop_capabilities,
    leave_network,
    program_views,
    restrict_view,
)
from ..sandbox.limits import (
    ProcessLimits,
    apply_limits,
    die_with_parent,
    return_freed_memory,
)
from ..sandbox.seccomp import (
    FILE_ATTRIBUTES,
    PRIVILEGES,
    PROCESSES,
    refuse_calls,
)
from ..sandbox.socket_filter import refuse_sockets
from ..shared.artifact import (
    COMPILED,
    FORMS,
    Artifact,
    BadArtifact,
    read_artifact,
)
from ..shared.lean_imports import lasting
from ..shared.unreadable import UNREADABLE
from .directory import (
    FormDirectory,
    described,
    form_elsewhere,
    prepare,
    take_over,
)
from .priority import stand_back

ATTRIBUTES: Final = tuple(call for call in FILE_ATTRIBUTES if call.name != "fchmod")
"""A form is sealed by its descriptor; nothing else of a file changes."""
MAX_REQUEST_BYTES: Final = 1 << 20
MAX_FILE_BYTES: Final = 64 << 30
NICENESS: Final = 19
URGENT_NICENESS: Final = 10
"""The same as a validator's: a version waits for both."""
_MAPPED_BYTES: Final = 2 << 30  # libraries, and weights mapped from files


def main() -> int:
    """Makes what the request on standard input names; returns the exit status."""
    die_with_parent()  # then no process would read the result
    send = message_writer()
    try:
        request = msgspec.json.decode(sys.stdin.buffer.read(MAX_REQUEST_BYTES), type=FormRequest)
        plain = read_artifact(Path(request.artifact))
    except (BadArtifact, *UNREADABLE) as e:
        sys.stderr.write(f"cannot compile: no request on standard input: {e}\n")
        return 1
    try:
        _make(request, plain, send)
    except (OSError, MemoryError) as e:
        sys.stderr.write(f"cannot compile {plain.version}: {e or type(e).__name__}\n")
        return 1
    except Exception as e:  # noqa: BLE001  the top of a child: whatever it is, there is no form
        sys.stderr.write(f"cannot compile {plain.version}: {type(e).__name__}: {str(e)[:300]}\n")
        return 1
    send(FormsDone())
    return 0


def _make(request: FormRequest, plain: Artifact, send: Send) -> None:
    os.umask(0o027)
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    missing = [*stand_back(urgent=request.urgent)]
    directories = _directories(request, plain, send)
    missing += _confined(request, directories)
    die_with_parent()
    if missing:
        sys.stderr.write(f"compiling {plain.version}: {'; '.join(missing)}\n")
    with lasting():
        from .stages import make  # numpy, onnx and ONNX Runtime: imported only now, with no rights left to take away

    make(request, plain, directories, send)


def _directories(request: FormRequest, plain: Artifact, send: Send) -> dict[str, FormDirectory]:
    """A directory for each stage that is still to be made. A form of the same bytes that exists elsewhere is reused."""
    root, source = Path(request.root), Path(request.artifact)
    found: dict[str, FormDirectory] = {}
    if any(name == COMPILED or name.startswith(f"{COMPILED}/") for name in plain.files) and not plain.compiled_model:
        for stage in request.stages:
            send(FormRefused(stage, f"it has its own directory {COMPILED!r}"))
        return {}
    for stage in (stage for stage in STAGES if stage in request.stages):
        begun = described(plain, stage, request.level)
        directory = prepare(Path(request.directory, stage), source, plain)
        there = form_elsewhere(root, begun, FORMS[stage])
        if there is None or there[1].version == plain.version:
            found[stage] = directory
            continue
        send(FormStarted(stage))
        take_over(directory, plain, *there)
        because = f"reused from {there[1].version}, which has the same files"
        send(FormMade(stage, there[1].form, because, there[1].compiled))
    return found


def _confined(request: FormRequest, directories: dict[str, FormDirectory]) -> list[str]:
    """Takes away the rights that compilation does not need. Returns a short phrase for each that stayed."""
    return_freed_memory()
    memory = request.memory_bytes
    addresses = 2 * memory + _MAPPED_BYTES if memory else 0
    limits = ProcessLimits(
        memory, addresses, request.cpu_seconds, MAX_FILE_BYTES, niceness=URGENT_NICENESS if request.urgent else NICENESS
    )
    # the limits first: without no_new_privs the kernel takes filters from root alone
    first = apply_limits(limits)
    left, refused = leave_network(), refuse_sockets()
    network = "" if not refused and left.startswith("network not taken away") else left
    calls = refuse_calls((*PROCESSES, *PRIVILEGES, *ATTRIBUTES))
    steps = (*first, network, drop_capabilities(), restrict_view(_views(request, directories)), calls)
    return [problem for problem in steps if problem]


def _views(request: FormRequest, directories: dict[str, FormDirectory]) -> list[VisiblePath]:
    package = Path(__file__).resolve().parents[1]
    views = list(program_views(package, sys.path, {sys.prefix, sys.base_prefix, sys.exec_prefix}))
    views += [VisiblePath(path, READ) for path in (request.artifact, request.golden) if path]
    for directory in directories.values():
        views += [VisiblePath(str(directory.path), READ), VisiblePath(str(directory.compiled), READ_WRITE)]
    return views


if __name__ == "__main__":
    status = main()
    sys.stderr.flush()
    os._exit(status)  # freeing the libraries takes a tenth of the time of loading them
