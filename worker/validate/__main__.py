"""`python -m modelward.worker.validate`: reads a candidate from standard input, writes answers and a verdict to
standard output.

First it gives up every right that the validation does not need; only then does it import what parses models. Standard
output carries protocol lines only: all other output goes to standard error. Exit status 0 when it gave a verdict, good
or bad; 1 when it could not. Of the cache it sees only the directory that the daemon made for it and, for reading, the
version that serves. The daemon gives its directory a name, or removes it.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from time import perf_counter
from typing import Final

import msgspec

from ..child_protocol import Candidate, GateDone, GateStarted, Judged
from ..sandbox.child_output import message_writer
from ..sandbox.landlock import (
    READ,
    READ_WRITE,
    VisiblePath,
    device_views,
    drop_capabilities,
    leave_network,
    program_views,
    restrict_view,
)
from ..sandbox.limits import (
    ProcessLimits,
    apply_limits,
    die_with_parent,
    end_before_others,
    return_freed_memory,
)
from ..sandbox.seccomp import (
    FILE_ATTRIBUTES,
    PRIVILEGES,
    PROCESSES,
    refuse_calls,
)
from ..sandbox.socket_filter import refuse_sockets
from ..shared import process_readings
from ..shared.lean_imports import lasting
from ..shared.progress import Allowance, scale
from ..shared.unreadable import UNREADABLE
from . import machine_speed
from .measure import room_for
from .time_limit import Patience

MAX_CANDIDATE_BYTES: Final = 1 << 20
MAX_FILE_BYTES: Final = 64 << 30
OOM_SCORE: Final = 500  # killed before the workers that serve; a compiler is killed before it
_MAPPED_BYTES: Final = 2 << 30  # libraries, and weights mapped from files
_CPU_MARGIN_SECONDS: Final = 10  # the kernel's limit, for the case that the watch fails


def main() -> int:
    """Judges the candidate on standard input; returns the exit status."""
    die_with_parent()  # without the daemon no process would read the verdict
    sys.stdout.flush()
    send = message_writer()
    try:
        candidate = msgspec.json.decode(sys.stdin.buffer.read(MAX_CANDIDATE_BYTES), type=Candidate)
    except UNREADABLE as e:
        sys.stderr.write(f"cannot validate: no candidate on standard input: {e}\n")
        return 1
    if wrong := _unusable(candidate):
        sys.stderr.write(f"cannot validate: {wrong}\n")
        return 1
    patience = Patience(send, allowance := _allowance(candidate))
    try:
        patience.send(_judged(candidate, patience, allowance))
    except OSError as e:
        patience.send(Judged(False, f"cannot judge it: {e.filename}: {e.strerror}", hindered=True))
    except MemoryError:
        because = "cannot judge it: needs more memory than " + ("there is now" if candidate.memory_short else "allowed")
        patience.send(Judged(False, because, hindered=candidate.memory_short))
    except Exception as e:  # noqa: BLE001  the top of a child: whatever it is, it is a reason not to serve this version
        short = candidate.memory_short and not room_for(process_readings.size_of(candidate.path))
        patience.send(Judged(False, f"cannot judge it: {type(e).__name__}: {str(e)[:300]}", hindered=short))
    return 0


def _judged(candidate: Candidate, patience: Patience, allowance: Allowance) -> Judged:
    os.umask(0o027)
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    patience.send(GateStarted("sandbox"))
    sandbox = _sandboxed(candidate, allowance)
    die_with_parent()
    patience.send(sandbox)
    patience.start()
    with lasting():
        from .runner import judge  # numpy, onnx and ONNX Runtime: imported only now, with no rights left to take away

    return judge(candidate, Path(candidate.directory), patience.send, (sandbox,), copied=lambda: _after_copy(candidate))


def _sandboxed(candidate: Candidate, allowance: Allowance) -> GateDone:
    """Applies every limit that the kernel knows; the answer names those that it could not."""
    start = perf_counter()
    return_freed_memory()
    cpu_seconds = int(allowance.cpu_seconds) + _CPU_MARGIN_SECONDS if allowance.cpu_seconds else 0
    memory = candidate.memory_bytes
    # other providers map their devices' memory: tens of gigabytes of addresses that are not memory of ours
    addresses = 2 * memory + _MAPPED_BYTES if memory and _only_cpu(candidate) else 0
    limits = ProcessLimits(memory, addresses, cpu_seconds, MAX_FILE_BYTES)
    views = _views(candidate)
    # the limits first: without no_new_privs the kernel takes filters from root alone
    first = (*apply_limits(limits), end_before_others(OOM_SCORE))
    # other providers' drivers may start helpers of their own
    calls = refuse_calls((*PROCESSES, *PRIVILEGES)) if _only_cpu(candidate) else ""
    steps = (*first, _no_network(candidate), drop_capabilities(), restrict_view(views), calls)
    missing = [problem for problem in steps if problem]
    because = "; ".join(missing) or "limits, no network, read-only view"
    return GateDone("sandbox", True, round(perf_counter() - start, 4), because, warning=bool(missing))


def _after_copy(candidate: Candidate) -> None:
    """From here on it parses untrusted files and reads only the copy: no file gets another mode."""
    problem = refuse_calls(FILE_ATTRIBUTES) if _only_cpu(candidate) else ""
    if problem:
        sys.stderr.write(f"cannot refuse changes of files' modes: {problem}; the validation continues\n")


def _allowance(candidate: Candidate) -> Allowance:
    """The configured time: unchanged for time without progress, in proportion to the work for CPU time."""
    seconds = max(1, candidate.threads) * candidate.timeout_seconds
    cpu_seconds = seconds * scale(process_readings.size_of(candidate.path), machine_speed.slowness())
    return Allowance(candidate.timeout_seconds, cpu_seconds)


def _no_network(candidate: Candidate) -> str:
    """Takes the network away in either of two ways, or both. Returns "" when it is gone, else the reason."""
    left = leave_network()
    # other providers talk to their drivers' services over sockets
    refused = refuse_sockets() if _only_cpu(candidate) else "sockets are needed"
    return "" if not refused and left.startswith("network not taken away") else left


def _views(candidate: Candidate) -> list[VisiblePath]:
    package = Path(__file__).resolve().parents[1]
    views = list(program_views(package, sys.path, {sys.prefix, sys.base_prefix, sys.exec_prefix}))
    for path in (candidate.path, candidate.golden, candidate.live_artifact):
        if path:
            views.append(VisiblePath(path, READ))
    if not _only_cpu(candidate):
        views.extend(device_views())
    return [*views, VisiblePath(candidate.directory, READ_WRITE)]


def _only_cpu(candidate: Candidate) -> bool:
    return set(candidate.providers) <= {"CPUExecutionProvider"}


def _unusable(candidate: Candidate) -> str:
    try:
        names = os.listdir(candidate.directory)
    except (OSError, ValueError) as e:
        return f"its directory {candidate.directory!r}: {e}"
    return f"its directory {candidate.directory} is not empty" if names or not candidate.directory else ""


if __name__ == "__main__":
    status = main()
    sys.stderr.flush()
    os._exit(status)  # freeing the libraries takes a tenth of the time of loading them
