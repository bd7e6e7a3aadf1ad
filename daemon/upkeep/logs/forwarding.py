"""Passes new lines of our own logs on to journald or syslog: follows the files, on a thread of its own.

The files are what counts: whatever the receiver does, logging, rotation and the event loop do not wait. Lines wait in
a bounded queue; what finds no room is counted. Passed on is what is logged while this daemon runs. Invariant: one
sentence says what is wrong now, and none once lines get through.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from ...config.load import Config
from ...system.clock import Clock
from .follow import Follower
from .forward_format import datagram, receiver
from .line_times import Since

LOGS: Final = ("modelward.log", "access.log")
"""What is in error.log and debug.log is in modelward.log too, or is too much."""
QUEUE_BYTES: Final = 4 << 20
LOOK_BYTES: Final = 1 << 20
FIRST_LINES: Final = 1000
SEND_SECONDS: Final = 1.0
ANSWER_SECONDS: Final = 10.0
_GONE: Final = (errno.ECONNREFUSED, errno.ENOTCONN, errno.ECONNRESET, errno.EPIPE)


class _Followed:
    """One log, from the lines on that were written since this daemon began."""

    def __init__(self, path: str, began: float) -> None:
        self._follower, since = (
            Follower(path, lines=FIRST_LINES),
            Since(began - 0.001),
        )  # times of lines are whole milliseconds
        self._first = [line for line in self._follower.first if since.keeps(line)]

    def lines(self) -> list[bytes]:
        first, self._first = self._first, []
        return first + self._follower.poll(LOOK_BYTES)

    def close(self) -> None:
        self._follower.close()


class LogForwarding:
    """See the module. `sent` and `dropped` count lines and only grow."""

    def __init__(self, config: Callable[[], Config], clock: Clock, *, queue_bytes: int = QUEUE_BYTES) -> None:
        self._config, self._began, self._queue_bytes = config, clock.wall(), queue_bytes
        self._thread: ThreadPoolExecutor | None = None
        self._under_way: asyncio.Future[str] | None = None
        self._place = ("", "")  # the receiver and the directory that the rest belongs to
        self._logs: dict[str, _Followed] = {}
        self._queue: deque[tuple[str, bytes]] = deque()
        self._queued_bytes = 0
        self._socket: socket.socket | None = None
        self.sent = self.dropped = 0

    @property
    def wanted(self) -> bool:
        return bool(self._config().logs.forward)

    async def pass_on(self) -> str:
        """Passes on what is new; why lines do not get through, "" when they do. Returns within ANSWER_SECONDS."""
        target = self._config().logs.forward
        if self._under_way is None:
            if not target and self._thread is None:
                return ""
            self._thread = self._thread or ThreadPoolExecutor(1, thread_name_prefix="forwarding")
            self._under_way = asyncio.get_running_loop().run_in_executor(self._thread, self._step)
        done, _ = await asyncio.wait({self._under_way}, timeout=ANSWER_SECONDS)
        if not done:
            return f"cannot forward logs to {target}: no answer for {ANSWER_SECONDS:.0f} s; logging goes on"
        under_way, self._under_way = self._under_way, None
        return under_way.result()

    def close(self) -> None:
        """Passes on the last lines and ends; may wait for the receiver. Not on the event loop."""
        if self._thread is not None:
            self._thread.submit(self._step)
            self._thread.shutdown(wait=True)
        self._forget()

    def _step(self) -> str:
        logs = self._config().logs
        place = (logs.forward, str(logs.dir))
        if place != self._place:
            self._forget()
            self._place = place
        if not logs.forward or logs.dir is None:
            return ""
        trouble = self._read(str(logs.dir))
        try:
            self._send(logs.forward)
        except OSError as e:
            self._disconnect()
            if self._queue:
                because = "it takes no more" if isinstance(e, TimeoutError | BlockingIOError) else e.strerror or str(e)
                wait = f"{len(self._queue)} lines wait, {self.dropped} were dropped"
                return f"cannot forward logs to {logs.forward}: {because}; {wait}"
        return trouble

    def _read(self, directory: str) -> str:
        """Queues what is new; a sentence about a log that cannot be read."""
        trouble = ""
        for name in LOGS:
            path = f"{directory}/{name}"
            try:
                followed = self._logs.get(name) or self._logs.setdefault(name, _Followed(path, self._began))
                for line in followed.lines():
                    self._put(name.removesuffix(".log"), line)
            except OSError as e:
                trouble = f"cannot forward {path}: {e.strerror or e}; it is tried again"
        return trouble

    def _put(self, log: str, line: bytes) -> None:
        if self._queued_bytes + len(line) > self._queue_bytes:
            self.dropped += 1
            return
        self._queued_bytes += len(line)
        self._queue.append((log, line))

    def _send(self, target: str) -> None:
        """Sends all that waits. Raises OSError, and what was not sent waits on."""
        again = True
        while self._queue:
            log, line = self._queue[0]
            message = datagram(target, log, line, host=socket.gethostname(), pid=os.getpid())
            try:
                if self._socket is None:
                    self._socket = _connected(target)
                self._socket.send(message)
            except OSError as e:
                if e.errno == errno.EMSGSIZE:
                    self.dropped += 1
                elif e.errno in _GONE and again and self._socket is not None:
                    again = False  # the receiver was started anew
                    self._disconnect()
                    continue
                else:
                    raise
            else:
                self.sent += 1
            self._queue.popleft()
            self._queued_bytes -= len(line)

    def _disconnect(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _forget(self) -> None:
        self._disconnect()
        for followed in self._logs.values():
            followed.close()
        self._logs.clear()
        self.dropped += len(self._queue)
        self._queue.clear()
        self._queued_bytes = 0


def _connected(target: str) -> socket.socket:
    place = receiver(target)
    if isinstance(place, str):
        found = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        family_place: str | tuple[str, int] = place
    else:
        family, _, _, _, family_place = socket.getaddrinfo(*place, type=socket.SOCK_DGRAM)[0]  # type: ignore[assignment]
        found = socket.socket(family, socket.SOCK_DGRAM)
    try:
        found.settimeout(SEND_SECONDS)
        found.connect(family_place)
    except BaseException:
        found.close()
        raise
    return found
