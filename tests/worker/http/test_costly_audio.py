"""Uploads that cost much more than they weigh, sent to a real worker while others send clips of usual size."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from onnx import TensorProto, helper
from tests import asking
from tests.costly_audio import (
    empty_members,
    quiet_flac,
    slow_wav,
    spoken,
    spoken_webm,
    tracks_webm,
)
from tests.support import PATIENCE_SECONDS, eventually
from tests.worker.running import (
    Worker,
    clip,
    digits,
    sealed,
    worker,
)
from tests.worker.tensor_models import save

from modelward.worker import protocol as p


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    with worker(tmp_path_factory.mktemp("costly"), digits(), request_timeout_seconds=PATIENCE_SECONDS) as running:
        yield running


class Attack:
    """Requests of others, each in a thread; `order` says what ended when."""

    def __init__(self, running: Worker) -> None:
        self._running = running
        self.order: list[str] = []
        self.statuses: list[int] = []
        self._threads: list[threading.Thread] = []

    def begin(self, count: int, body: bytes, kind: str = "audio/webm") -> None:
        """So many clients send it at once."""
        for _ in range(count):
            thread = threading.Thread(target=self._send, args=(body, kind))
            thread.start()
            self._threads.append(thread)

    def _send(self, body: bytes, kind: str) -> None:
        answer = asking.post(
            f"{self._running.url}/api/predict", content=body, headers={"content-type": kind}, timeout=PATIENCE_SECONDS
        )
        self.statuses.append(answer.status_code)
        self.order.append("attack")

    def good(self) -> None:
        """A usual clip is answered."""
        answer = self._running.predict(self._running.client(), clip("5551234"))
        assert answer.json()["result"] == "5551234"
        self.order.append("good")

    def end(self) -> None:
        for thread in self._threads:
            thread.join(PATIENCE_SECONDS)


@contextmanager
def attack(running: Worker) -> Iterator[Attack]:
    """Afterwards it serves as before, in the same process."""
    made = Attack(running)
    try:
        yield made
    finally:
        made.end()
    assert running.client().get("/ready").status_code == 200
    made.good()
    assert running.process.poll() is None
    eventually(lambda: running.daemon.told(p.Beat)[-1].inflight == 0)


@pytest.mark.parametrize(
    ("make", "because"),
    [
        (lambda: tracks_webm(240_000), "more than 16 tracks"),
        (lambda: slow_wav(3600), "1 Hz"),
        (lambda: quiet_flac(3500), "bytes cannot be"),
        (lambda: b"\x1a\x45\xdf\xa3\x80" + b"\xec\x80" * 600_000, "more than 500000 elements"),
    ],
    ids=["tracks", "one sample a second", "silence", "elements"],
)
def test_a_few_bytes_that_cost_much_are_refused_and_delay_nobody(
    town: Worker, make: Callable[[], bytes], because: str
) -> None:
    body = make()
    with attack(town) as others:
        others.begin(2, body)
        others.good()
        refused = town.client().post("/api/predict", content=body, headers={"content-type": "audio/webm"})
        assert (refused.status_code, because in refused.text) == (400, True), refused.text
    assert set(others.statuses) == {400}


def test_clips_pass_long_ones_in_every_format(town: Worker) -> None:
    long = spoken_webm(600)
    with attack(town) as others:
        others.begin(2, long)
        eventually(lambda: _decoders(town) and town.daemon.told(p.Beat)[-1].inflight >= 2)
        for _ in range(3):
            _usual(town)
            others.good()
    assert others.order[:3] == ["good"] * 3
    assert others.statuses == [200, 200]


def test_clients_that_left_cost_nothing_more(town: Worker) -> None:
    long = spoken_webm(600)
    head = f"POST /api/predict HTTP/1.1\r\nHost: x\r\nContent-Type: audio/webm\r\nContent-Length: {len(long)}\r\n\r\n"
    with attack(town) as others:
        for _ in range(4):
            host, port = re.fullmatch(r"http://(.+):(\d+)", town.url).groups()  # type: ignore[union-attr]
            with socket.create_connection((host, int(port))) as leaving:
                leaving.sendall(head.encode() + long)
        others.good()
        eventually(lambda: town.daemon.told(p.Beat)[-1].inflight == 0)
        before = _cpu_seconds(town)
        others.good()
        assert (
            town.client().post("/api/predict", content=spoken(3), headers={"content-type": "audio/ogg"}).status_code
            == 200
        )
        assert _cpu_seconds(town) - before < 2  # half an hour takes more


def test_what_decoders_print_goes_nowhere(town: Worker) -> None:
    damaged = bytearray(spoken(20, "MP3", "MPEG_LAYER_III"))
    for position in range(3000, len(damaged), 97):
        damaged[position] ^= 0xFF
    before = town.errors.stat().st_size
    with attack(town) as others:
        others.begin(1, bytes(damaged), "audio/mpeg")
    assert town.errors.stat().st_size == before


def test_a_gzip_body_of_empty_members_is_refused_and_delays_nobody(tmp_path: Path) -> None:
    version = save(
        tmp_path / "aside",
        [helper.make_node("Identity", ["x"], ["y"])],
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N"])],
    )
    with worker(tmp_path / "w", sealed(version, "same-v1", "tensor"), kind="tensor") as running:

        def infer(**request: Any) -> httpx.Response:
            return asking.post(f"{running.url}/v2/models/tensor/infer", **request)

        good = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [2], "data": [1, 0]}]}
        bomb = {"content": empty_members(1_600_000), "headers": {"content-encoding": "gzip"}}
        answers: list[httpx.Response] = []
        clients = [threading.Thread(target=lambda: answers.append(infer(**bomb))) for _ in range(6)]
        for client in clients:
            client.start()
        assert infer(json=good).json()["outputs"][0]["data"] == [1.0, 0.0]
        for client in clients:
            client.join(PATIENCE_SECONDS)
        assert [(answer.status_code, "members" in answer.text) for answer in answers] == [(400, True)] * 6
        assert infer(json=good).status_code == running.client().get("/ready").status_code == 200


def _usual(running: Worker) -> None:
    answer = running.client().post("/api/predict", content=spoken(3), headers={"content-type": "audio/ogg"})
    assert answer.status_code == 200


def _decoders(running: Worker) -> list[psutil.Process]:
    return psutil.Process(running.process.pid).children()


def _cpu_seconds(running: Worker) -> float:
    return sum(sum(process.cpu_times()[:2]) for process in (psutil.Process(running.process.pid), *_decoders(running)))
