from __future__ import annotations

import asyncio
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from tests import asking
from tests.fakes.daemon import FakeDaemon
from tests.support import PATIENCE_SECONDS, eventually
from tests.worker.http.serving import Asking, post, serving, wav
from tests.worker.running import (
    ROOT,
    Load,
    Worker,
    clip,
    digits,
    resident,
    start,
    words,
    worker,
)

from modelward.worker import protocol as p

TEXTS = {"dtmf-v1.0": "0123456789", "dtmf-v1.1": "zero one two three four five six seven eight nine"}


def asker(running: Worker, *, keep_alive: bool) -> Any:
    """A function that asks once and checks that text, body and header tell of one version."""
    sound = clip("0123456789")
    client = running.client(limits=httpx.Limits(max_keepalive_connections=1 if keep_alive else 0))

    def ask() -> str:
        answer = running.predict(client, sound)
        assert answer.status_code == 200, answer.text
        told = answer.json()
        assert told["version"] == answer.headers["x-model-version"]
        assert told["result"] == TEXTS[told["version"]]
        return str(told["version"])

    return ask


def clients(running: Worker, *, keep_alive: bool = True, count: int = 4) -> list[Load]:
    return [Load(1, asker(running, keep_alive=keep_alive)) for _ in range(count)]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], Worker]]:
    with resident(tmp_path_factory.mktemp("acceptor")) as give:
        yield give


@pytest.fixture
def running(shared: Callable[[], Worker]) -> Worker:
    """A worker that serves dtmf-v1.0; the tests before may have had it."""
    return shared()


@pytest.mark.system
def test_swaps_under_load_fail_no_request_and_mix_no_answer(running: Worker) -> None:
    loads = clients(running)
    with ExitStack() as stack:
        for load in loads:
            stack.enter_context(load)
        for i in range(10):
            version, artifact = (("dtmf-v1.1", words()), ("dtmf-v1.0", digits()))[i % 2]
            running.daemon.swap(f"r{i}", version, artifact)
            loads[0].more(2)
    assert [load.failures for load in loads] == [[]] * 4
    assert {"dtmf-v1.0", "dtmf-v1.1"} == set(loads[0].answers)
    assert running.daemon.wait_for(p.Beat).errors == 0


@pytest.mark.system
def test_memory_comes_back_after_many_swaps(running: Worker) -> None:
    process = psutil.Process(running.process.pid)

    def swaps(first: int, count: int) -> int:
        for i in range(first, first + count):
            version, artifact = (("dtmf-v1.1", words()), ("dtmf-v1.0", digits()))[i % 2]
            running.daemon.swap(f"r{i}", version, artifact)
        return process.memory_info().rss

    level = swaps(0, 10)
    fds, threads = process.num_fds(), process.num_threads()
    eventually(lambda: process.memory_info().rss < level + (4 << 20))
    assert swaps(10, 20) < level + (8 << 20)
    assert process.num_fds() <= fds + 1 and process.num_threads() <= threads + 1


@pytest.mark.system
def test_replacing_workers_under_load_loses_nothing(tmp_path: Path) -> None:
    with ExitStack() as stack:
        first = old = stack.enter_context(worker(tmp_path / "1", digits()))
        loads = [
            stack.enter_context(load)
            for keep_alive in (True, False)
            for load in clients(first, keep_alive=keep_alive, count=2)
        ]
        for i in range(2, 4):
            new = stack.enter_context(worker(tmp_path / str(i), digits(), listener=first.listener))
            for load in loads:
                load.more(4)
            assert old.end() == 0
            for load in loads:
                load.more(4)
            old = new
        for load in loads:
            load.finish()
        assert [load.failures for load in loads] == [[]] * 4
        assert old.end() == 0


@pytest.mark.system
def test_sigterm_answers_what_was_asked_and_ends_in_time(running: Worker) -> None:
    sound, rest = clip("5551234"), threading.Event()

    def body() -> Iterator[bytes]:  # it is under way until the rest comes, however short a run takes
        yield sound[:1000]
        rest.wait(PATIENCE_SECONDS)
        yield sound[1000:]

    client, kind = running.client(), {"Content-Type": "audio/wav"}
    asked = Asking(lambda: client.post("/api/predict", content=body(), headers=kind).status_code)
    eventually(lambda: running.daemon.told(p.Beat)[-1].inflight == 1)
    running.process.send_signal(signal.SIGTERM)
    rest.set()
    assert running.end() == 0
    assert asked.answer() == 200
    assert running.daemon.wait_for(p.Drained)
    last = running.lines("modelward.log")[-1]
    assert (last["event"], last["cut"]) == ("worker ends", 0)  # ended by the answer, not by the limit


def test_in_its_notice_it_takes_requests_and_reports_that_it_leaves(tmp_path: Path) -> None:
    with serving(tmp_path) as served:
        notice = asyncio.run_coroutine_threadsafe(served.front.give_notice(3600.0), served.loop)
        eventually(lambda: asking.get(f"{served.url}/ready").status_code == 503)
        answer = post(served, wav(1))
        assert (answer.status_code, answer.json()["result"], answer.headers["connection"]) == (200, "v1", "close")
        assert asking.get(f"{served.url}/v2/health/ready").status_code != 200
        assert asking.get(f"{served.url}/health").status_code == 200
        notice.cancel()
        assert served.wait(served.front.drain(10.0)) == 0
        with pytest.raises(httpx.ConnectError):
            asking.get(f"{served.url}/ready")


@pytest.mark.system
def test_a_drain_that_takes_too_long_is_ended_with_an_answer(tmp_path: Path) -> None:
    with worker(tmp_path, digits(), drain_seconds=1.2) as running:
        stuck = socket.create_connection(("127.0.0.1", running.listener.getsockname()[1]))
        stuck.sendall(b"POST /api/predict HTTP/1.1\r\nHost: x\r\nContent-Type: audio/wav\r\nContent-Length: 99\r\n\r\n")
        eventually(lambda: running.daemon.told(p.Beat)[-1].inflight == 1)
        assert running.end() == 0
        assert running.lines("modelward.log")[-1]["cut"] == 1
        stuck.close()


@pytest.mark.system
def test_connections_that_wait_in_the_queue_are_answered_before_it_leaves(running: Worker) -> None:
    waiting = []
    os.kill(running.process.pid, signal.SIGSTOP)
    for _ in range(20):
        connection = socket.create_connection(("127.0.0.1", running.listener.getsockname()[1]))
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        waiting.append(connection)
    os.kill(running.process.pid, signal.SIGTERM)
    os.kill(running.process.pid, signal.SIGCONT)
    assert running.process.wait(PATIENCE_SECONDS) == 0
    for connection in waiting:
        assert connection.recv(4096).startswith(b"HTTP/1.1 200 OK")
        connection.close()


@pytest.mark.system
def test_does_nothing_while_nobody_asks(running: Worker) -> None:
    asking.get(running.url + "/health")

    def switches() -> int:
        tasks = Path(f"/proc/{running.process.pid}/task").iterdir()
        text = "".join((task / "status").read_text() for task in tasks)
        return sum(int(line.split()[1]) for line in text.splitlines() if line.startswith("voluntary_ctxt_switches"))

    def woken() -> int:
        before = switches()
        time.sleep(3)
        return switches() - before

    # What follows a start may take longer on a busy machine.
    assert any(woken() <= 3 for _ in range(6))


@pytest.mark.system
def test_runs_out_of_descriptors_without_spinning_and_recovers(running: Worker) -> None:
    port = running.listener.getsockname()[1]
    process = psutil.Process(running.process.pid)
    used = process.num_fds()
    resource.prlimit(running.process.pid, resource.RLIMIT_NOFILE, (used + 4, 4096))
    guests = [socket.create_connection(("127.0.0.1", port)) for _ in range(20)]
    eventually(lambda: any("cannot accept" in line["event"] for line in running.lines("error.log")))
    before = sum(process.cpu_times()[:2])
    time.sleep(1)
    assert sum(process.cpu_times()[:2]) - before < 0.3
    for guest in guests:
        guest.close()
    resource.prlimit(running.process.pid, resource.RLIMIT_NOFILE, (1024, 4096))
    assert asking.get(running.url + "/health").status_code == 200


@pytest.mark.system
def test_ignores_the_signals_of_the_daemons_terminal(tmp_path: Path) -> None:
    with worker(tmp_path, digits()) as running:
        for number in (signal.SIGHUP, signal.SIGINT):
            running.process.send_signal(number)
        assert asking.get(running.url + "/health").status_code == 200
        (running.logs / "access.log").rename(running.logs / "access.log.1")
        running.process.send_signal(signal.SIGUSR1)

        def reopened() -> bool:
            asking.get(running.url + "/health")
            return (running.logs / "access.log").exists()

        eventually(reopened)


@pytest.mark.system
@pytest.mark.parametrize(
    ("changes", "because"),
    [
        ({"kind": "typewriter"}, "cannot serve kind 'typewriter'"),
        ({"listen_fd": 999}, "descriptor 999 is not a listening socket"),
        ({"listen_fd": 2}, "descriptor 2 is not a listening socket"),
    ],
)
def test_says_when_it_can_never_boot(tmp_path: Path, changes: dict[str, Any], because: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        settings = p.WorkerSettings(**{"name": "w", "worker_socket": "", "api_socket": "", "listen_fd": 0, **changes})
        if "listen_fd" not in changes:
            settings = p.WorkerSettings("w", "", "", listener.fileno(), **changes)
        errors = tmp_path / "stderr"
        with errors.open("wb") as stderr:
            assert start(settings, listener, stderr=stderr).wait(PATIENCE_SECONDS) == 3
        assert because in errors.read_text()


@pytest.mark.system
def test_bad_settings_can_never_boot(tmp_path: Path) -> None:
    for arguments in ([], ["--settings", "{"], ["--settings", '{"name": 5}'], ["--nonsense"]):
        done = subprocess.run(
            [sys.executable, "-m", "modelward.worker", *arguments],
            env={**os.environ, "PYTHONPATH": str(ROOT / ".imports")},
            capture_output=True,
            timeout=PATIENCE_SECONDS,
        )
        assert done.returncode == 3 and b"cannot start a worker" in done.stderr


@pytest.mark.system
def test_serves_without_any_daemon_there(tmp_path: Path) -> None:
    with worker(tmp_path, digits()) as running:
        running.daemon.close()
        assert running.predict(running.client(), clip("0123456789")).status_code == 200
        again = FakeDaemon(running.daemon.path, p.Welcome("dtmf-v1.0", str(digits()), 0.2))
        hello = again.wait_for(p.Hello)
        assert (hello.serving, hello.artifact) == ("dtmf-v1.0", str(digits()))
        assert (hello.pid, hello.name, hello.attached) == (running.process.pid, "w1", False)
        again.close()


@pytest.mark.system
def test_what_it_logged_without_a_daemon_is_there_though_it_ended(running: Worker) -> None:
    running.daemon.close()
    for _ in range(20):
        assert running.predict(running.client(), clip("0123456789")).status_code == 200
    asked = lambda: [line["status"] for line in running.lines("access.log") if line["path"] == "/api/predict"]  # noqa: E731
    eventually(lambda: len(asked()) == 20)  # a line is written just after its answer
    running.end(signal.SIGKILL)
    assert asked() == [200] * 20
    assert any(line["event"] == "daemon away" for line in running.lines("modelward.log"))


@pytest.mark.system
def test_passes_over_a_provider_that_is_not_there_and_says_so(tmp_path: Path) -> None:
    with worker(tmp_path, digits(), providers=("NoSuchExecutionProvider", "CPUExecutionProvider")) as running:
        assert running.predict(running.client(), clip("0123456789")).status_code == 200
        assert running.lines("error.log")[0]["missing"] == "NoSuchExecutionProvider"
