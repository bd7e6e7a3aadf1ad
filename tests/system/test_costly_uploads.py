"""Uploads that cost much, sent to a whole service: others are answered meanwhile; afterwards nothing has changed."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable
from typing import Any

import psutil
import pytest
from tests.costly_audio import (
    quiet_flac,
    slow_wav,
    spoken,
    spoken_webm,
    tracks_webm,
)
from tests.house import House
from tests.support import PATIENCE_SECONDS, eventually
from tests.system.conftest import Build
from tests.versions import good_version

pytestmark = pytest.mark.system

FIRST = "dtmf-v1.0"


@pytest.fixture(scope="module")
def town(build_shared: Build) -> House:
    house = build_shared(workers={"count": 2})
    good_version(house.models, FIRST)
    return house.start(FIRST)


def _post(town: House, body: bytes) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", town.port, timeout=PATIENCE_SECONDS)
    try:
        connection.request("POST", "/api/predict", body, {"Content-Type": "audio/webm"})
        return connection.getresponse().status
    finally:
        connection.close()


def _ready(town: House) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", town.port, timeout=PATIENCE_SECONDS)
    try:
        connection.request("GET", "/ready")
        return connection.getresponse().status
    finally:
        connection.close()


def _decoders(town: House) -> list[psutil.Process]:
    found = []
    for worker in town.workers():
        found += psutil.Process(worker["pid"]).children()
    return found


def _idle(town: House) -> bool:
    return all(worker["inflight"] == 0 for worker in town.workers())


@pytest.mark.parametrize(
    ("make", "status"),
    [
        (lambda: tracks_webm(240_000), 400),
        (lambda: slow_wav(3600), 400),
        (lambda: quiet_flac(3500), 400),
        (lambda: spoken_webm(120), 200),
    ],
    ids=["tracks", "one sample a second", "silence", "long clips"],
)
def test_good_clips_are_answered_while_costly_ones_are_read(
    town: House, make: Callable[[], bytes], status: int
) -> None:
    body, order, statuses, over = make(), [], [], threading.Event()  # type: ignore[var-annotated]
    before = [worker["pid"] for worker in town.workers()]

    def attack() -> None:
        while not over.is_set():
            statuses.append(_post(town, body))
        order.append("attack ends")

    clients = [threading.Thread(target=attack) for _ in range(6)]
    for client in clients:
        client.start()
    try:
        for _ in range(3):
            assert town.transcribe(timeout=PATIENCE_SECONDS)[1]["result"] == "5551234"
            assert _post(town, spoken(3)) == 200
            assert _ready(town) == 200
        order.append("good clips were answered")
        assert len(_decoders(town)) <= 2
    finally:
        over.set()
        for client in clients:
            client.join(PATIENCE_SECONDS)
    assert order[0] == "good clips were answered"
    assert set(statuses) == {status}
    assert [worker["pid"] for worker in town.workers()] == before
    eventually(lambda: _idle(town))
    assert town.transcribe()[1]["result"] == "5551234"


def test_decoders_end_with_their_worker_and_outlive_the_daemon(build: Build) -> None:
    house = build(workers={"count": 2})
    good_version(house.models, FIRST)
    house.start(FIRST)

    def decode() -> list[psutil.Process]:
        assert _post(house, spoken(3)) == 200
        return _decoders(house)

    decoders: list[Any] = eventually(decode)
    house.kill()
    assert _post(house, spoken(3)) == 200
    assert all(decoder.is_running() for decoder in decoders)
    house.start()
    for worker in house.worker_pids():
        if worker != house.process.pid:  # type: ignore[union-attr]
            psutil.Process(worker).kill()
    _, alive = psutil.wait_procs(decoders, PATIENCE_SECONDS)
    assert not alive
    house.await_serving(FIRST)
    assert _post(house, spoken(3)) == 200
