"""The process that sweeps and counts for the daemon: `python -m modelward.daemon.upkeep.disk.sweeper_process FD`.

It is a process and not a thread. A thread at low priority can lose the processor while it holds the interpreter's lock,
and then the event loop stops too, for seconds on a busy machine. Its memory is freed when it ends. Invariant: it asks
the daemon before it removes a unit; when the daemon is gone, every unit stays.
"""

from __future__ import annotations

import gc
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from io import BufferedRWPair

from ....worker.shared.unreadable import UNREADABLE
from ...answers.disk import ListedPath
from ...system.clock import SystemClock
from ...units import shown
from .. import syscalls
from ..fs_port import FileSystemPort
from . import sweeper_protocol
from .directory_visitor import Keep
from .reasons import removes
from .sweep import Orders, sweep, words_of
from .sweeper_protocol import (
    Counted,
    Counting,
    CountRequest,
    Question,
    SweepRequest,
    Swept,
)
from .usage import measure

MAX_LISTED = 10_000


def main(arguments: list[str]) -> int:
    """Exit status: 0 done, 2 for wrong arguments."""
    try:
        with socket.socket(fileno=int(arguments[0])) as channel, channel.makefile("rwb") as stream:
            request = sweeper_protocol.requests.decode(stream.readline(sweeper_protocol.MAX_LINE_BYTES))
            stop = threading.Event()
            signal.signal(signal.SIGTERM, lambda *_: stop.set())
            signal.signal(signal.SIGIO, signal.SIG_IGN)  # the signal that a broken lease sends
            os.nice(19)
            gc.disable()  # the walk makes no reference cycles; a search for them would cost a tenth of its time
            syscalls.lower_io_priority()
            stream.write(sweeper_protocol.encode(_do(request, stream, stop)))
            stream.flush()
    except (IndexError, ValueError, OSError, *UNREADABLE) as e:
        sys.stderr.write(f"cannot sweep: {e}\n")
        return 2
    return 0


def _do(request: sweeper_protocol.Request, stream: BufferedRWPair, stop: threading.Event) -> sweeper_protocol.Reply:
    if isinstance(request, CountRequest):

        def progress(rule: str, files: int, used: int) -> None:
            stream.write(sweeper_protocol.encode(Counting(rule, files, used)))
            stream.flush()

        return Counted(measure(request.rules, files=FileSystemPort(), stop=stop, pids=request.pids, progress=progress))
    return _sweep(request, stream, stop)


def _sweep(request: SweepRequest, stream: BufferedRWPair, stop: threading.Event) -> Swept:
    def keep(rule: str) -> Keep:
        def ask(unit: str) -> str:
            stream.write(sweeper_protocol.encode(Question(rule, shown(unit))))
            stream.flush()
            line = stream.readline(sweeper_protocol.MAX_LINE_BYTES)
            return sweeper_protocol.answers.decode(line) if line else "the daemon is gone"

        return ask

    listed: list[ListedPath] = []
    outcome = sweep(
        request.orders,
        files=FileSystemPort(),
        clock=SystemClock(),
        stop=stop,
        keep=keep,
        report=lister(request.orders, listed) if request.listing else None,
    )
    return Swept(outcome, listed)


def lister(given: Orders, listed: list[ListedPath]) -> Callable[[str, int, int], None]:
    """Collects at most MAX_LISTED paths that would go, each with the sentence of its class."""
    deepest_first = sorted(given.rules, key=lambda rule: -len(rule.path))

    def report(path: str, used: int, code: int) -> None:
        if removes(code) and len(listed) < MAX_LISTED:
            rule = next(r for r in deepest_first if path.startswith(r.path.rstrip("/") + "/"))
            listed.append(ListedPath(shown(path), used, rule.name, words_of(code, rule, given)))

    return report


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
