"""`python -m modelward.worker --settings JSON`: one worker process.

Sets up what belongs to a process (signals, descriptors, confinement, logs) and runs it. Exit status: 0 when it left on
request, 1 after an error of its own, 3 when it could never boot: bad settings, no listening socket, a missing library.
"""

from __future__ import annotations

import argparse
import faulthandler
import gc
import os
import signal
import socket
import sys
from collections.abc import Callable, Coroutine
from types import FrameType
from typing import TYPE_CHECKING, Any, Final

import msgspec

from .protocol import WorkerSettings
from .sandbox.worker_sandbox import Confinement, confine
from .shared.lean_imports import import_less, lasting
from .shared.unreadable import UNREADABLE

if TYPE_CHECKING:
    from .shared.logs import LogFiles

FAULT: Final = 1
CANNOT_BOOT: Final = 3
SWITCH_SECONDS: Final = 0.0005
"""How long a thread waits for the interpreter before it gets it. A run of the model needs it dozens of times. Beside a
busy event loop, a run took three times as long with Python's 5 ms, and 1.5 times as long with this.
"""
KEPT: Final = {signal.SIGKILL, signal.SIGSTOP, signal.SIGPIPE, signal.SIGXFSZ}


class CannotBoot(Exception):
    """Another start would fail in the same way; the text gives the reason."""


def main(arguments: list[str] | None = None) -> int:
    """Runs a worker and returns its exit status."""
    faulthandler.enable()
    try:
        settings = read_settings(sys.argv[1:] if arguments is None else arguments)
        own_signals()
        listener = adopt_listener(settings.listen_fd)
        return run(settings, listener, confine(settings))
    except CannotBoot as e:
        print(f"cannot start a worker: {e}", file=sys.stderr, flush=True)
        return CANNOT_BOOT


def read_settings(arguments: list[str]) -> WorkerSettings:
    """The settings in `--settings`. Raises CannotBoot."""
    parser = argparse.ArgumentParser(prog="modelward.worker", description=__doc__)
    parser.add_argument("--settings", default="", help="JSON, see protocol.WorkerSettings")
    try:
        return msgspec.json.decode(parser.parse_args(arguments).settings, type=WorkerSettings)
    except SystemExit as e:
        if e.code == 0:  # --help
            raise
        raise CannotBoot("its arguments cannot be read") from e
    except UNREADABLE as e:
        raise CannotBoot(f"its settings can't be read: {e}") from e


def own_signals() -> None:
    """Resets the signals as in a fresh program: the daemon's terminal, reload and handlers are not ours.

    SIGTERM ends the process at once until there is something to drain. SIGUSR1 does nothing before there are logs.
    """
    for number in signal.valid_signals() - KEPT:
        if signal.getsignal(number) not in (signal.SIG_DFL, None):
            signal.signal(number, signal.SIG_DFL)
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _end)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _end(number: int, frame: FrameType | None) -> None:
    os._exit(0)


def adopt_listener(fd: int) -> socket.socket:
    """The inherited listening socket. Raises CannotBoot when `fd` is not one."""
    try:
        listener = socket.socket(fileno=fd)
        if not listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            raise CannotBoot(f"descriptor {fd} is not a listening socket")
    except OSError as e:
        raise CannotBoot(f"descriptor {fd} is not a listening socket: {e.strerror}") from e
    listener.setblocking(False)
    listener.set_inheritable(False)
    return listener


def run(settings: WorkerSettings, listener: socket.socket, confinement: Confinement) -> int:
    """Serves until it is asked to leave. Raises CannotBoot when a library is missing or the kind is unknown."""
    # Imported here, so that a missing library is reported and ends with the status that means "never".
    try:
        with lasting():
            import_less()
            from .inference.loader import UnknownKind, loader
            from .ort_session import missing_providers
            from .process import Process
            from .shared.logs import LogFiles
    except (ImportError, OSError) as e:
        raise CannotBoot(f"a library can't be loaded: {e}") from e
    logs = LogFiles(settings.log_dir, worker=settings.name, level=settings.log_level, background=True)
    try:
        load = loader(settings, logs.events.warning)
        logs.adopt_logging()
        if missing := ", ".join(missing_providers(settings.providers)):
            logs.events.warning("execution providers skipped: they are not in this ONNX Runtime", missing=missing)
        # What is imported by now stays: the collector need not check it again after each swap.
        gc.collect()
        gc.freeze()
        sys.setswitchinterval(SWITCH_SECONDS)

        async def live() -> None:
            await Process(settings, listener, load, logs, confinement).run()

        return _to_the_end(live, logs)
    except (ImportError, OSError) as e:
        raise CannotBoot(f"a library can't be loaded: {e}") from e
    except UnknownKind as e:
        raise CannotBoot(str(e)) from e
    finally:
        logs.close()


def _to_the_end(live: Callable[[], Coroutine[Any, Any, None]], logs: LogFiles) -> int:
    import asyncio  # not before `import_less`

    try:
        asyncio.run(live())
    except Exception:  # noqa: BLE001 - the top of the process
        logs.events.exception("worker failed")
        return FAULT
    return 0


if __name__ == "__main__":
    # Not sys.exit: a model that still runs in a thread must not delay the end.
    status = main()
    sys.stderr.flush()
    os._exit(status)
