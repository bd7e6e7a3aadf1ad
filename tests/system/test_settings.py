"""A key of the configuration holds without anybody's restarting anything, also in workers that outlive the daemon."""

from __future__ import annotations

import contextlib
import http.client
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.house import House
from tests.support import eventually
from tests.system.conftest import Build
from tests.versions import good_version

pytestmark = pytest.mark.system

VERSION = "dtmf-v1.0"
SAMPLES = 12  # requests, so that each of the workers answers some


@pytest.fixture
def town(build: Build) -> House:
    """Two workers serve without asking for a token."""
    house = build()
    good_version(house.models, VERSION)
    house.start()
    house.await_serving(VERSION)
    return house


def _tokens(town: House) -> Path:
    path = town.root / "tokens"
    path.write_text("secret\n")
    return path


def _statuses(town: House, token: str = "") -> set[int]:
    """What so many requests on connections of their own are answered with."""
    found = set()
    for _ in range(SAMPLES):
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", town.port, timeout=60)) as connection:
            connection.request("GET", "/v1/models", headers={"Authorization": f"Bearer {token}"} if token else {})
            found.add(connection.getresponse().status)
    return found


@contextlib.contextmanager
def _kept_alive(town: House, count: int = 8) -> Iterator[Callable[[], set[int]]]:
    """Connections that were opened before the change; what a request on each of them is answered with."""
    connections = [http.client.HTTPConnection("127.0.0.1", town.port, timeout=60) for _ in range(count)]

    def ask() -> set[int]:
        found = set()
        for connection in connections:
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


def test_a_token_file_is_enforced_from_the_moment_that_reload_returns_on_open_connections_too(town: House) -> None:
    pids = set(town.worker_pids())
    with _kept_alive(town) as ask:
        town.configure(workers={"token_file": str(_tokens(town))})
        asked = town.cli("reload")
        assert asked.returncode == 0, asked.stderr
        assert ask() == {401}
        assert _statuses(town) == {401}
        assert _statuses(town, "secret") == {200}
    assert set(town.worker_pids()) == pids, "no worker was replaced"
    assert town.status()["pending"] == []

    other = town.root / "others"
    other.write_text("another\n")
    town.configure(workers={"token_file": str(other)})
    assert town.cli("reload").returncode == 0
    assert _statuses(town, "secret") == {401}
    assert _statuses(town, "another") == {200}


@pytest.mark.parametrize("end", ["killed", "told to leave its workers"])
def test_a_token_file_is_enforced_by_workers_that_a_new_daemon_takes_back(town: House, end: str) -> None:
    pids = set(town.worker_pids())
    town.configure(workers={"token_file": str(_tokens(town))})
    assert town.process is not None
    if end == "killed":
        town.kill()
    else:
        town.process.send_signal(signal.SIGQUIT)
        town.process.wait(60)
    assert _statuses(town) == {200}, "nobody is there to say otherwise"
    town.start()
    eventually(lambda: _statuses(town) == {401})
    assert _statuses(town, "secret") == {200}
    eventually(lambda: len(town.workers()) == 2 and town.serves(VERSION))
    assert town.status()["pending"] == []
    assert set(town.worker_pids()) == pids, "no worker was replaced"
