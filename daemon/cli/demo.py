"""`modelward demo`: a small real model, the daemon and two workers in a scratch directory, and
commands to try.

All its files are in that directory. Without --dir it is a new one, removed after success and kept after a failure, for
its logs. A daemon that dies is started again and takes its workers back. At the end no process is left.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import tempfile
from pathlib import Path
from typing import Final

from ..answers.status import StatusAnswer
from ..config.load import parse
from ..errors import BadUsage, ModelwardError, Refused
from ..system import processes
from ..system.clock import Clock, SystemClock
from . import demo_steps, transcribe
from .argument_types import some_path
from .demo_steps import Scratch
from .foreground import (
    INTERRUPTED,
    PANEL_PORT,
    SERVICE_PORT,
    ForegroundDaemon,
    ended_or_stopped,
    free_port,
    own_command,
    panel_or_why,
    pause,
    show,
    stop_at_signals,
)

_BUILD_SECONDS: Final = 600.0
_READY_SECONDS: Final = 120.0
_LOOK_SECONDS: Final = 0.1


def arguments(parser: argparse.ArgumentParser) -> None:
    """--dir, --port, --check."""
    parser.add_argument(
        "--dir", metavar="DIR", type=some_path, help="empty or new directory, kept (default: a fresh one, removed)"
    )
    parser.add_argument(
        "--port", metavar="N", type=int, help=f"where to answer (default {SERVICE_PORT}, or any free one)"
    )
    parser.add_argument("--check", action="store_true", help="end after the first answer, for automatic checks")


def run(args: argparse.Namespace) -> int:
    """0 when everything worked and was ended from the keyboard, 130 when it was ended before that, 1 when something did
    not start.
    """
    ports = _ports(args.port)
    if args.dir is None:
        root = Path(tempfile.mkdtemp(prefix="modelward-demo-")).resolve()
        try:
            status = asyncio.run(_demo(Scratch(root, *ports), args, SystemClock()))
        except BaseException:
            show(f"{root} stays, with the logs in it; remove it when you have read them")
            raise
        shutil.rmtree(root, ignore_errors=True)
        return status
    root = args.dir.absolute()
    try:
        root.mkdir(parents=True, exist_ok=True)
        if any(root.iterdir()):
            raise Refused(f"cannot use {root}: it is not empty; name a new directory")
    except OSError as e:
        raise Refused(f"cannot use {root}: {e.strerror}") from e
    return asyncio.run(_demo(Scratch(root.resolve(), *ports), args, SystemClock()))


def _ports(wanted: int | None) -> tuple[int, int]:
    """The port asked for, which must be free; else the default one or, when that is taken, any. The panel's port."""
    if wanted is not None and not 1 <= wanted <= 65535:
        raise BadUsage(f"cannot listen on port {wanted}: 1 to 65535")
    return free_port(wanted) if wanted is not None else free_port(SERVICE_PORT, 0), free_port(PANEL_PORT, 0)


async def _demo(scratch: Scratch, args: argparse.Namespace, clock: Clock) -> int:
    """Runs until it is interrupted; whatever happens, the daemon it started has ended when this returns."""
    stop = stop_at_signals()
    show(f"scratch directory: {scratch.root}")
    _prepare(scratch)
    if not await _build(scratch, stop, clock):
        return INTERRUPTED
    scratch = Scratch(scratch.root, *_ports(args.port))  # another program may have taken one meanwhile
    _configure(scratch)
    return await _serve(scratch, args.check, stop, clock)


def _prepare(scratch: Scratch) -> None:
    parse(demo_steps.config_text(scratch), str(scratch.config))  # a path that cannot be used is an error at once
    try:
        for directory in demo_steps.directories(scratch):
            directory.mkdir(mode=0o750)
    except OSError as e:
        raise Refused(f"cannot set up {scratch.root}: {e.strerror}") from e


def _configure(scratch: Scratch) -> None:
    try:
        scratch.config.write_text(demo_steps.config_text(scratch))
    except OSError as e:
        raise Refused(f"cannot write {scratch.config}: {e.strerror}") from e


async def _build(scratch: Scratch, stop: asyncio.Event, clock: Clock) -> bool:
    """Has a child make versions and clips, then drops the first version in; False when it was interrupted."""
    show("building a small recogniser of telephone keys; nothing is downloaded")
    started = clock.monotonic()
    builder = processes.spawn(processes.python("modelward.worker.demo", str(scratch.root)), name="demo builder")
    try:
        ended = await ended_or_stopped(builder, stop, _BUILD_SECONDS)
    finally:
        builder.kill_group()
    status = await builder.wait()
    if stop.is_set():
        return False
    if status != 0:
        because = f"its builder ended with status {status}" if ended else f"not done within {_BUILD_SECONDS:g} s"
        raise Refused(f"cannot build the demo: {because}; see what it said above")
    show(f"built in {clock.monotonic() - started:.1f} s")
    _drop(scratch, "dtmf-v1.0")
    return True


def _drop(scratch: Scratch, version: str) -> None:
    try:
        shutil.copytree(scratch.versions / version, scratch.models / version)
    except (OSError, shutil.Error) as e:
        raise Refused(f"cannot copy {version} to {scratch.models}: {e}") from e


async def _serve(scratch: Scratch, check: bool, stop: asyncio.Event, clock: Clock) -> int:
    started = clock.monotonic()
    show("starting the daemon and two workers")
    daemon = ForegroundDaemon(scratch.config, scratch.socket, scratch.root / "logs")
    daemon.start()
    try:
        if not await _ready(daemon, stop, clock):
            return INTERRUPTED
        show(f"ready after {clock.monotonic() - started:.1f} s on {scratch.url}")
        await asyncio.to_thread(_transcribe, scratch)
        if check:
            return 0
        show("")
        panel = await asyncio.to_thread(panel_or_why, daemon, scratch.panel)
        show(demo_steps.next_steps(scratch, own_command(), panel))
        show("Ctrl-C here ends everything.")
        await daemon.stay(stop, lambda: _ready(daemon, stop, clock), scratch.url)
        return 0
    finally:
        await daemon.end()


async def _ready(daemon: ForegroundDaemon, stop: asyncio.Event, clock: Clock) -> bool:
    """True once both workers answer, False when it was interrupted. Raises Refused when that takes too long."""
    deadline = clock.monotonic() + _READY_SECONDS
    reason = "it does not answer on its socket"
    while not stop.is_set():
        try:
            answer = await asyncio.to_thread(daemon.client.get, "/v1/status")
            status = answer.read(StatusAnswer)
            workers = status.workers
            if status.ready and workers.ready == workers.wanted:
                return True
            reason = f"live {status.live or 'nothing'}, {workers.ready} of {workers.wanted} workers ready"
        except ModelwardError as e:
            reason = str(e)
        if not daemon.running:
            raise Refused(f"cannot start the demo: {await daemon.death()}")
        if clock.monotonic() > deadline:
            raise Refused(
                f"cannot start the demo: not ready within {_READY_SECONDS:g} s: {reason}; everything was ended"
            )
        await pause(stop, _LOOK_SECONDS)
    return False


def _transcribe(scratch: Scratch) -> None:
    show(f"transcribing {scratch.clip}")
    status = transcribe.send(scratch.url, [str(scratch.clip)])
    if status != 0:
        raise Refused("cannot show the demo: the first clip was not answered; everything was ended")
