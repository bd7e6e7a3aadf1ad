"""Passes new lines of our own logs on to journald or syslog: follows the files, on a thread of its own.

The files are what counts: whatever the receiver does, logging, rotation and the event loop do not wait. Lines wait in
a bounded queue; what finds no room is counted. Passed on is what is logged while this daemon runs. Invariant: one
sentence names what is wrong now, and none once lines get through.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from math import inf
from typing import Final

from ...config.load import Config
from ...system.clock import Clock
from .follow import Follower
from .forward_format import datagram, receiver
from .line_times import Since, time_of

LOGS: Final = ("modelward.log", "access.log")
"""What is in error.log and debug.log is in modelward.log too, or is too much."""
QUEUE_BYTES: Final = 4 << 20
LOOK_BYTES: Final = 1 << 20
FIRST_LINES: Final = 1000
"""So many lines of a log are read at first. Only if all are new, the rest is searched for the first new one."""
SKIP_LOOKS: Final = 16
"""So often one step reads on while it finds old lines only."""
MOST_REMARKS: Final = 3
LAST_SECONDS: Final = 2.0
"""What the last lines get when the daemon ends."""
SEND_SECONDS: Final = 1.0
ANSWER_SECONDS: Final = 10.0
_GONE: Final = (errno.ECONNREFUSED, errno.ENOTCONN, errno.ECONNRESET, errno.EPIPE)


class _Followed:
    """One log, from the lines on that were written since this daemon began."""

    def __init__(self, path: str, began: float) -> None:
        self._from = began - 0.001  # times of lines are whole milliseconds
        self._follower, since = Follower(path, lines=FIRST_LINES), Since(self._from)
        self._first = [line for line in self._follower.first if since.keeps(line)]
        self._searching = bool(self._first) and len(self._first) == len(self._follower.first)
        if self._searching:  # what comes before may be new too
            self._follower.close()
            self._follower, self._first = Follower(path, since=self._from), []

    @property
    def behind(self) -> bool:
        return self._follower.behind

    def lines(self) -> list[bytes]:
        """New lines; none while the first new one is searched for."""
        first, self._first = self._first, []
        found = first + self._follower.poll(LOOK_BYTES)
        for _ in range(SKIP_LOOKS):
            if not self._searching:
                break
            start = next((i for i, line in enumerate(found) if (time_of(line) or 0.0) >= self._from), None)
            self._searching = start is None
            found = self._follower.poll(LOOK_BYTES) if start is None else found[start:]
        return [] if self._searching else found

    def remarks(self) -> list[str]:
        """What could not be read since the last call."""
        found = list(self._follower.remarks)
        self._follower.remarks.clear()
        return found

    def close(self) -> None:
        self._follower.close()


class LogForwarding:
    """See the module. `sent` and `dropped` count lines and only grow."""

    def __init__(self, config: Callable[[], Config], clock: Clock, *, queue_bytes: int = QUEUE_BYTES) -> None:
        self._config, self._clock, self._began, self._queue_bytes = config, clock, clock.wall(), queue_bytes
        self._thread: ThreadPoolExecutor | None = None
        self._under_way: asyncio.Future[str] | None = None
        self._place = ("", "")  # the receiver and the directory that the rest belongs to
        self._logs: dict[str, _Followed] = {}
        self._queue: deque[tuple[str, bytes]] = deque()
        self._queued_bytes = 0
        self._socket: socket.socket | None = None
        self._until = inf  # until then lines are sent
        self.sent = self.dropped = 0

    @property
    def wanted(self) -> bool:
        return bool(self._config().logs.forward)

    async def pass_on(self) -> str:
        """Passes on what is new; why lines do not get through, "" when they do. Returns within ANSWER_SECONDS."""
        target = self._config().logs.forward
        if self._under_way is None:
            if not target and self._thread is None:
                self._began = self._clock.wall()
                return ""
            self._thread = self._thread or ThreadPoolExecutor(1, thread_name_prefix="forwarding")
            self._under_way = asyncio.get_running_loop().run_in_executor(self._thread, self._step)
        done, _ = await asyncio.wait({self._under_way}, timeout=ANSWER_SECONDS)
        if not done:
            return f"cannot forward logs to {target}: no answer for {ANSWER_SECONDS:.0f} s; logging goes on"
        under_way, self._under_way = self._under_way, None
        return under_way.result()

    def close(self) -> str:
        """Passes on the last lines and ends, within a few seconds; what was left out, "" for nothing.

        Not on the event loop.
        """
        target, dropped, unread = self._config().logs.forward, self.dropped, False
        try:
            if self._thread is not None:
                unread = self._thread.submit(self._finish).result()
                self._thread.shutdown(wait=True)
        finally:
            self._forget()
        if not unread and self.dropped == dropped:
            return ""
        count = self.dropped - dropped
        if unread:
            return (
                f"cannot forward the last lines to {target}: {count} and those not read in time are in the files alone"
            )
        return f"cannot forward the last lines to {target}: {count} are in the files alone"

    def _finish(self) -> bool:
        """The last steps; whether something is left unread. Once the receiver takes no more, lines are only counted."""
        self._until = self._clock.monotonic() + LAST_SECONDS
        self._step()
        while self._behind and self._clock.monotonic() < self._until:
            if self._queue:
                self._read(self._place[1])
            else:
                self._step()
        return self._behind

    @property
    def _behind(self) -> bool:
        return any(followed.behind for followed in self._logs.values())

    def _step(self) -> str:
        logs = self._config().logs
        place = (logs.forward, str(logs.dir))
        if place != self._place:
            if logs.forward and self._place[0] and place[1] == self._place[1]:
                self._disconnect()  # what waits is for the new receiver
            else:
                self._forget()
            self._place = place
        if not logs.forward or logs.dir is None:
            self._began = self._clock.wall()
            return ""
        trouble = self._read(str(logs.dir))
        try:
            self._send(logs.forward)
        except OSError as e:
            self._disconnect()
            if self._queue:
                because = "it takes no more" if isinstance(e, TimeoutError | BlockingIOError) else e.strerror or str(e)
                wait = f"{len(self._queue)} lines wait, {self.dropped} were dropped"
                here = f"cannot forward logs to {logs.forward}: {because}; {wait}"
                return f"{trouble}; {here}" if trouble else here
        return trouble

    def _read(self, directory: str) -> str:
        """Queues what is new; what cannot be read."""
        trouble: list[str] = []
        for name in LOGS:
            path = f"{directory}/{name}"
            try:
                followed = self._logs.get(name) or self._logs.setdefault(name, _Followed(path, self._began))
                for line in followed.lines():
                    self._put(name.removesuffix(".log"), line)
                remarks = followed.remarks()
            except OSError as e:
                trouble.append(f"cannot forward {path}: {e.strerror or e}; it is tried again")
                continue
            trouble += [f"cannot forward all of {path}: {remark}" for remark in remarks[:MOST_REMARKS]]
        return "; ".join(trouble)

    def _put(self, log: str, line: bytes) -> None:
        if self._queued_bytes + len(line) > self._queue_bytes:
            self.dropped += 1
            return
        self._queued_bytes += len(line)
        self._queue.append((log, line))

    def _send(self, target: str) -> None:
        """Sends all that waits. Raises OSError, and what was not sent waits on."""
        again = True
        while self._queue and self._clock.monotonic() < self._until:
            log, line = self._queue[0]
            try:
                message = datagram(target, log, line, host=socket.gethostname(), pid=os.getpid())
                if self._socket is None:
                    self._socket = _connected(target)
                self._socket.send(message)
            except (ValueError, RecursionError):  # no message can be made of it
                self.dropped += 1
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
