from __future__ import annotations

import os
import re
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

import psutil
import pytest
from tests import asking
from tests.fakes.daemon import FakeDaemon
from tests.support import PATIENCE_SECONDS, eventually
from tests.worker.running import (
    Load,
    Worker,
    clip,
    copy_artifact,
    digits,
    resident,
    words,
    worker,
)

from modelward.daemon.workers.pool_planner import PoolLimits
from modelward.worker import protocol as p
from modelward.worker.daemon_link import QUIET_BEAT_SECONDS

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], Worker]]:
    with resident(tmp_path_factory.mktemp("link")) as give:
        yield give


@pytest.fixture
def running(shared: Callable[[], Worker]) -> Worker:
    """A worker that serves dtmf-v1.0 and has joined a daemon; the tests before may have had it."""
    return shared()


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Worker]:
    """A worker of this test alone."""
    with worker(tmp_path, digits()) as one:
        yield one


def version(running: Worker) -> str:
    return str(asking.get(running.url + "/health").json()["version"])


def test_hands_over_the_listening_socket_with_its_hello(running: Worker) -> None:
    running.daemon.wait_for(p.Hello)
    handed = socket.socket(fileno=os.dup(running.daemon.handed[0]))
    assert handed.getsockname() == running.listener.getsockname()
    assert handed.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    handed.close()


def test_a_worker_at_rest_speaks_twice_in_the_silence_that_makes_the_daemon_doubt_it() -> None:
    assert PoolLimits().silence_seconds >= 2 * QUIET_BEAT_SECONDS


def test_says_what_it_serves_and_only_once(fresh: Worker) -> None:
    assert fresh.daemon.wait_for(p.Serving) == p.Serving("", "dtmf-v1.0")
    assert fresh.daemon.told(p.Hello)[0].serving == ""


def test_does_not_load_again_what_it_serves_when_the_daemon_returns(fresh: Worker) -> None:
    fresh.daemon.close()
    again = FakeDaemon(fresh.daemon.path, p.Welcome("dtmf-v1.0", str(digits()), 0.2))
    again.wait_for(p.Beat)
    fresh.end()
    assert again.told(p.Serving) == []
    assert len([line for line in fresh.lines("modelward.log") if line["event"] == "serving"]) == 1


def test_loads_what_a_returning_daemon_wants_instead(running: Worker) -> None:
    running.daemon.close()
    again = FakeDaemon(running.daemon.path, p.Welcome("dtmf-v1.1", str(words()), 0.2))
    assert again.wait_for(p.Serving) == p.Serving("", "dtmf-v1.1")
    assert version(running) == "dtmf-v1.1"
    again.close()


def test_serves_on_when_a_daemon_knows_of_no_version(running: Worker) -> None:
    running.daemon.close()
    again = FakeDaemon(running.daemon.path, p.Welcome("", "", 0.2))
    again.wait_for(p.Beat)
    assert version(running) == "dtmf-v1.0"
    again.close()


def test_serves_nothing_until_there_is_a_version(tmp_path: Path) -> None:
    with worker(tmp_path, None) as running:
        assert running.predict(running.client(), clip("0123456789")).status_code == 503
        running.daemon.swap("r1", "dtmf-v1.0", digits())
        assert version(running) == "dtmf-v1.0"


@pytest.mark.parametrize("known", [True, False])
def test_a_request_that_comes_before_the_first_version_waits_for_it_or_for_the_word_that_there_is_none(
    tmp_path: Path, known: bool
) -> None:
    (tmp_path / "run").mkdir()
    daemon = FakeDaemon(tmp_path / "run" / "workers.sock", None)
    with worker(tmp_path, None, daemon=daemon, wait=False) as running, ThreadPoolExecutor(1) as aside:
        daemon.wait_for(p.Hello)
        asked = aside.submit(running.predict, running.client(), clip("5551234"))
        taken = psutil.Process(running.process.pid)
        eventually(lambda: [c for c in taken.net_connections(kind="tcp") if c.status == psutil.CONN_ESTABLISHED])
        assert not asked.done()
        daemon.say(p.Welcome("dtmf-v1.0", str(digits()), 0.2) if known else p.Welcome("", "", 0.2))
        answer = asked.result(PATIENCE_SECONDS)
    assert answer.status_code == (200 if known else 503)


@pytest.mark.parametrize("end", ["commit", "abort", "cannot be loaded"])
def test_a_request_that_comes_while_the_first_version_is_prepared_waits_for_its_end(tmp_path: Path, end: str) -> None:
    broken = copy_artifact(digits(), tmp_path / "broken")
    (broken / "artifact.json").unlink()
    with worker(tmp_path, None) as running, ThreadPoolExecutor(1) as aside:
        client = running.client()
        assert running.predict(client, clip("5551234")).status_code == 503
        running.daemon.say(p.Prepare("r1", "dtmf-v1.0", str(digits())))
        running.daemon.wait_for(p.Prepared)
        asked = aside.submit(running.predict, client, clip("5551234"))  # on a connection that is taken already
        eventually(lambda: requests_in_work(running) == 1 or asked.done())
        assert not asked.done()
        if end == "commit":
            running.daemon.say(p.Commit("r1"))
        elif end == "abort":
            running.daemon.say(p.Abort("r1"))
        else:
            running.daemon.say(p.Prepare("r2", "dtmf-v1.0", str(broken)))
            running.daemon.say(p.Abort("r1"))
        assert asked.result(PATIENCE_SECONDS).status_code == (200 if end == "commit" else 503)


def requests_in_work(running: Worker) -> int:
    text = asking.get(running.url + "/metrics").text
    return int(re.findall(r"^modelward_worker_requests_inflight\S* (\d+)", text, re.M)[0])


def test_whoever_waits_for_the_daemons_decision_is_answered_when_the_worker_leaves(tmp_path: Path) -> None:
    with (
        worker(tmp_path, digits(), drain_seconds=1.0) as running,
        socket.socket(socket.AF_UNIX) as api,
        ThreadPoolExecutor(1) as aside,
    ):
        api.bind(running.settings.api_socket)
        api.listen()
        asked = aside.submit(running.client().post, "/api/reload-model")
        connection, _ = api.accept()
        with connection:  # and it never decides
            assert connection.recv(4096).startswith(b"POST /v1/rescan")
            assert running.end() == 0
            answer = asked.result(PATIENCE_SECONDS)
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "draining")
        assert running.lines("error.log") == [
            line for line in running.lines("error.log") if line["event"].startswith("cannot wait for all requests")
        ]


def test_refuses_a_welcome_it_cannot_load_and_stays(tmp_path: Path) -> None:
    with worker(tmp_path, tmp_path / "gone", version="v1", wait=False) as running:
        refused = running.daemon.wait_for(p.CannotPrepare)
        assert (refused.rollout, refused.version) == ("", "v1") and "gone" in refused.reason
        assert asking.get(running.url + "/health").status_code == 503
        running.daemon.swap("r1", "dtmf-v1.0", digits())
        assert version(running) == "dtmf-v1.0"


def test_refuses_a_broken_version_and_serves_on(running: Worker, tmp_path: Path) -> None:
    broken = copy_artifact(words(), tmp_path / "broken")
    (broken / "model.onnx").chmod(0o640)
    (broken / "model.onnx").write_bytes(bytes((broken / "model.onnx").stat().st_size))
    for rollout, name, artifact in (
        ("r1", "dtmf-v1.1", broken),
        ("r2", "other", words()),
        ("r3", "v", Path("/nowhere")),
    ):
        running.daemon.say(p.Prepare(rollout, name, str(artifact)))
    eventually(lambda: {m.rollout for m in running.daemon.told(p.CannotPrepare)} == {"r1", "r2", "r3"})
    assert all(m.reason for m in running.daemon.told(p.CannotPrepare))
    running.daemon.say(p.Commit("r1"))
    eventually(lambda: len(running.daemon.told(p.CannotPrepare)) == 4)
    assert running.predict(running.client(), clip("0123456789")).json()["result"] == "0123456789"


def ask(running: Worker) -> str:
    answer = running.predict(running.client(), clip("5551234"))
    assert answer.status_code == 200, answer.text
    return str(answer.json()["result"])


def test_unloads_first_when_told_and_keeps_requests_waiting_instead_of_failing(running: Worker) -> None:
    versions = (("dtmf-v1.1", words()), ("dtmf-v1.0", digits()))
    with Load(2, lambda: ask(running)) as load:
        for i in range(6):
            name, artifact = versions[i % 2]
            running.daemon.say(p.Prepare(f"r{i}", name, str(artifact), unload_first=True))
            eventually(lambda: len(running.daemon.told(p.Prepared)) == i + 1)  # noqa: B023 - used up within the round
            running.daemon.say(p.Commit(f"r{i}"))
            load.more(2)
    assert load.failures == []
    assert set(load.answers) == {"5551234", "five five five one two three four"}


def test_who_still_sends_a_clip_while_the_version_is_unloaded_waits_like_the_others(running: Worker) -> None:
    rest, sound = threading.Event(), clip("5551234")

    def body() -> Iterator[bytes]:
        yield sound[:1000]
        rest.wait(PATIENCE_SECONDS)
        yield sound[1000:]

    with ThreadPoolExecutor(1) as pool:
        kind = {"Content-Type": "audio/wav"}
        answer = pool.submit(running.client().post, "/api/predict", content=body(), headers=kind)
        eventually(lambda: any(beat.inflight for beat in running.daemon.told(p.Beat)))
        running.daemon.say(p.Prepare("r1", "dtmf-v1.1", str(words()), unload_first=True))
        running.daemon.wait_for(p.Prepared)
        rest.set()
        early, _ = wait([answer], timeout=0.3)
        running.daemon.say(p.Commit("r1"))
        assert answer.result().json()["result"] == "five five five one two three four"
        assert not early


def test_serves_the_old_version_again_when_the_one_it_was_unloaded_for_is_broken(
    running: Worker, tmp_path: Path
) -> None:
    broken = copy_artifact(words(), tmp_path / "broken")
    (broken / "artifact.json").unlink()
    running.daemon.say(p.Prepare("r1", "dtmf-v1.1", str(broken), unload_first=True))
    assert running.daemon.wait_for(p.CannotPrepare).rollout == "r1"
    assert version(running) == "dtmf-v1.0"


@pytest.mark.parametrize("end", ["the daemon dies", "abort"])
def test_serves_the_old_version_again_when_nobody_commits_what_it_was_unloaded_for(running: Worker, end: str) -> None:
    running.daemon.say(p.Prepare("r1", "dtmf-v1.1", str(words()), unload_first=True))
    running.daemon.wait_for(p.Prepared)
    if end == "abort":
        running.daemon.say(p.Abort("r1"))
    else:
        running.daemon.close()
    assert running.predict(running.client(), clip("5551234")).json()["result"] == "5551234"
    assert version(running) == "dtmf-v1.0"


def test_sent_back_before_it_loaded_what_it_was_unloaded_for_it_keeps_requests_waiting(
    running: Worker,
) -> None:
    with Load(2, lambda: ask(running)) as load:
        load.more(2)
        for i in range(4):
            running.daemon.say(p.Prepare(f"r{i}", "dtmf-v1.1", str(words()), unload_first=True))
            running.daemon.say(p.Abort(f"r{i}"))
            running.daemon.say(p.Prepare(f"r{i}-back", "dtmf-v1.0", str(digits())))
            eventually(lambda: any(m.rollout == f"r{i}-back" for m in running.daemon.told(p.Prepared)))  # noqa: B023 - used up within the round
            running.daemon.say(p.Commit(f"r{i}-back"))
            load.more(2)
    assert load.failures == []
    assert set(load.answers) == {"5551234"}


def test_an_aborted_version_can_not_be_committed(running: Worker) -> None:
    running.daemon.say(p.Prepare("r1", "dtmf-v1.1", str(words())))
    running.daemon.wait_for(p.Prepared)
    running.daemon.say(p.Abort("r1"))
    running.daemon.say(p.Commit("r1"))
    assert running.daemon.wait_for(p.CannotPrepare).rollout == "r1"
    assert version(running) == "dtmf-v1.0"


def test_what_was_prepared_is_forgotten_with_its_connection(running: Worker) -> None:
    running.daemon.say(p.Prepare("r1", "dtmf-v1.1", str(words())))
    running.daemon.wait_for(p.Prepared)
    running.daemon.close()
    again = FakeDaemon(running.daemon.path, running.daemon.welcome)
    again.wait_for(p.Hello)
    again.say(p.Commit("r1"))
    assert again.wait_for(p.CannotPrepare).rollout == "r1"
    assert version(running) == "dtmf-v1.0"
    again.close()


@pytest.mark.parametrize(
    "nonsense",
    [
        b"nonsense\n",
        b'{"type":"prepare"}\n',
        b'{"type":"unheard of"}\n',
        b"\xff\xfe\n",
        b"x" * 70_000,
        b'{"a":' * 5000 + b"\n",
    ],
    ids=["text", "no fields", "other kind", "bytes", "too long", "too deep"],
)
def test_nonsense_ends_the_connection_and_nothing_else(running: Worker, nonsense: bytes) -> None:
    running.daemon.wait_for(p.Hello)
    running.daemon.say_bytes(nonsense)
    assert running.daemon.wait_for(p.Hello, 2).serving == "dtmf-v1.0"
    assert version(running) == "dtmf-v1.0"
    assert any(line["event"] == "daemon disconnected" for line in running.lines("error.log"))


def test_reopens_its_logs_when_told(fresh: Worker) -> None:
    (fresh.logs / "modelward.log").rename(fresh.logs / "modelward.log.1")
    fresh.daemon.say(p.ReopenLogs())
    fresh.daemon.wait_for(p.Reopened)
    fresh.daemon.say(p.Abort("none"))
    eventually(lambda: fresh.lines("modelward.log"))


def test_drains_and_ends_when_told(running: Worker) -> None:
    running.daemon.say(p.Drain(notice_seconds=0.1))
    assert running.process.wait(PATIENCE_SECONDS) == 0
    assert running.daemon.wait_for(p.Drained)


def test_stops_at_once_when_told(running: Worker) -> None:
    stuck = socket.create_connection(("127.0.0.1", running.listener.getsockname()[1]))
    stuck.sendall(b"POST /api/predict HTTP/1.1\r\nHost: x\r\nContent-Type: audio/wav\r\nContent-Length: 99\r\n\r\n")
    running.daemon.say(p.Stop())
    assert running.process.wait(PATIENCE_SECONDS) == 0
    stuck.close()


def test_tells_its_numbers_after_requests(running: Worker) -> None:
    client, before = running.client(), running.daemon.told(p.Beat)[-1].requests
    for _ in range(3):
        assert running.predict(client, clip("0123456789")).status_code == 200
    assert running.predict(client, b"no audio").status_code == 415
    beat = eventually(lambda: next((b for b in running.daemon.told(p.Beat) if b.requests == before + 4), None))
    assert beat.errors == 0 and beat.p95_seconds > 0 and beat.rss_bytes > 10 << 20
    eventually(lambda: running.daemon.told(p.Beat)[-1].inflight == 0)


def test_is_not_lost_when_the_daemon_is_killed_in_the_middle_of_a_load(tmp_path: Path) -> None:
    with worker(tmp_path, digits(), wait=False) as running:
        running.daemon.wait_for(p.Hello)
        running.daemon.close()
        again = FakeDaemon(running.daemon.path, running.daemon.welcome)
        again.wait_for(p.Hello)
        eventually(lambda: version(running) == "dtmf-v1.0")
        assert running.end(signal.SIGTERM) == 0
        assert len([line for line in running.lines("modelward.log") if line["event"] == "serving"]) == 1
        again.close()
