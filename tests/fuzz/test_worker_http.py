"""What clients send a worker: forms, bodies, tensors, headers; every answer is one, and the worker goes on."""

from __future__ import annotations

import asyncio
import gzip
import json
import re
import struct
import tempfile
import time
import zlib
from collections.abc import AsyncIterator, Iterator
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from starlette.requests import Request
from tests.fuzz.asking import answered
from tests.fuzz.strategies import (
    altered_text,
    bytes_like,
    fuzzed,
    lines_of,
    twisted,
)
from tests.support import PATIENCE_SECONDS
from tests.worker.http.serving import Served, serving, wav

from modelward.worker.http.compressed import unpack
from modelward.worker.http.daemon_api import DaemonApi, DaemonUnreachable
from modelward.worker.http.errors import ApiError
from modelward.worker.http.tensors import read_request, write_answer
from modelward.worker.http.upload import UploadedClip, read_clip
from modelward.worker.http.upload_limits import Uploads
from modelward.worker.inference.tensor_model import DTYPES, TensorPort

FORM = (
    b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\nContent-Type: audio/wav\r\n\r\n'
    + wav(0.01)
    + b'\r\n--x\r\nContent-Disposition: form-data; name="response_format"\r\n\r\nverbose_json\r\n'
    b'--x\r\nContent-Disposition: form-data; name="timestamp_granularities[]"\r\n\r\nword\r\n'
    b'--x\r\nContent-Disposition: form-data; name="temperature"\r\n\r\n0.2\r\n--x--\r\n'
)
TYPES = ("multipart/form-data; boundary=x", 'multipart/form-data; boundary="x"', "audio/wav", "application/json")
_MAX_BYTES = 20_000


def _request(pieces: list[bytes], content_type: str, length: str | None) -> Request:
    headers = [(b"content-type", content_type.encode("latin-1", "replace"))]
    headers += [(b"content-length", length.encode("latin-1", "replace"))] if length is not None else []

    async def whole() -> AsyncIterator[dict[str, Any]]:
        for piece in pieces:
            yield {"type": "http.request", "body": piece, "more_body": True}
        yield {"type": "http.request", "body": b"", "more_body": False}

    coming = whole()
    uploads = Uploads(places=1, most_bytes=1 << 30, least_rate=0, monotonic=time.monotonic)
    app = SimpleNamespace(state=SimpleNamespace(service=SimpleNamespace(uploads=uploads)))
    scope = {"type": "http", "method": "POST", "path": "/", "headers": headers, "app": app}
    return Request(scope, lambda: anext(coming))


@fuzzed(200)
@given(
    bytes_like(FORM),
    st.lists(st.integers(1, 400), max_size=6),
    st.one_of(st.sampled_from(TYPES), altered_text(*TYPES), st.just("multipart/form-data; boundary*=utf-9''x")),
    st.one_of(st.none(), st.sampled_from(("0", "17", "99999999999", "-1", "٣", "9" * 5000))),
)
@example(FORM, [], "multipart/form-data; boundary=" + "b" * 300, None)
@example(FORM, [], "multipart/form-data; boundary*=x''%ff", None)
@example(FORM.replace(b'name="file"', b"name*=bogus''%ff"), [], TYPES[0], None)
@example(b"--x\r\n" + b"A: b\r\n" * 3000 + b"\r\n--x--\r\n", [], TYPES[0], None)
def test_a_form_is_read_within_its_limits_or_refused(
    body: bytes, cuts: list[int], content_type: str, length: str | None
) -> None:
    pieces, counted = [], [0]
    for cut in cuts:
        pieces.append(body[:cut])
        body = body[cut:]
    request = _request([*pieces, body], content_type, length)

    def count(amount: int) -> None:
        counted[0] += amount

    try:
        clip = asyncio.run(read_clip(request, part="file", max_bytes=_MAX_BYTES, count=count, seconds=PATIENCE_SECONDS))
    except ApiError as e:
        assert 400 <= e.status < 500 and e.message.startswith("cannot")
        return
    assert (
        isinstance(clip, UploadedClip) and len(clip.data or b"") <= _MAX_BYTES and len(clip.data or b"") == counted[0]
    )
    assert len(clip.fields) <= 32 and all(len(value) <= 4096 for value in clip.fields.values())


PORTS = (
    TensorPort("x", "FP32", (-1, -1)),
    TensorPort("s", "BYTES", (-1, 1)),
    TensorPort("i", "INT8", (2,)),
    TensorPort("b", "BOOL", (-1,)),
)
OUTPUTS = (TensorPort("y", "FP32", (-1,)),)
INFER = {
    "id": "1",
    "inputs": [
        {"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [[1.0, 2.5]]},
        {"name": "s", "shape": [2, 1], "datatype": "BYTES", "data": ["a", "b"]},
        {"name": "i", "shape": [2], "datatype": "INT8", "data": [1, -1]},
        {"name": "b", "shape": [1], "datatype": "BOOL", "data": [True]},
    ],
    "outputs": [{"name": "y", "parameters": {"binary_data": True}}],
}
BINARY = {
    "inputs": [
        {"name": "x", "shape": [1, 2], "datatype": "FP32", "parameters": {"binary_data_size": 8}},
        {"name": "s", "shape": [1, 1], "datatype": "BYTES", "parameters": {"binary_data_size": 6}},
        {"name": "i", "shape": [2], "datatype": "INT8", "parameters": {"binary_data_size": 2}},
        {"name": "b", "shape": [1], "datatype": "BOOL", "parameters": {"binary_data_size": 1}},
    ],
    "parameters": {"binary_data_output": True},
}
TAIL = struct.pack("<ff", 1, 2) + struct.pack("<I", 2) + b"ab" + b"\x01\xff" + b"\x02"


def _one(port: TensorPort, **entry: Any) -> bytes:
    return json.dumps({"inputs": [{"name": port.name, "datatype": port.datatype, **entry}]}).encode()


def _asked(head: bytes, tail: bytes, length: int | None, ports: tuple[TensorPort, ...] = PORTS) -> None:
    try:
        wanted = read_request(head + tail, length, ports, OUTPUTS)
    except ApiError as e:
        assert e.status in (400, 413) and e.message.startswith("cannot") and len(e.message) < 20_000
        return
    for port in ports:
        array = wanted.feeds[port.name]
        assert array.dtype == DTYPES[port.datatype] and array.ndim == len(port.shape)
        assert all(size in (-1, there) for size, there in zip(port.shape, array.shape, strict=True))
        assert array.nbytes <= 64 * (len(head) + len(tail)) + 64
        if port.datatype == "BYTES":
            assert all(isinstance(text, str) for text in array.ravel())
    answer = write_answer({"model_name": "m"}, wanted, OUTPUTS, [np.array([1.5, np.nan], np.float32)])
    msgspec.json.decode(answer[0])


_HEADS = st.one_of(
    twisted(INFER, BINARY).map(lambda value: json.dumps(value).encode()), bytes_like(*lines_of(INFER, BINARY))
)


@fuzzed(300)
@given(
    _HEADS,
    st.one_of(st.just(TAIL), st.just(b""), bytes_like(TAIL)),
    st.one_of(st.none(), st.integers(0, 400)),
    st.booleans(),
)
def test_tensors_fit_the_model_or_are_refused(head: bytes, tail: bytes, length: int | None, right: bool) -> None:
    _asked(head, tail, len(head) if right else length)


_SHAPES = st.lists(st.sampled_from((0, 1, 2, -1, 2**31, 2**62, 2**63 - 1)), min_size=2, max_size=2)


@fuzzed(150)
@given(
    st.sampled_from(("FP32", "BYTES", "INT64", "BOOL", "UINT8")),
    _SHAPES,
    st.sampled_from(([], [[]], [1], [["a"], ["b", "c"]], [[1], [1, 2]])),
)
@example("FP32", [0, 2**62], [])
@example("BYTES", [2, 1], [["a"], ["b", "c"]])
@example("BYTES", [0, 2**63 - 1], [])
def test_a_shape_that_no_memory_holds_is_refused(datatype: str, shape: list[int], data: list[Any]) -> None:
    port = TensorPort("x", datatype, (-1, -1))
    _asked(_one(port, shape=shape, data=data), b"", None, (port,))
    head = _one(port, shape=shape, parameters={"binary_data_size": 0})
    _asked(head, b"", len(head), (port,))


@fuzzed(100)
@given(
    st.one_of(bytes_like(gzip.compress(b"abc" * 100)), bytes_like(zlib.compress(b"abc" * 100))),
    st.sampled_from((zlib.MAX_WBITS, zlib.MAX_WBITS | 16)),
)
@example(gzip.compress(bytes(10 << 20)), zlib.MAX_WBITS | 16)
@example(gzip.compress(b"") * 2000, zlib.MAX_WBITS | 16)
def test_a_packed_body_never_grows_past_its_limit(data: bytes, window: int) -> None:
    try:
        assert len(unpack(data, window, 1000)) <= 1000
    except ApiError as e:
        assert e.status in (400, 413)


HEAD = (
    b"POST /v1/audio/transcriptions HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=x\r\n"
    b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(FORM)
)
REQUESTS = (
    HEAD + FORM,
    b"POST /api/predict?language=zh&itn=1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: audio/wav\r\n"
    b"Content-Length: %d\r\n\r\n" % len(wav(0.01)) + wav(0.01),
    b"POST /v2/models/v1/infer HTTP/1.1\r\nHost: x\r\nConnection: close\r\nInference-Header-Content-Length: 20\r\n"
    b"Content-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    b"GET /v2/models/v1/versions/1/config HTTP/1.1\r\nHost: x\r\nX-Request-Id: a\r\nConnection: close\r\n\r\n",
    b"POST /v2/repository/models/v1/load HTTP/1.1\r\nHost: x\r\nOrigin: http://x\r\nConnection: close\r\n"
    b'Content-Length: 17\r\n\r\n{"parameters":{}}',
    b"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 7\r\n\r\ntoken=x",
)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("served"), max_upload_bytes=50_000) as running:
        yield running


@fuzzed(80)
@given(data=bytes_like(*REQUESTS, head=250))
@example(data=b"POST /api/reload-model HTTP/1.1\r\nHost: x\r\nOrigin: http://[\r\nConnection: close\r\n\r\n")
@example(data=b"GET /v1/models/%ed%a0%80 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
@example(data=b"GET /\xff%ff HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
def test_no_request_makes_the_worker_fail(served: Served, data: bytes) -> None:
    for status, answer in _statuses(served, data, 0.1):
        assert status < b"500" or status == b"503", (data[:300], answer[:500])
    assert _statuses(served, b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 20)[0][0] == b"200"
    assert served.counters.errors == 0
    assert b"a request failed" not in (served.directory / "error.log").read_bytes()


def _statuses(served: Served, data: bytes, seconds: float) -> list[tuple[bytes, bytes]]:
    """The statuses that came within the time, each with the whole answer."""
    answer = answered(("127.0.0.1", served.port), data, seconds)
    return [(found, answer) for found in re.findall(rb"(?:^|\r\n)HTTP/1\.1 (\d+)", answer)]


@fuzzed(60)
@given(
    bytes_like(
        b'HTTP/1.1 200 OK\r\nContent-Length: 31\r\n\r\n{"success":true,"message":"ok"}',
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
    )
)
@example(answer=b"HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n")
def test_the_daemons_answer_is_read_or_said_to_be_unreadable(answer: bytes) -> None:
    async def whole() -> None:
        with tempfile.TemporaryDirectory() as directory:
            path = f"{directory}/api.sock"

            async def reply(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                await reader.readuntil(b"\r\n\r\n")
                writer.write(answer)
                writer.close()

            async with await asyncio.start_unix_server(reply, path):
                try:
                    client = Request({"type": "http"}, _stays)
                    found = await DaemonApi(path, set()).request(
                        client, "GET", "/v1/versions", seconds=PATIENCE_SECONDS
                    )
                    assert 100 <= found.status <= 999
                except DaemonUnreachable as e:
                    assert str(e)

    asyncio.run(whole())


async def _stays() -> Any:
    """What a client sends that only waits."""
    await asyncio.Event().wait()
