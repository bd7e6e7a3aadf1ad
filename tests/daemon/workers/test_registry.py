"""Who is ours, who is attached, and what is known of each: real processes on a real socket."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.daemon.workers.room import room, target, welcome
from tests.support import PATIENCE_SECONDS, soon

from modelward.daemon.system.processes import identity
from modelward.daemon.workers.peer import WorkerEvent
from modelward.daemon.workers.pool_planner import Phase
from modelward.daemon.workers.registry import MAX_GONE, WelcomeState
from modelward.worker import protocol as p
from modelward.worker.protocol import WorkerSettings


def run(work: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(work(), PATIENCE_SECONDS))  # type: ignore[arg-type]


class Attached:
    """A worker that is no process of the pool: this test itself."""

    def __init__(self, path: Path, hello: p.Hello | None = None, fds: tuple[int, ...] = ()) -> None:
        self.socket = opened.enter_context(socket.socket(socket.AF_UNIX))
        self.socket.connect(str(path))
        self.socket.setblocking(False)
        self.lines, self.heard, self.over = p.Lines(), list[p.FromDaemon](), False
        socket.send_fds(self.socket, [p.encode(hello or p.Hello(pid=os.getpid(), name="mine"))], fds)

    def say(self, message: p.Message) -> None:
        self.socket.send(p.encode(message))

    def told(self, kind: type[p.Message]) -> list[p.FromDaemon]:
        """What the daemon said of this kind until now."""
        while not self.over:
            try:
                data = self.socket.recv(65536)
            except BlockingIOError:
                break
            self.over = not data
            self.heard += [p.decode_from_daemon(line) for line in self.lines.feed(data)]
        return [message for message in self.heard if isinstance(message, kind)]


opened = ExitStack()


@pytest.fixture(autouse=True)
def connections_end() -> Iterator[None]:
    yield
    opened.close()


def kinds(events: list[WorkerEvent], worker: str) -> list[str]:
    return [event.kind for event in events if event.worker == worker]


def test_processes_of_the_pool_are_ours_and_load_what_they_are_welcomed_with(tmp_path: Path) -> None:
    async def work() -> None:
        async with room(tmp_path, wanted=2, serve="v1") as it:
            peers = it.registry.peers()
            assert [(x.name, x.attached, x.serving, x.artifact, x.ready) for x in peers] == [
                ("w1", False, "v1", "/artifacts/v1", True),
                ("w2", False, "v1", "/artifacts/v1", True),
            ]
            assert [process.phase for process in it.pool.processes()] == [Phase.READY] * 2
            assert kinds(it.events, "w1") == ["joined", "serving"]

    run(work)


def test_with_nothing_to_serve_yet_workers_are_there_and_wait(tmp_path: Path) -> None:
    async def work() -> None:
        async with room(tmp_path, wanted=1) as it:
            await soon(lambda: [h.phase for h in it.pool.processes()] == [Phase.READY])
            (peer,) = it.registry.peers()
            assert (peer.serving, peer.loading, peer.ready) == ("", "", False)
            assert it.registry.serving() == ()

    run(work)


def test_a_worker_that_can_not_load_its_welcome_is_no_successor(tmp_path: Path) -> None:
    async def work() -> None:
        async with room(tmp_path, wanted=1, serve="v1", scripts={"w2": {"v1": "refuse"}}) as it:
            it.pool.replace("w1", "asked for")
            it.wake.set()
            await soon(lambda: "refused" in kinds(it.events, "w2"))
            it.wake.set()
            await asyncio.sleep(0.1)
            assert [(h.name, h.phase) for h in it.pool.processes()] == [("w1", Phase.READY), ("w2", Phase.STARTING)]
            assert it.serving()["w1"] == "v1"

    run(work)


def test_replaced_it_leaves_only_after_its_successor_serves(tmp_path: Path) -> None:
    async def work() -> None:
        async with room(tmp_path, wanted=1, serve="v1", scripts={"w2": {"*": 0.3}}) as it:
            it.pool.replace("w1", "asked for")
            it.wake.set()
            await soon(lambda: it.ended)
            assert (it.ended[0].name, it.ended[0].status, it.ended[0].retired) == ("w1", 0, True)
            assert it.serving() == {"w2": "v1"}
            order = [(e.worker, e.kind) for e in it.events]
            assert order.index(("w2", "serving")) < order.index(("w1", "drained"))

    run(work)


# strangers


def test_any_program_may_join_and_is_never_signalled(tmp_path: Path) -> None:
    async def work() -> None:
        async with room(tmp_path) as it:
            it.welcome = welcome("v1")
            mine = Attached(it.socket)
            await soon(lambda: mine.told(p.Welcome))
            assert mine.told(p.Welcome) == [p.Welcome("v1", "/artifacts/v1", 0.5)]
            (peer,) = it.registry.peers()
            assert (peer.name, peer.attached, peer.loading, peer.pid) == ("mine", True, "v1", os.getpid())
            mine.say(p.Serving("", "v1"))
            await soon(lambda: it.registry.peers()[0].ready)
            assert not it.pool.replace("mine", "no")
            assert it.pool.processes() == ()

    run(work)


@pytest.mark.parametrize("attached", [True, False])
def test_an_impostor_with_the_name_of_ours_gets_another_and_ours_keeps_its_own(tmp_path: Path, attached: bool) -> None:
    async def work() -> None:
        async with room(tmp_path, wanted=1, serve="v1") as it:
            mine = Attached(it.socket, p.Hello(pid=it.pid("w1"), name="w1", attached=attached))
            await soon(lambda: len(it.registry.peers()) == 2)
            false = f"w1.{os.getpid()}"
            assert {x.name: x.attached for x in it.registry.peers()} == {"w1": False, false: True}
            it.registry.drain(false)
            await soon(lambda: mine.told(p.Drain))
            mine.say(p.Drained())
            await soon(lambda: kinds(it.events, false) == ["joined", "drained"])
            assert it.registry.peer("w1").ready  # type: ignore[union-attr]
            assert it.ended == []

    run(work)


def test_names_are_made_harmless_and_unique(tmp_path: Path) -> None:
    async def work() -> None:
        async with room(tmp_path) as it:
            for name in ("a", "a", "a", "", "../../x y\n\x1b[31m", "n" * 500, "w99"):
                Attached(it.socket, p.Hello(pid=1, name=name))
            await soon(lambda: len(it.registry.peers()) == 7)
            names = [x.name for x in it.registry.peers()]
            assert len(set(names)) == 7
            assert {"a", f"a.{os.getpid()}", f"a.{os.getpid()}'", f"pid{os.getpid()}", "....xy[31m"} <= set(names)
            assert f"w99.{os.getpid()}" in names
            assert max(map(len, names)) <= 64

    run(work)


def test_a_listening_socket_is_taken_from_our_own_workers_only(tmp_path: Path) -> None:
    async def work() -> None:
        async with room(tmp_path) as it:
            with socket.create_server(("127.0.0.1", 0)) as server:
                before = len(os.listdir("/proc/self/fd"))
                Attached(it.socket, p.Hello(pid=1, name="w1", attached=False), (server.fileno(),))
                await soon(lambda: it.registry.peers())
                assert it.offered == []
                assert len(os.listdir("/proc/self/fd")) == before + 2, "the two ends of the connection"

    run(work)


def test_a_former_daemons_worker_is_known_by_its_process_and_hands_over_its_socket(tmp_path: Path) -> None:
    code = """
import json, os, socket, sys, time
server = socket.create_server(("127.0.0.1", 0))
while True:
    s = socket.socket(socket.AF_UNIX)
    try:
        s.connect(sys.argv[1])
        hello = {"type": "hello", "pid": os.getpid(), "name": "w5", "attached": False, "serving": "v1"}
        socket.send_fds(s, [json.dumps(hello).encode() + b"\\n"], [server.fileno()])
        while s.recv(65536):
            pass
    except OSError:
        time.sleep(0.02)
"""

    async def work() -> None:
        path = tmp_path / "workers.sock"
        argv = [sys.executable, "-I", "-S", "-c", code, str(path)]
        former, forger = (subprocess.Popen(argv, start_new_session=True) for _ in range(2))
        try:
            who = identity(former.pid)
            assert who is not None
            async with room(tmp_path) as it:
                it.registry.expected = {"w5": who}
                await soon(lambda: len(it.registry.peers()) == 2)
                assert {x.name: (x.attached, x.pid) for x in it.registry.peers()} == {
                    "w5": (False, former.pid),
                    f"w5.{forger.pid}": (True, forger.pid),
                }
                assert it.registry.expected == {}
                assert len(it.offered) == 1
                it.pool.wanted = 1
                former.kill()
                former.wait()
                await soon(lambda: it.ended)
                assert it.ended[0].status is None
                assert forger.poll() is None
        finally:
            for process in (former, forger):
                process.kill()
                process.wait()

    run(work)


# connections that come and go


def test_a_worker_that_comes_back_is_one_worker_with_what_it_serves(tmp_path: Path) -> None:
    async def work() -> None:
        async with room(tmp_path, wanted=1, serve="v1") as it:
            os.kill(it.pid("w1"), signal.SIGUSR1)
            await soon(lambda: kinds(it.events, "w1") == ["joined", "serving", "left", "joined"])
            assert it.serving() == {"w1": "v1"}
            assert it.ended == []

    run(work)


def test_the_newer_connection_of_a_process_counts_and_the_older_is_closed(tmp_path: Path) -> None:
    two = """
import json, os, socket, sys, time
def join(serving):
    s = socket.socket(socket.AF_UNIX)
    s.connect(sys.argv[1])
    hello = {"type": "hello", "pid": os.getpid(), "name": "w1", "attached": False, "serving": serving}
    s.sendall(json.dumps(hello).encode() + b"\\n")
    return s
older = join("v1")
older.recv(65536)
newer = join("v2")
while b"drain" not in newer.recv(65536):
    pass
"""

    async def work() -> None:
        def command(settings: WorkerSettings) -> list[str]:
            return [sys.executable, "-I", "-S", "-c", two, settings.worker_socket]

        async with room(tmp_path, wanted=1, command=command) as it:
            await soon(lambda: it.serving() == {"w1": "v2"})
            assert kinds(it.events, "w1") == ["joined", "left", "joined"]
            it.pool.wanted = 0

    run(work)


def test_told_to_leave_and_cut_off_it_is_told_again(tmp_path: Path) -> None:
    async def work() -> None:
        async with room(tmp_path, wanted=1, serve="v1", scripts={"": {"*": "loses drain"}}) as it:
            it.pool.retire("w1", "asked for")
            await soon(lambda: it.ended)
            assert kinds(it.events, "w1")[:4] == ["joined", "serving", "left", "joined"]
            assert (it.ended[0].status, it.ended[0].retired) == (0, True)

    run(work)


def test_not_connected_it_is_asked_to_leave_by_signal(tmp_path: Path) -> None:
    async def work() -> None:
        async with room(tmp_path, scripts={"": {"*": "slow"}}) as it:
            it.pool.wanted = 1
            it.pool.step()
            it.pool.retire("w1", "asked for")
            await soon(lambda: it.ended)
            assert it.ended[0].status == -signal.SIGTERM

    run(work)


def test_a_worker_back_with_what_is_being_rolled_out_is_not_told_to_give_it_up(tmp_path: Path) -> None:
    async def work() -> None:
        async with room(tmp_path) as it:
            it.welcome = welcome("v1")
            it.registry.moving_to = ("v2", target("v2").artifact)
            moved = Attached(it.socket, p.Hello(pid=1, name="a", serving="v2", artifact=target("v2").artifact))
            other = Attached(it.socket, p.Hello(pid=1, name="b", serving="v3"))
            fresh = Attached(it.socket, p.Hello(pid=1, name="c"))
            await soon(lambda: moved.told(p.Welcome) and other.told(p.Welcome) and fresh.told(p.Welcome))
            said = [x.told(p.Welcome)[0].version for x in (moved, other, fresh)]  # type: ignore[union-attr]
            assert said == ["v2", "v1", "v1"]
            assert [x.loading for x in it.registry.peers()] == ["", "v1", "v1"]

    run(work)


def test_the_death_and_the_hangup_may_be_seen_in_any_order(tmp_path: Path) -> None:
    async def work() -> None:
        async with room(tmp_path, wanted=2, serve="v1") as it:
            for name in ("w1", "w2"):
                os.kill(it.pid(name), signal.SIGKILL)
            await soon(lambda: sorted(e.name for e in it.ended) == ["w1", "w2"])
            await it.all_serve("v1", 2)
            for name in ("w1", "w2"):
                assert kinds(it.events, name) == ["joined", "serving", "left"]
                assert it.registry.last_seen(name) is None or it.registry.peer(name) is None

    run(work)


def test_what_is_said_to_all_reaches_all_and_to_nobody_is_said(tmp_path: Path) -> None:
    async def work() -> None:
        async with room(tmp_path, wanted=2, serve="v1") as it:
            assert sorted(it.registry.send_all(p.ReopenLogs())) == ["w1", "w2"]
            await soon(lambda: sum(e.kind == "reopened" for e in it.events) == 2)
            assert not it.registry.send("w9", p.Stop())
            assert not it.registry.drain("w9")

    run(work)


def test_telling_a_worker_that_reads_no_more_says_so(tmp_path: Path) -> None:
    async def work() -> None:
        async with room(tmp_path) as it:
            Attached(it.socket)
            await soon(lambda: it.registry.peers())
            message = p.Prepare("r", "v", "x" * 60_000)
            answers = [it.registry.send("mine", message) for _ in range(60)]
            assert answers[0]
            assert not answers[-1]
            assert it.registry.peers() == ()

    run(work)


def test_those_who_left_are_remembered_in_bounds(tmp_path: Path) -> None:
    async def work() -> None:
        async with room(tmp_path) as it:
            for i in range(MAX_GONE + 5):
                mine = Attached(it.socket, p.Hello(pid=1, name=f"n{i}"))
                await soon(lambda: it.registry.peers())
                mine.socket.close()
                await soon(lambda: not it.registry.peers())
            assert it.registry.last_seen("n0") is None
            assert it.registry.last_seen(f"n{MAX_GONE}") is not None

    run(work)


def test_waiting_for_a_change_ends_with_the_change_or_in_time(tmp_path: Path) -> None:
    async def work() -> None:
        async with room(tmp_path) as it:
            it.welcome = WelcomeState()
            await asyncio.wait_for(it.registry.changed(0.01), PATIENCE_SECONDS)
            await asyncio.wait_for(it.registry.changed(-5), PATIENCE_SECONDS)
            waiting = asyncio.ensure_future(it.registry.changed(60))
            await asyncio.sleep(0)
            Attached(it.socket)
            await asyncio.wait_for(waiting, PATIENCE_SECONDS)

    run(work)
