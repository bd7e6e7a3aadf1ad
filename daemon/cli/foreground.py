"""A daemon that a command starts, waits for and ends: what `demo` and `serve` share.

An interrupt, SIGTERM, SIGQUIT or a closed terminal ends both, and a command that is killed takes its daemon with it. A
daemon that dies is started again and takes its workers back. Invariant: after `end` no process of it is left.
"""

from __future__ import annotations

import asyncio
import errno
import shlex
import shutil
import signal
import socket
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from ...worker.shared.started import awaited
from ..answers.commands import PanelLinkAnswer
from ..errors import ModelwardError, Refused
from ..system import processes
from ..system.parent_death import given_to_child
from ..workers.running_workers import running_workers
from .client import Client
from .language import local_text
from .render import clean

SERVICE_PORT: Final = 7860
PANEL_PORT: Final = 5000
INTERRUPTED: Final = 130
"""The exit status of a command that was ended before it had done what it is for."""
STOP_SECONDS: Final = 45.0
MAX_RESTARTS: Final = 10


class ForegroundDaemon:
    """One daemon and those that replace it. `logs` is where its log files are."""

    def __init__(self, config: Path, socket_path: Path, logs: Path) -> None:
        self._config, self._logs = config, logs
        self.socket = socket_path
        self.child: processes.ChildProcess | None = None

    @property
    def client(self) -> Client:
        return Client(str(self.socket))

    @property
    def running(self) -> bool:
        return self.child is not None and self.child.running

    def start(self) -> None:
        """Starts it. Raises OSError when the system has no process to give."""
        argv = processes.python("modelward.daemon", "run", "--config", str(self._config))
        environ = {**processes.environment(), **given_to_child()}
        self.child = processes.spawn(argv, name="daemon", env=environ)

    async def death(self) -> str:
        """How it ended, once it has."""
        status = await self.child.wait() if self.child else None
        return f"the daemon ended with status {status}; see what it said above and in {self._logs}"

    async def stay(self, stop: asyncio.Event, back: Callable[[], Awaitable[bool]], url: str) -> None:
        """Returns once `stop` is set. A daemon that ends before is started again; `back` waits until it answers, False
        when it was interrupted. Raises Refused when that happens too often.
        """
        for _ in range(MAX_RESTARTS):
            if self.child is None or not await ended_or_stopped(self.child, stop, None) or stop.is_set():
                return
            show(f"{await self.death()}; its workers serve on; starting it again")
            self.start()
            if not await back():
                return
            show(f"the daemon is back, with the workers that serve on {url}")
        raise Refused(f"cannot go on: the daemon ended {MAX_RESTARTS} times; everything was ended")

    async def end(self) -> None:
        """Ends it politely, then whatever of its workers is left: they outlive a daemon that was killed."""
        if self.child is None:
            return
        self.child.signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(self.child.wait(), STOP_SECONDS)
        except TimeoutError:
            self.child.kill_group()
            await self.child.wait()
        for name, worker in list(running_workers(str(self.socket.parent / "workers.sock"))):
            left = processes.take_back(name, worker)
            if left is not None:
                left.kill_group()
                await left.wait()

    def panel_link(self) -> str:
        """The panel's address, with a code that logs the first browser in that opens it. Raises ModelwardError."""
        return clean(self.client.post("/v1/panel/link").read(PanelLinkAnswer).url)


def stop_at_signals() -> asyncio.Event:
    """Set by an interrupt, SIGTERM, SIGQUIT, and a closed terminal unless that is ignored, as nohup has it."""
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT, signal.SIGHUP):
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
            loop.add_signal_handler(number, stop.set)
    return stop


async def ended_or_stopped(child: processes.ChildProcess, stop: asyncio.Event, seconds: float | None) -> bool:
    """Waits for a child's end or a request to stop, whichever comes first; whether the child has ended."""
    waits: list[asyncio.Task[Any]] = [awaited(child.wait(), "end"), awaited(stop.wait(), "stop")]
    try:
        await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
    return not child.running


async def pause(stop: asyncio.Event, seconds: float) -> None:
    """So long, or until a request to stop."""
    with suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)


def free_port(*wanted: int) -> int:
    """The first of these ports on the loopback address that is free; 0 is any. Raises Refused when none is."""
    for port in wanted:
        with socket.socket() as probe, suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return int(probe.getsockname()[1])
    raise Refused(f"cannot listen on port {wanted[0]}: it is taken; choose another with --port")


def is_taken(host: str, port: int) -> bool:
    """Whether another process listens there."""
    try:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError as e:
        return e.errno == errno.EADDRINUSE
    return False


def own_command() -> str:
    """How modelward is called here: by name where that finds this installation, else by its interpreter."""
    script = Path(sys.executable).with_name("modelward")
    found = shutil.which("modelward")
    if found is not None and script.exists() and Path(found).samefile(script):
        return "modelward"
    return shlex.quote(str(script)) if script.exists() else f"{shlex.quote(sys.executable)} -m modelward.daemon"


def panel_or_why(daemon: ForegroundDaemon, address: str) -> str:
    """The link to the panel, or its address and why there is no link."""
    try:
        return daemon.panel_link()
    except ModelwardError as e:
        return f"{address} ({e})"


def show(text: str) -> None:
    """A line in the language of this command, at once."""
    print(local_text(text), flush=True)
