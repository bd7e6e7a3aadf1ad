"""`modelward demo`: a small real model, the daemon and two workers in a scratch directory, and
commands to try.

All its files are in that directory. Without --dir it is a new one, removed after success and kept after a failure, for
its logs. A daemon that dies is started again and takes its workers back. At the end no process is left.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shlex
import shutil
import signal
import socket
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from ...worker.shared.started import awaited
from ..answers.commands import PanelLinkAnswer
from ..answers.status import StatusAnswer
from ..config.load import parse
from ..errors import BadUsage, ModelwardError, Refused
from ..system import processes
from ..system.clock import Clock, SystemClock
from . import demo_steps, transcribe
from .client import Client
from .demo_steps import Scratch
from .language import local_text
from .render import clean

DEFAULT_PORT: Final = 7860
PANEL_PORT: Final = 5000
_BUILD_SECONDS: Final = 600.0
_READY_SECONDS: Final = 120.0
_STOP_SECONDS: Final = 45.0
_LOOK_SECONDS: Final = 0.1
_MAX_RESTARTS: Final = 10


def arguments(parser: argparse.ArgumentParser) -> None:
    """--dir, --port, --check."""
    parser.add_argument(
        "--dir", metavar="DIR", type=Path, help="empty or new directory, kept (default: a fresh one, removed)"
    )
    parser.add_argument(
        "--port", metavar="N", type=int, help=f"where to answer (default {DEFAULT_PORT}, or any free one)"
    )
    parser.add_argument("--check", action="store_true", help="end after the first answer, for automatic checks")


def run(args: argparse.Namespace) -> int:
    """0 when everything worked and was ended from the keyboard, 1 when something did not start."""
    ports = _port(args.port, DEFAULT_PORT), _port(None, PANEL_PORT)
    if args.dir is None:
        root = Path(tempfile.mkdtemp(prefix="modelward-demo-")).resolve()
        try:
            status = asyncio.run(_demo(Scratch(root, *ports), args.check, SystemClock()))
        except BaseException:
            _say(f"{root} stays, with the logs in it; remove it when you have read them")
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
    return asyncio.run(_demo(Scratch(root.resolve(), *ports), args.check, SystemClock()))


def _port(wanted: int | None, default: int) -> int:
    """The port asked for, which must be free; else the default one or, when that is taken, any."""
    if wanted is not None and not 1 <= wanted <= 65535:
        raise BadUsage(f"cannot listen on port {wanted}: 1 to 65535")
    for port in (wanted,) if wanted is not None else (default, 0):
        with socket.socket() as probe, suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return int(probe.getsockname()[1])
    raise Refused(f"cannot listen on port {wanted}: it is taken; choose another with --port")


async def _demo(scratch: Scratch, check: bool, clock: Clock) -> int:
    """Runs until it is interrupted; whatever happens, the daemon it started has ended when this returns."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stop.set)
    _say(f"scratch directory: {scratch.root}")
    _prepare(scratch)
    if not await _build(scratch, stop, clock):
        return 0
    return await _serve(scratch, check, stop, clock)


def _prepare(scratch: Scratch) -> None:
    text = demo_steps.config_text(scratch)
    parse(text, str(scratch.config))  # a path that cannot be used is an error before anything is built
    try:
        for directory in demo_steps.directories(scratch):
            directory.mkdir(mode=0o750)
        scratch.config.write_text(text)
    except OSError as e:
        raise Refused(f"cannot set up {scratch.root}: {e.strerror}") from e


async def _build(scratch: Scratch, stop: asyncio.Event, clock: Clock) -> bool:
    """Has a child make versions and clips, then drops the first version in; False when it was interrupted."""
    _say("building a small recogniser of telephone keys; nothing is downloaded")
    started = clock.monotonic()
    builder = processes.spawn(processes.python("modelward.worker.demo", str(scratch.root)), name="demo builder")
    try:
        ended = await _ended_or_stopped(builder, stop, _BUILD_SECONDS)
    finally:
        builder.kill_group()
    status = await builder.wait()
    if stop.is_set():
        return False
    if status != 0:
        because = f"its builder ended with status {status}" if ended else f"not done within {_BUILD_SECONDS:g} s"
        raise Refused(f"cannot build the demo: {because}; see what it said above")
    _say(f"built in {clock.monotonic() - started:.1f} s")
    _drop(scratch, "dtmf-v1.0")
    return True


def _drop(scratch: Scratch, version: str) -> None:
    try:
        shutil.copytree(scratch.versions / version, scratch.models / version)
    except (OSError, shutil.Error) as e:
        raise Refused(f"cannot copy {version} to {scratch.models}: {e}") from e


async def _serve(scratch: Scratch, check: bool, stop: asyncio.Event, clock: Clock) -> int:
    started = clock.monotonic()
    _say("starting the daemon and two workers")
    daemon = _start(scratch)
    try:
        if not await _ready(scratch, daemon, stop, clock):
            return 0
        _say(f"ready after {clock.monotonic() - started:.1f} s on {scratch.url}")
        await asyncio.to_thread(_transcribe, scratch)
        if check:
            return 0
        _say("")
        _say(demo_steps.next_steps(scratch, _command(), await asyncio.to_thread(_panel, scratch)))
        _say("Ctrl-C here ends everything.")
        for _ in range(_MAX_RESTARTS):
            if not await _ended_or_stopped(daemon, stop, None) or stop.is_set():
                return 0
            _say(f"{_death(scratch, await daemon.wait())}; its workers serve on; starting it again")
            daemon = _start(scratch)
            if not await _ready(scratch, daemon, stop, clock):
                return 0
            _say(f"the daemon is back, with the workers that serve on {scratch.url}")
        raise Refused(f"cannot go on: the daemon ended {_MAX_RESTARTS} times; everything was ended")
    finally:
        await _end(scratch, daemon)


def _start(scratch: Scratch) -> processes.ChildProcess:
    return processes.spawn(processes.python("modelward.daemon", "run", "--config", str(scratch.config)), name="daemon")


async def _ready(scratch: Scratch, daemon: processes.ChildProcess, stop: asyncio.Event, clock: Clock) -> bool:
    """True once both workers answer, False when it was interrupted. Raises Refused when that takes too long."""
    deadline = clock.monotonic() + _READY_SECONDS
    reason = "it does not answer on its socket"
    while not stop.is_set():
        try:
            answer = await asyncio.to_thread(Client(str(scratch.socket)).get, "/v1/status")
            status = answer.read(StatusAnswer)
            workers = status.workers
            if status.ready and workers.ready == workers.wanted:
                return True
            reason = f"live {status.live or 'nothing'}, {workers.ready} of {workers.wanted} workers ready"
        except ModelwardError as e:
            reason = str(e)
        if not daemon.running:
            raise Refused(f"cannot start the demo: {_death(scratch, await daemon.wait())}")
        if clock.monotonic() > deadline:
            raise Refused(
                f"cannot start the demo: not ready within {_READY_SECONDS:g} s: {reason}; everything was ended"
            )
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), _LOOK_SECONDS)
    return False


async def _ended_or_stopped(child: processes.ChildProcess, stop: asyncio.Event, seconds: float | None) -> bool:
    """Waits for a child's end or a request to stop, whichever comes first; whether the child has ended."""
    waits: list[asyncio.Task[Any]] = [awaited(child.wait(), "end"), awaited(stop.wait(), "stop")]
    try:
        await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
    return not child.running


def _panel(scratch: Scratch) -> str:
    """The panel's address, with a code that logs the first browser in that opens it."""
    try:
        answer = Client(str(scratch.socket)).post("/v1/panel/link")
    except ModelwardError as e:
        return f"{scratch.panel} ({e})"
    return clean(answer.read(PanelLinkAnswer).url)


def _transcribe(scratch: Scratch) -> None:
    _say(f"transcribing {scratch.clip}")
    status = transcribe.send(scratch.url, [str(scratch.clip)])
    if status != 0:
        raise Refused("cannot show the demo: the first clip was not answered; everything was ended")


def _death(scratch: Scratch, status: int | None) -> str:
    return f"the daemon ended with status {status}; see what it said above and in {scratch.root / 'logs'}"


def _recorded(scratch: Scratch) -> list[processes.Identity]:
    """Who the workers are, as the daemon wrote down for its successor; it need not run any more."""
    try:
        known = json.loads((scratch.socket.parent / "workers.json").read_bytes())
        return [processes.Identity(int(worker["pid"]), int(worker["started_ticks"])) for worker in known["workers"]]
    except (OSError, ValueError, KeyError, TypeError):
        return []


async def _end(scratch: Scratch, daemon: processes.ChildProcess) -> None:
    """Ends the daemon politely, then whatever of its workers is left: they outlive a daemon that was killed."""
    workers = _recorded(scratch)
    daemon.signal(signal.SIGTERM)
    try:
        await asyncio.wait_for(daemon.wait(), _STOP_SECONDS)
    except TimeoutError:
        daemon.kill_group()
        await daemon.wait()
    for worker in workers:
        left = processes.take_back("worker", worker)
        if left is not None:
            left.kill_group()
            await left.wait()


def _command() -> str:
    """How modelward is called here: by name where that finds this installation, else by its interpreter."""
    script = Path(sys.executable).with_name("modelward")
    found = shutil.which("modelward")
    if found is not None and script.exists() and Path(found).samefile(script):
        return "modelward"
    return shlex.quote(str(script)) if script.exists() else f"{shlex.quote(sys.executable)} -m modelward.daemon"


def _say(text: str) -> None:
    print(local_text(text), flush=True)
