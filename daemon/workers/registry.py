"""The workers for the rest of the daemon: which are connected, what each serves, and how to send it a message.

It joins the socket's connections with the pool's processes. A worker is ours when its connection's pid is that of a
process in the pool, or of one that a former daemon recorded. The start time must be the same too. Every other worker is
attached and never signalled. It decides nothing about versions: `welcome` gives what a worker that joins is to load.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

import structlog
from msgspec import Struct

from ...worker import protocol as p
from ...worker.settings import LIVE, Terms, differing
from ..system.clock import Clock
from ..system.processes import Identity
from . import peer as peer_state
from .channel import WorkerConnection
from .peer import WorkerEvent, WorkerPeer
from .pool import Ended, WorkerPool
from .pool_planner import Phase
from .traffic import Traffic

MAX_NAME = 64
MAX_GONE = 64


class WelcomeState(Struct, frozen=True):
    """What a worker that joins has to serve; empty strings: nothing yet."""

    version: str = ""
    artifact: str = ""
    beat_seconds: float = 5.0


class WorkerRegistry:
    """See the module. `happened` is called for each event, `offered` with a listening socket that a worker kept.

    `expected` are a former daemon's workers that have not joined yet. `moving_to` is the version and artifact that a
    rollout brings in: a worker that joins with it keeps it. `terms` gives the settings that our workers must run with,
    None for any.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        welcome: Callable[[], WelcomeState],
        happened: Callable[[WorkerEvent], None],
        offered: Callable[[int], None],
        terms: Callable[[], Terms | None] = lambda: None,
        tokens: Callable[[], tuple[str, ...]] = tuple,
    ) -> None:
        self._clock, self._welcome, self._happened, self._offered = clock, welcome, happened, offered
        self._terms, self._tokens = terms, tokens
        self._log = structlog.get_logger("workers")
        self._peers: dict[WorkerConnection, WorkerPeer] = {}
        self._gone: dict[str, WorkerPeer] = {}
        self._changed = asyncio.Event()
        self._less_confined = ""
        self.traffic = Traffic(clock.wall())
        self.expected: dict[str, Identity] = {}
        self.moving_to: tuple[str, str] | None = None
        self.pool: WorkerPool | None = None

    # what is known

    def peers(self) -> tuple[WorkerPeer, ...]:
        """Connected workers, by name."""
        return tuple(sorted(self._peers.values(), key=lambda peer: _natural(peer.name)))

    def peer(self, name: str) -> WorkerPeer | None:
        return next((peer for peer in self._peers.values() if peer.name == name), None)

    def last_seen(self, name: str) -> WorkerPeer | None:
        """A worker as it is now, or as it was when its connection ended."""
        return self.peer(name) or self._gone.get(name)

    def missing(self) -> tuple[WorkerPeer, ...]:
        """Workers of ours that are disconnected, as they were then. As far as is known their processes live."""
        processes = self.pool.processes() if self.pool is not None else ()
        return tuple(self._gone[h.name] for h in processes if h.name in self._gone and self.peer(h.name) is None)

    def serving(self) -> tuple[WorkerPeer, ...]:
        return tuple(peer for peer in self.peers() if peer.ready)

    async def changed(self, timeout_seconds: float) -> None:
        """Returns when a worker sent something, joined or left, or after `timeout_seconds`."""
        self._changed.clear()
        try:
            async with asyncio.timeout(max(0.0, timeout_seconds)):
                await self._changed.wait()
        except TimeoutError:
            return

    def wake(self) -> None:
        """Ends the wait in `changed`."""
        self._changed.set()

    # sending

    def send(self, name: str, message: p.Message) -> bool:
        """Sends a message to one worker; False when it is not connected, or loses its connection by this."""
        for line, peer in self._peers.items():
            if peer.name == name:
                line.send(message)
                return line in self._peers
        return False

    def drain(self, name: str, notice_seconds: float = 0.0) -> bool:
        """Asks a worker to finish and leave, after a notice; False when it is not connected."""
        peer = self.peer(name)
        if peer is None:
            return False
        peer.draining = True
        return self.send(name, p.Drain(notice_seconds))

    def dismiss(self, name: str, because: str) -> None:
        """Ends the connection of a worker that does not answer; it may join again."""
        for line in [line for line, peer in self._peers.items() if peer.name == name]:
            line.close(because)

    def send_all(self, message: p.Message) -> list[str]:
        """Sends a message to every worker; returns their names."""
        for line in list(self._peers):
            line.send(message)
        return [peer.name for peer in self._peers.values()]

    def agree(self) -> None:
        """Sends the right settings, once, to each worker of ours that runs with others."""
        for line, peer in list(self._peers.items()):
            self._agree(line, peer)

    def _agree(self, line: WorkerConnection, peer: WorkerPeer) -> None:
        wanted = self._terms()
        if wanted is None or peer.attached or peer.terms is None or peer.asked == wanted:
            return
        if peer.asked is not None or differing(peer.terms, wanted, LIVE):
            peer.asked, peer.asked_at = wanted, self._clock.monotonic()
            line.send(p.Settings(wanted, self._tokens()))

    # called by the socket

    def joined(self, line: WorkerConnection, hello: p.Hello, fds: list[int]) -> None:
        name, attached = self._recognise(line, hello)
        for older in [other for other, peer in self._peers.items() if peer.name == name]:
            older.close("it joined anew")  # a process of ours has one connection
        self._take_listener(fds, attached)
        now = self._clock.monotonic()
        peer = WorkerPeer(name=name, pid=line.who.pid, attached=attached, joined=now, heard=now, stage_since=now)
        peer.serving, peer.artifact, peer.serving_since = hello.serving, hello.artifact if hello.serving else "", now
        peer.release, peer.terms = hello.release, hello.terms
        if not attached:
            self._note_confinement(peer, hello)
        self._peers[line] = peer
        welcome = self._welcome_for(peer)
        peer_state.welcome(peer, welcome.version, welcome.artifact)
        self._log.info("worker joined", worker=name, pid=peer.pid, attached=attached, serving=peer.serving)
        self._tell_pool(peer)
        self._notify(WorkerEvent(name, "joined", peer.serving))
        self._agree(line, peer)  # sent first: once it serves, it answers no request with former settings
        line.send(p.Welcome(version=welcome.version, artifact=welcome.artifact, beat_seconds=welcome.beat_seconds))
        process = self.pool.process(name) if self.pool is not None and not attached else None
        if process is not None and process.phase is Phase.RETIRING:
            self.drain(name)  # the request went over a connection that is gone

    def _note_confinement(self, peer: WorkerPeer, hello: p.Hello) -> None:
        peer.confinement, peer.missing, peer.places = hello.confinement, hello.missing, hello.places
        if hello.missing != self._less_confined:
            self._less_confined = hello.missing
            if hello.missing:
                self._log.warning("workers are less confined than they could be", missing=hello.missing)

    def _welcome_for(self, peer: WorkerPeer) -> WelcomeState:
        welcome = self._welcome()
        if peer.serving and self.moving_to is not None and peer.on(*self.moving_to):
            return WelcomeState(*self.moving_to, welcome.beat_seconds)
        return welcome

    def received(self, line: WorkerConnection, message: p.FromWorker) -> None:
        peer = self._peers.get(line)
        if peer is None:
            return
        if isinstance(message, p.Beat):
            self.traffic.add(peer.name, peer.pid, peer.serving, message)
        event = peer_state.receive(peer, message, self._clock.monotonic())
        self._tell_pool(peer)
        if event is not None:
            self._notify(event)
        else:
            self._changed.set()

    def left(self, line: WorkerConnection, because: str) -> None:
        if peer := self._peers.pop(line, None):
            while len(self._gone) >= MAX_GONE:
                del self._gone[next(iter(self._gone))]
            peer.left = self._clock.monotonic()
            self._gone[peer.name] = peer
            self._log.info("worker left", worker=peer.name, because=because)
            self._notify(WorkerEvent(peer.name, "left", peer.serving, because))

    def ended(self, ended: Ended) -> None:
        """A process of ours has ended; its connection may not have noticed yet."""
        for line in [line for line, peer in self._peers.items() if peer.name == ended.name]:
            line.close(ended.because)
        self._gone.pop(ended.name, None)

    def _tell_pool(self, peer: WorkerPeer) -> None:
        if self.pool is not None and not peer.attached:
            self.pool.record_message(peer.name, ready=peer.settled, terms=peer.terms)

    def _notify(self, event: WorkerEvent) -> None:
        self._changed.set()
        self._happened(event)

    def _recognise(self, line: WorkerConnection, hello: p.Hello) -> tuple[str, bool]:
        pool = self.pool
        if pool is not None and not hello.attached:
            for process in pool.processes():
                if process.child.pid == line.who.pid and process.child.running:
                    self.expected.pop(process.name, None)
                    return process.name, False
            who = self.expected.get(hello.name)
            if who is not None and who.pid == line.who.pid and pool.take_back(hello.name, who):
                del self.expected[hello.name]
                self._log.info("worker taken back", worker=hello.name, pid=who.pid)
                return hello.name, False
        taken = {peer.name for peer in self._peers.values()}
        name = "".join(c for c in hello.name if c.isprintable() and c not in "/ ")[:MAX_NAME] or f"pid{line.who.pid}"
        name = name if name not in taken and not _like_ours(name) else f"{name}.{line.who.pid}"
        while name in taken:
            name += "'"
        return name, True

    def _take_listener(self, fds: list[int], attached: bool) -> None:
        for i, fd in enumerate(fds):
            if i == 0 and not attached:  # a socket of a foreign process would be handed to every worker
                self._offered(fd)
            else:
                os.close(fd)


def _like_ours(name: str) -> bool:
    return name[:1] == "w" and name[1:].isdigit()


def _natural(name: str) -> tuple[int, str]:
    return (int(name[1:]), "") if _like_ours(name) else (1 << 62, name)
