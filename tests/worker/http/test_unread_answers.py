"""Answers that nobody reads are bounded, and cost those nothing who read."""

from __future__ import annotations

import json
import socket
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest
from onnx import TensorProto, helper
from tests import asking
from tests.support import PATIENCE_SECONDS, eventually
from tests.worker.http.serving import post, serving, wav
from tests.worker.running import sealed, worker
from tests.worker.tensor_models import save

from modelward.worker.http.connection import ConnectionLimits
from modelward.worker.http.unread_answers import LARGE_BYTES, Answers, Unread

MIB = 1 << 20


@dataclass(eq=False)
class Asked:
    client: str
    pending: int = 0


@dataclass
class Line:
    peer: str
    unread_bytes: int = 0
    unread_seconds: float = 0.0
    read_rate: float = 0.0
    cuts: int = 0

    def cut(self) -> None:
        self.cuts, self.unread_bytes = self.cuts + 1, 0


@dataclass
class Book:
    lines: list[Line] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.answers = Answers(16 * MIB, lambda: self.lines)

    def allowed(self, client: str, size: int) -> bool:
        asked = Asked(client)
        self.answers.open.add(asked)
        try:
            self.answers.allow(asked, size)
        except Unread:
            return False
        return asked.pending == (size if size >= LARGE_BYTES else 0)


def test_unread_bytes_are_bounded_for_all_and_for_one_client() -> None:
    book = Book()
    assert book.allowed("a", 5 * MIB) and not book.allowed("a", 5 * MIB) and book.allowed("a", 3 * MIB)
    assert book.allowed("b", 8 * MIB) and not book.allowed("c", MIB) and book.allowed("c", MIB - 1)
    assert Book().allowed("a", 100 * MIB)  # the first always may: each answer has a limit of its own


def test_a_client_that_does_not_read_makes_room_for_others_and_one_that_reads_does_not() -> None:
    book = Book([Line("a", 9 * MIB, 60.0, 1e6), Line("b", 6 * MIB, 60.0, 10.0), Line("c", MIB, 0.5, 0.0)])
    assert book.allowed("d", 4 * MIB) and [line.cuts for line in book.lines] == [0, 1, 0]
    assert not book.allowed("e", 4 * MIB) and [line.cuts for line in book.lines] == [0, 1, 0]


@pytest.fixture(scope="module")
def identity(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("identity")
    port = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N"]) for name in "xy"]
    return sealed(
        save(root / ".tmp-i", [helper.make_node("Identity", ["x"], ["y"])], port[:1], port[1:]), "i-v1", "tensor"
    )


def _body(size: int) -> tuple[bytes, dict[str, str]]:
    asked = {"name": "x", "datatype": "FP32", "shape": [size // 4], "parameters": {"binary_data_size": size}}
    head = json.dumps({"inputs": [asked], "parameters": {"binary_data_output": True}}).encode()
    return head + bytes(size), {"inference-header-content-length": str(len(head))}


@pytest.mark.system
def test_answers_that_nobody_reads_do_not_fill_the_memory_and_others_are_answered(
    tmp_path: Path, identity: Path
) -> None:
    with worker(tmp_path, identity, kind="tensor", max_upload_bytes=4 * MIB) as running, ExitStack() as stack:
        data, headers = _body(4 * MIB - 1024)
        fields = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        head = f"POST /v2/models/i/infer HTTP/1.1\r\nHost: x\r\n{fields}Content-Length: {len(data)}\r\n\r\n".encode()
        before, statuses = psutil.Process(running.process.pid).memory_info().rss, []
        for _ in range(60):
            connection = stack.enter_context(socket.socket())
            connection.settimeout(PATIENCE_SECONDS)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.connect(running.listener.getsockname())
            connection.sendall(head + data)
            statuses.append(connection.recv(12)[9:])
        assert statuses[0] == b"200" and b"503" in statuses
        assert psutil.Process(running.process.pid).memory_info().rss - before < 120 * MIB
        small, headers = _body(400_000)
        url = f"{running.url}/v2/models/i/infer"
        assert asking.post(url, content=small, headers=headers).status_code == 200
        data, headers = _body(2 * MIB)
        eventually(lambda: asking.post(url, content=data, headers=headers).status_code == 200)


def test_a_client_that_reads_nothing_is_cut_off(tmp_path: Path) -> None:
    limits = ConnectionLimits(look_seconds=0.5)
    with serving(tmp_path, limits=limits) as served, socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(("127.0.0.1", served.port))
        connection.setblocking(False)
        asked = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 2000
        while asked:
            try:
                asked = asked[connection.send(asked) :]
            except BlockingIOError:
                break
            except OSError:
                break
        eventually(lambda: not served.front.connections)
        assert post(served, wav(1)).status_code == 200


def test_an_answer_whose_size_the_graph_tells_is_refused_before_the_run(tmp_path: Path) -> None:
    shape = helper.make_tensor("shape", TensorProto.INT64, [2], [1 << 14, 1 << 14])
    nodes = [
        helper.make_node("Constant", [], ["shape"], value=shape),
        helper.make_node("Expand", ["x", "shape"], ["y"]),
    ]
    ports = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, [1]),
        helper.make_tensor_value_info("y", TensorProto.FLOAT, [1 << 14, 1 << 14]),
    ]
    artifact = sealed(save(tmp_path / ".tmp-e", nodes, ports[:1], ports[1:]), "e-v1", "tensor")
    with worker(tmp_path / "w", artifact, kind="tensor") as running:
        before = psutil.Process(running.process.pid).memory_info().rss
        data, headers = _body(4)
        answer = asking.post(f"{running.url}/v2/models/e/infer", content=data, headers=headers)
        assert answer.status_code == 400 and "1073741824 bytes" in answer.json()["error"]
        assert psutil.Process(running.process.pid).memory_info().rss - before < 200 * MIB
