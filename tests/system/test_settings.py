"""A key of the configuration holds without anybody's restarting anything, also in workers that outlive the daemon."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.house import House, free_port
from tests.support import PATIENCE_SECONDS, eventually
from tests.system.conftest import Build
from tests.versions import good_version
from tests.worker.sandbox.test_landlock import landlock_abi

pytestmark = pytest.mark.system

VERSION = "dtmf-v1.0"
SAMPLES = 12  # requests, so that each of the workers answers some


def _serving(house: House) -> House:
    good_version(house.models, VERSION)
    return house.start(VERSION)


@pytest.fixture(scope="module")
def shared(build_shared: Build) -> House:
    return _serving(build_shared())


@pytest.fixture
def town(shared: House) -> House:
    """Two workers serve without asking for a token, and all run with the configuration that is in the file."""
    if not shared.answers():
        shared.close()
        shared.start()
    shared.configure()
    shared.cli("reload")  # its answer is about what the last test left
    if any(entry["waits_for"] != "workers" for entry in shared.status()["pending"]):
        shared.kill()
        shared.start()
    eventually(lambda: shared.status()["pending"] == [] and len(shared.workers()) == 2 and shared.serves(VERSION))
    return shared


def _tokens(town: House) -> Path:
    """In a directory that no worker was ever confined to."""
    path = Path(tempfile.mkdtemp(dir=town.root)) / "tokens"
    path.write_text("secret\n")
    return path


def _statuses(town: House, token: str = "") -> set[int]:
    """What so many requests on connections of their own are answered with."""
    found = set()
    for _ in range(SAMPLES):
        with contextlib.closing(
            http.client.HTTPConnection("127.0.0.1", town.port, timeout=PATIENCE_SECONDS)
        ) as connection:
            connection.request("GET", "/v1/models", headers={"Authorization": f"Bearer {token}"} if token else {})
            found.add(connection.getresponse().status)
    return found


@contextlib.contextmanager
def _kept_alive(town: House, count: int = 8) -> Iterator[Callable[[], set[int]]]:
    """Connections that were opened before the change; what a request on each of them is answered with."""
    connections = [http.client.HTTPConnection("127.0.0.1", town.port, timeout=PATIENCE_SECONDS) for _ in range(count)]

    def ask() -> set[int]:
        found = set()
        for connection in connections:
            try:
                connection.request("GET", "/v1/models")
                response = connection.getresponse()
            except (http.client.RemoteDisconnected, ConnectionError):  # its worker was replaced meanwhile
                connection.close()
                connection.request("GET", "/v1/models")
                response = connection.getresponse()
            response.read()
            found.add(response.status)
        return found

    try:
        assert ask() == {200}
        yield ask
    finally:
        for connection in connections:
            connection.close()


def _replaced(town: House, before: set[int]) -> None:
    """A worker that is confined to other directories enforces the tokens at once, and is replaced."""
    eventually(lambda: len(town.workers()) == 2 and not before & set(town.worker_pids()))
    eventually(lambda: town.status()["pending"] == [])


def test_a_token_file_is_enforced_from_the_moment_that_reload_returns_on_open_connections_too(town: House) -> None:
    pids = set(town.worker_pids())
    with _kept_alive(town) as ask:
        tokens = _tokens(town)
        town.configure(workers={"token_file": str(tokens)})
        asked = town.cli("reload")
        assert asked.returncode == 0, asked.stderr
        assert ask() == {401}
        assert _statuses(town) == {401}
        assert _statuses(town, "secret") == {200}
    if landlock_abi():
        _replaced(town, pids)
    assert (_statuses(town), _statuses(town, "secret")) == ({401}, {200})
    pids = set(town.worker_pids())

    other = tokens.with_name("others")
    other.write_text("another\n")
    town.configure(workers={"token_file": str(other)})
    assert town.cli("reload").returncode == 0
    assert _statuses(town, "secret") == {401}
    assert _statuses(town, "another") == {200}
    assert set(town.worker_pids()) == pids, "no worker was replaced: it sees what lies beside"
    assert town.status()["pending"] == []


@pytest.mark.parametrize("end", ["killed", "told to leave its workers"])
def test_a_token_file_is_enforced_by_workers_that_a_new_daemon_takes_back(town: House, end: str) -> None:
    pids = set(town.worker_pids())
    town.configure(workers={"token_file": str(_tokens(town))})
    assert town.process is not None
    if end == "killed":
        town.kill()
    else:
        town.process.send_signal(signal.SIGQUIT)
        town.process.wait(PATIENCE_SECONDS)
    assert _statuses(town) == {200}, "nobody is there to say otherwise"
    town.start()
    eventually(lambda: _statuses(town) == {401})
    assert _statuses(town, "secret") == {200}
    eventually(lambda: len(town.workers()) == 2 and town.serves(VERSION))
    if landlock_abi():
        _replaced(town, pids)
    assert (_statuses(town), _statuses(town, "secret")) == ({401}, {200})


def test_a_worker_that_cannot_confirm_fails_the_reload_by_name_and_does_so_once_it_runs_again(town: House) -> None:
    stopped = town.workers()[0]
    os.kill(stopped["pid"], signal.SIGSTOP)
    try:
        town.configure(workers={"token_file": str(_tokens(town))})
        asked = town.cli("reload")
        assert asked.returncode == 1
        assert f"cannot confirm that every worker took it up: {stopped['name']} did not answer" in asked.stderr
        assert "1 of " in (said := town.cli("status").stdout)
        assert "still runs with the former workers.token_file" in said
        (entry,) = [e for e in town.status()["pending"] if e["key"] == "workers.token_file"]
        assert entry["workers"] == [stopped["name"]]
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(stopped["pid"], signal.SIGCONT)
    eventually(lambda: town.status()["pending"] == [])
    assert _statuses(town) == {401}


def test_workers_are_replaced_for_what_none_takes_up_and_no_request_fails(town: House) -> None:
    former = set(town.worker_pids())
    with town.load(clients=2) as load:
        town.configure(workers={"threads": 2})
        asked = town.cli("reload")
        assert asked.returncode == 0, asked.stderr
        assert "the workers are replaced for workers.threads, one at a time, successor first" in asked.stdout
        seen = [e["message"] for e in town.status()["pending"]]
        assert all("with the former workers.threads; being replaced" in message for message in seen)
        eventually(lambda: town.status()["pending"] == [] and len(town.workers()) == 2 and town.serves(VERSION))
        assert not former & set(town.worker_pids())
    assert load.failures == []


def test_status_says_which_workers_still_run_with_a_former_key_until_they_are_replaced(town: House) -> None:
    stopped = town.workers()[0]  # it cannot leave before its time to drain is over
    os.kill(stopped["pid"], signal.SIGSTOP)
    try:
        town.configure(workers={"threads": 2})
        assert town.cli("reload").returncode == 0
        (entry,) = town.status()["pending"]
        assert (entry["key"], entry["waits_for"]) == ("workers.threads", "workers")
        assert stopped["name"] in entry["workers"]
        assert "with the former workers.threads; being replaced" in town.cli("status").stdout
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(stopped["pid"], signal.SIGCONT)
    eventually(lambda: town.status()["pending"] == [] and town.serves(VERSION))


def test_workers_that_a_new_daemon_takes_back_are_replaced_for_what_none_takes_up(town: House) -> None:
    former = set(town.worker_pids())
    town.configure(workers={"threads": 2}, logs={"dir": str(town.root / "other-log")})
    town.kill()
    with town.load(clients=2) as load:
        town.start()
        eventually(lambda: not former & set(town.worker_pids()) and len(town.workers()) == 2 and town.serves(VERSION))
    assert load.failures == []
    assert town.status()["pending"] == []
    assert town.transcribe()[0] == 200
    eventually(lambda: (town.root / "other-log" / "access.log").stat().st_size > 0)


def _answers(host: str, port: int) -> bool:
    try:
        with contextlib.closing(http.client.HTTPConnection(host, port, timeout=PATIENCE_SECONDS)) as connection:
            connection.request("GET", "/v1/models")
            return connection.getresponse().status == 200
    except OSError:
        return False


@pytest.mark.parametrize("how", ["reload", "killed"])
def test_another_address_is_listened_on_before_the_first_worker_is_replaced(town: House, how: str) -> None:
    """127.0.0.2 is another address of this machine; every address of the same port is the harder case."""
    for listen, asked, former in (
        (f"0.0.0.0:{town.port}", "127.0.0.2", None),
        (f"127.0.0.1:{(there := free_port())}", "127.0.0.1", town.port),
    ):
        pids = set(town.worker_pids())
        town.configure(workers={"listen": listen})
        if how == "reload":
            done = town.cli("reload")
            assert done.returncode == 0, done.stderr
        else:
            town.kill()
            town.start()
        port = town.port if former is None else there
        eventually(lambda host=asked, port=port: _answers(host, port))
        eventually(lambda pids=pids: not pids & set(town.worker_pids()) and town.serves(VERSION))
        eventually(lambda: town.status()["pending"] == [])
        assert former is None or not _answers("127.0.0.1", former), "the former address is closed with its last worker"
        town.port = port


def test_an_address_that_cannot_be_had_refuses_the_whole_change(town: House) -> None:
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as other:
        listen = f"127.0.0.1:{other.getsockname()[1]}"
        town.configure(workers={"listen": listen, "queue": 3})
        asked = town.cli("reload")
    assert asked.returncode == 1
    assert f"cannot listen on {listen}: Address already in use" in asked.stderr
    assert "the old configuration stays in force" in asked.stderr
    assert town.status()["pending"] == []
    assert _statuses(town) == {200}


def test_what_only_a_new_daemon_takes_up_is_said_until_there_is_one(build: Build) -> None:
    town = _serving(build(workers={"count": 1}))
    other = str(town.root / "other-cache")
    town.configure(control={**_control(town), "cache_dir": other})
    for _ in range(2):  # a second reload does not make it forget
        asked = town.cli("reload")
        assert asked.returncode == 0, asked.stderr
        assert "control.cache_dir waits for a new daemon: end it with SIGQUIT and start it again" in asked.stdout
        assert "pending  control.cache_dir waits for a new daemon: " in town.cli("status").stdout
    assert town.process is not None
    town.process.send_signal(signal.SIGQUIT)
    town.process.wait(PATIENCE_SECONDS)
    town.start()
    assert [e for e in town.status()["pending"] if e["key"].startswith("control.")] == []


def _control(town: House) -> dict[str, object]:
    return {"runtime_dir": str(town.root / "run"), "state_dir": str(town.root / "state")}


TOLD = "import os, sys; os.environ['NOTIFY_SOCKET'] = sys.argv[1]; os.execv(sys.argv[2], sys.argv[2:])"
ACTIVATED = """import os, socket, sys
listening = socket.create_server(("127.0.0.1", int(sys.argv[1])))
os.dup2(listening.fileno(), 3)
os.set_inheritable(3, True)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1", LISTEN_FDNAMES="http")
os.execv(sys.argv[2], sys.argv[2:])
"""


def test_the_service_manager_is_told_ready_when_tokens_are_asked_for(town: House) -> None:
    town.configure(workers={"token_file": str(_tokens(town))})
    town.kill()
    with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as manager:
        manager.bind(str(town.root / "notify"))
        manager.settimeout(PATIENCE_SECONDS)
        town.prefix = (sys.executable, "-c", TOLD, str(town.root / "notify"))
        try:
            town.start(wait=False)
            while b"READY=1" not in manager.recv(4096).split(b"\n"):
                pass
            assert _statuses(town) == {401}
        finally:
            town.prefix = ()


def test_under_socket_activation_the_address_is_ignored_and_that_is_said(build: Build) -> None:
    town = build(workers={"count": 1})
    good_version(town.models, VERSION)
    town.prefix = (sys.executable, "-c", ACTIVATED, str(town.port))
    town.configure(workers={"listen": f"127.0.0.1:{free_port()}"})
    town.start(VERSION)
    pids = set(town.worker_pids())
    town.configure(workers={"listen": f"127.0.0.1:{free_port()}"})
    asked = town.cli("reload")
    assert asked.returncode == 0, asked.stderr
    assert "(ignored)" in asked.stdout
    assert "replaced" not in asked.stdout
    assert "workers.listen does not count: the socket belongs to the service manager" in asked.stdout
    assert town.status()["pending"] == []
    assert _statuses(town) == {200}
    assert set(town.worker_pids()) == pids
