"""The worker's end of workers.sock: joins, does what the daemon requests, reports its state, and joins again for ever.

It must never end the worker because of the daemon: without a daemon the worker serves on. Invariants: a prepared
version is dropped when the connection that could commit it ends; a version that is served already is not loaded again.
"""

from __future__ import annotations

import asyncio
import os
import random
import socket
import struct
import time
from collections.abc import Callable
from functools import partial
from typing import Final

import structlog

from . import protocol as p
from .inference.engine import CannotLoad, Engine, GivenUp
from .inference.loader import LoadedVersion
from .sandbox.worker_sandbox import Confinement
from .settings import Terms
from .shared.background import WorkerTasks
from .shared.installed_release import RELEASE
from .stats import Counters

FIRST_WAIT_SECONDS: Final = 0.1
LONGEST_WAIT_SECONDS: Final = 0.5  # a daemon that starts again wants its workers back within a second
CONNECT_SECONDS: Final = 5.0
FIRST_ANSWER_SECONDS: Final = 5.0  # how long a new worker holds requests until a daemon sends what to serve
ABORTED_SECONDS: Final = 1.0  # how long it waits for the replacement of a version that was aborted
QUIET_BEAT_SECONDS: Final = 20.0  # after twice as long without a message the daemon checks the worker
SHORTEST_BEAT_SECONDS: Final = 0.1
REASON_CHARS: Final = 2000
READ_BYTES: Final = 65536
UNSENT_BYTES: Final = 1 << 20


class NotTheDaemon(OSError):
    """Another program listens at the daemon's socket."""


class DaemonLink:
    """See the module. `listener` gives the listening socket to hand over while it is held, `terms` the current
    settings.

    The other arguments carry out requests of the daemon. `apply` takes up what it can of other terms. `reopen` calls
    its argument, from any thread, once nothing more goes to the log files that were open.
    """

    def __init__(
        self,
        path: str,
        *,
        name: str,
        engine: Engine,
        counters: Counters,
        log: structlog.typing.FilteringBoundLogger,
        listener: Callable[[], socket.socket | None],
        terms: Callable[[], Terms],
        apply: Callable[[Terms, tuple[str, ...]], None],
        reopen: Callable[[Callable[[], object]], object],
        drain: Callable[[float], None],
        stop: Callable[[], None],
        confinement: Confinement = Confinement(),  # noqa: B008 - frozen
    ) -> None:
        self._path, self._name, self._engine, self._counters, self._log = path, name, engine, counters, log
        self._confinement = confinement
        self._listener, self._reopen, self._drain, self._stop = listener, reopen, drain, stop
        self._terms, self._apply = terms, apply
        self._writer: asyncio.StreamWriter | None = None
        self._beat_seconds = 5.0
        self._welcome: tuple[str, str] = ("", "")
        self._welcome_received = False
        self._ordered: p.Prepare | None = None
        self._unloaded: tuple[str, str] | None = None  # for a version that was not committed yet
        self._background = WorkerTasks(log)

    async def run(self) -> None:
        """Joins again and again until cancelled."""
        wait, said = FIRST_WAIT_SECONDS, ""
        self._engine.expect()
        asyncio.get_running_loop().call_later(FIRST_ANSWER_SECONDS, self._first_wait_ended)
        while True:
            joined = time.monotonic()
            because = await self._one_connection()
            if because != said:
                self._log.warning("daemon away", because=because, serving=self._serving())
            said = because
            if time.monotonic() - joined > LONGEST_WAIT_SECONDS:
                wait, said = FIRST_WAIT_SECONDS, ""
            await asyncio.sleep(wait * random.uniform(0.7, 1.3))
            wait = min(LONGEST_WAIT_SECONDS, wait * 2)

    async def drained(self) -> None:
        """Reports that no work is left, if there is a connection."""
        self._send(p.Drained())
        if self._writer is not None:
            try:
                async with asyncio.timeout(1.0):
                    await self._writer.drain()
            except (OSError, TimeoutError):
                return

    # one connection

    async def _one_connection(self) -> str:
        """Joins and serves one connection; returns why it ended."""
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                reader, writer = await self._join()
        except TimeoutError:
            return f"no connection within {CONNECT_SECONDS:g} s"
        except OSError as e:
            return e.strerror or str(e)
        beats: asyncio.Task[None] | None = None
        self._writer = writer
        try:
            # Without beats the daemon would take this worker for one that hangs: it joins again, and starts them again.
            beats = self._background.start("beats", self._beats, failed=lambda because: writer.close())
            return await self._listen(reader)
        finally:
            self._writer = self._ordered = None
            if beats is not None:
                beats.cancel()
            writer.close()
            if self._engine.prepared:
                self._engine.abort(self._engine.prepared)
            self._background.start("put back", self._put_back)

    async def _join(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        try:
            await asyncio.get_running_loop().sock_connect(connection, self._path)
            _check_peer(connection)
            listener = self._listener()
            # The daemon may have lost its own copy of the socket when it ended; this worker keeps it open until then.
            handed = [listener.fileno()] if listener is not None else []
            socket.send_fds(connection, [p.encode(self._hello())], handed)
            return await asyncio.open_unix_connection(sock=connection, limit=p.MAX_MESSAGE_BYTES)
        except (OSError, asyncio.CancelledError):
            connection.close()
            raise

    def _hello(self) -> p.Hello:
        current = self._engine.current
        return p.Hello(
            pid=os.getpid(),
            name=self._name,
            attached=False,
            release=RELEASE,
            terms=self._terms(),
            confinement=", ".join(self._confinement.applied),
            missing="; ".join(self._confinement.missing)[:REASON_CHARS],
            places=self._confinement.places,
            serving=current.version if current else "",
            artifact=current.artifact if current else "",
        )

    async def _listen(self, reader: asyncio.StreamReader) -> str:
        lines = p.Lines()
        try:
            while data := await reader.read(READ_BYTES):
                for line in lines.feed(data):
                    self._heard(p.decode_from_daemon(line))
        except p.BadMessage as e:
            self._log.error("daemon disconnected", because=str(e))
            return str(e)
        except OSError as e:
            return e.strerror or str(e)
        return "it closed the connection"

    def _heard(self, message: p.FromDaemon) -> None:
        match message:
            case p.Welcome():
                self._welcomed(message)
            case p.Prepare():
                self._ordered = message
                failed = partial(self._broke, message.rollout, message.version)
                self._background.start("prepare", partial(self._prepare, message), failed=failed)
            case p.Commit():
                self._commit(message)
            case p.Abort():
                if self._ordered is not None and self._ordered.rollout == message.rollout:
                    self._ordered = None
                self._log.info("rollout aborted", rollout=message.rollout)
                self._engine.abort(message.rollout)
                # Most often it sends at once what to serve instead, and that must not be loaded twice.
                asyncio.get_running_loop().call_later(ABORTED_SECONDS, self._unattended)
            case p.Settings():
                self._apply(message.terms, message.tokens)
                self._send(p.Applied(self._terms()))
            case p.ReopenLogs():
                loop = asyncio.get_running_loop()
                self._reopen(partial(loop.call_soon_threadsafe, self._send, p.Reopened()))
            case p.Drain():
                self._drain(message.notice_seconds)
            case p.Stop():
                self._stop()

    # versions

    def _welcomed(self, message: p.Welcome) -> None:
        self._beat_seconds = max(SHORTEST_BEAT_SECONDS, message.beat_seconds)
        self._welcome_received = True
        self._log.info("daemon joined", version=message.version, serving=self._serving())
        current = self._engine.current
        wanted = (message.version, message.artifact)
        if not message.version and current is None and self._welcome == ("", ""):
            self._engine.give_up()
        # A daemon that knows of no version yet is no reason to stop answering with the current one.
        if not message.version or (current is not None and (current.version, current.artifact) == wanted):
            return
        if self._welcome == wanted:
            return  # it is being loaded for an earlier connection
        self._welcome = wanted
        failed = partial(self._broke, "", message.version)
        self._background.start("load", partial(self._load_welcome, message), failed=failed)

    async def _load_welcome(self, message: p.Welcome) -> None:
        start = time.perf_counter()
        rollout = f"welcome {message.version}"
        self._engine.expect()
        try:
            await self._engine.prepare(rollout, message.version, message.artifact)
            self._serves(self._engine.commit(rollout), "", start)
        except CannotLoad as e:
            self._refuses("", message.version, e, start)
            if self._welcome == (message.version, message.artifact) and not self._engine.busy:  # another one loads
                self._engine.give_up()
        finally:
            if self._welcome == (message.version, message.artifact):
                self._welcome = ("", "")

    def _first_wait_ended(self) -> None:
        if not self._welcome_received:
            self._engine.give_up()

    async def _prepare(self, message: p.Prepare) -> None:
        start = time.perf_counter()
        self._log.info("preparing", rollout=message.rollout, version=message.version, serving=self._serving())
        writer = self._writer
        self._engine.expect()  # of a first version: requests wait for it
        try:
            if message.unload_first:
                self._log.warning("unloading first", rollout=message.rollout, version=self._serving())
                await self._unload()
            if self._ordered is not message:
                raise GivenUp("it is not wanted any more")
            await self._engine.prepare(message.rollout, message.version, message.artifact)
        except CannotLoad as e:
            if not isinstance(e, GivenUp):
                await self._put_back()
            self._refuses(message.rollout, message.version, e, start)
            return
        if self._writer is not writer:
            self._engine.abort(message.rollout)
            await self._put_back()
            return
        seconds = round(time.perf_counter() - start, 3)
        self._log.info("prepared", rollout=message.rollout, version=message.version, seconds=seconds)
        self._send(p.Prepared(message.rollout, message.version, seconds=seconds))

    async def _unload(self) -> None:
        if (current := self._engine.current) is not None:
            self._unloaded = current.version, current.artifact
        del current  # otherwise it would be held while it has to go
        await self._engine.unload()

    def _unattended(self) -> None:
        if self._ordered is None:
            self._background.start("put back", self._put_back)

    async def _put_back(self) -> None:
        """Serves again what was unloaded, once no other load is under way. If nothing was unloaded, waiting requests
        are answered that there is no version.
        """
        if self._engine.current is not None or self._engine.busy:
            return
        if self._unloaded is None and self._welcome_received:
            self._engine.give_up()
        elif self._unloaded is not None:
            self._welcome = self._unloaded
            await self._load_welcome(p.Welcome(*self._unloaded))

    def _commit(self, message: p.Commit) -> None:
        start = time.perf_counter()
        try:
            self._serves(self._engine.commit(message.rollout), message.rollout, start)
        except CannotLoad as e:
            self._refuses(message.rollout, "", e, start)

    def _serves(self, loaded: LoadedVersion, rollout: str, start: float) -> None:
        self._unloaded = None
        seconds = round(time.perf_counter() - start, 3)
        self._log.info("serving", rollout=rollout, version=loaded.version, digest=loaded.digest, seconds=seconds)
        # First the counts up to the swap: what follows belongs to the new version.
        self._send(self._counters.beat())
        self._send(p.Serving(rollout, loaded.version))

    def _refuses(self, rollout: str, version: str, error: CannotLoad, start: float) -> None:
        reason = str(error)[:REASON_CHARS].encode("utf-8", "replace").decode()
        seconds = round(time.perf_counter() - start, 3)
        self._log.warning("cannot serve", rollout=rollout, version=version, because=reason, serving=self._serving())
        self._send(p.CannotPrepare(rollout, version, reason, seconds))

    def _broke(self, rollout: str, version: str, because: str) -> None:
        """A version failed because of an error of ours. The daemon gets a report, and what was unloaded is served
        again.
        """
        self._refuses(rollout, version, CannotLoad(f"cannot load {version}: {because}"), time.perf_counter())
        if not self._engine.busy:
            self._engine.give_up()
        self._unattended()

    def _serving(self) -> str:
        return self._engine.current.version if self._engine.current else ""

    # sending

    async def _beats(self) -> None:
        """Sends the counts when they changed, at most once a beat; at rest seldom."""
        while True:
            self._send(self._counters.beat())
            sent = time.monotonic()
            try:
                # All workers send at the same moments, so that the daemon, at rest, wakes up once for them.
                async with asyncio.timeout(QUIET_BEAT_SECONDS - sent % QUIET_BEAT_SECONDS):
                    await self._counters.changed.wait()
            except TimeoutError:
                continue
            await asyncio.sleep(max(0.0, sent + self._beat_seconds - time.monotonic()))

    def _send(self, message: p.Message) -> None:
        writer = self._writer
        if writer is None or writer.is_closing():
            return
        if writer.transport.get_write_buffer_size() > UNSENT_BYTES:
            writer.transport.abort()  # it does not read: a new connection is better than holding its messages for ever
            return
        try:
            writer.write(p.encode(message))
        except p.BadMessage as e:  # in an answer a surrogate is replaced, because JSON cannot hold it
            self._log.error("daemon disconnected", because=str(e))
            writer.transport.abort()


def _check_peer(connection: socket.socket) -> None:
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    _pid, uid, _gid = struct.unpack("3i", credentials)
    if uid not in (0, os.geteuid()):
        raise NotTheDaemon(f"user {uid} listens there")
