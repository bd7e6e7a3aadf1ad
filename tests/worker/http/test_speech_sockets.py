"""The clients of FunASR's runtime and of sherpa-onnx's server, unchanged, and what strangers do to a WebSocket."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import os
import re
import select
import socket
import struct
import subprocess
import sys
import wave
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests import asking
from tests.support import PATIENCE_SECONDS, eventually
from tests.worker.http.serving import Served, post, serving, wav
from tests.worker.running import Worker, clip, digits, worker
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from modelward.worker.http.connection import ConnectionLimits
from modelward.worker.http.handshake import MESSAGE_BYTES, is_handshake
from modelward.worker.http.speech_sessions import SESSIONS
from modelward.worker.http.speech_socket import UNREAD_BYTES

DIGITS = "5551234"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    with worker(tmp_path_factory.mktemp("sockets"), digits()) as running:
        yield running


def uri(url: str) -> str:
    return url.replace("http://", "ws://") + "/"


@contextmanager
def talking(url: str, **options: Any) -> Iterator[ClientConnection]:
    options = {"open_timeout": PATIENCE_SECONDS, "proxy": None, **options}
    with connect(uri(url), **options) as connection:
        yield connection


def samples(name: str = DIGITS) -> tuple[bytes, int]:
    with wave.open(io.BytesIO(clip(name))) as file:
        return file.readframes(file.getnframes()), file.getframerate()


def heard(connection: ClientConnection) -> dict[str, Any]:
    found = json.loads(connection.recv(PATIENCE_SECONDS))
    assert isinstance(found, dict)
    return found


def send_funasr(connection: ClientConnection, data: bytes, **settings: Any) -> None:
    told = {"mode": "offline", "chunk_size": [5, 10, 5], "wav_name": "a", "wav_format": "pcm", "is_speaking": True}
    with suppress(ConnectionClosed):  # it was answered before its end: the answer is there to be read
        connection.send(json.dumps({**told, "hotwords": "", "itn": False, **settings}))
        for start in range(0, len(data), 1920):
            connection.send(data[start : start + 1920])
        connection.send(json.dumps({"is_speaking": False}))


def send_sherpa(connection: ClientConnection, name: str = DIGITS) -> None:
    """As sherpa-onnx's own example does: pieces that know nothing of the head's bounds."""
    pcm, rate = samples(name)
    floats = np.frombuffer(pcm, np.int16).astype(np.float32) / 32768
    buffer = rate.to_bytes(4, "little") + (floats.size * 4).to_bytes(4, "little") + floats.tobytes()
    while buffer:
        connection.send(buffer[:10240])
        buffer = buffer[10240:]


# their own clients


@pytest.mark.filterwarnings("ignore:connect:DeprecationWarning")  # what that client uses
def test_the_published_client_of_funasr_is_answered(running: Worker, tmp_path: Path) -> None:
    funasr = pytest.importorskip("funasr_client.file_asr", reason="funasr-client is not installed")
    path = tmp_path / "a.wav"
    path.write_bytes(clip(DIGITS))

    async def ask() -> tuple[list[Any], Any]:  # the other client of the package waits for itself when it closes
        offline = [m async for m in funasr.async_file_asr_stream(path, uri(running.url), mode="offline", itn=False)]
        return offline, await funasr.async_file_asr(path, uri(running.url), mode="2pass", itn=False)

    offline, both = asyncio.run(ask())
    assert [(m["text"], m["mode"], m["is_final"], m["wav_name"]) for m in offline] == [
        (DIGITS, "offline", True, "a.wav")
    ]
    times = offline[0]["timestamp"]
    assert len(times) == len(DIGITS) and all(start < end for start, end in times) and times == sorted(times)
    assert both["text"] == DIGITS


def test_a_file_of_any_format_may_be_sent_as_it_is(running: Worker) -> None:
    flac = io.BytesIO()
    import soundfile

    pcm, rate = samples()
    soundfile.write(flac, np.frombuffer(pcm, np.int16), rate, format="FLAC")
    with talking(running.url) as connection:
        for data, form in ((flac.getvalue(), "others"), (clip(DIGITS), "wav"), (clip(DIGITS), "pcm"), (pcm, "pcm")):
            send_funasr(connection, data, wav_format=form, audio_fs=rate)
            assert heard(connection)["text"] == DIGITS, form


def test_several_files_come_over_one_connection_and_the_newest_client_hears_the_end(running: Worker) -> None:
    with talking(running.url, subprotocols=["binary"]) as connection:
        assert connection.subprotocol == "binary"
        for name in (DIGITS, "0123456789", DIGITS):
            pcm, rate = samples(name)
            connection.send(json.dumps({"mode": "offline", "audio_fs": rate, "wav_name": name, "itn": False}))
            connection.send(pcm)
            connection.send(json.dumps({"is_speaking": False, "is_end": True}))
            answer = heard(connection)
            assert (answer["text"], answer["wav_name"]) == (name, name)
            assert (answer["is_end"], answer["is_final"]) == (True, True)


def test_the_example_of_sherpa_is_answered(running: Worker) -> None:
    with talking(running.url) as connection:
        for name in (DIGITS, "0123456789"):
            send_sherpa(connection, name)
            answer = heard(connection)
            assert re.sub(r"\W", "", answer["text"]) == name
            assert re.fullmatch(r"<\|\w+\|>", answer["lang"]) and len(answer["tokens"]) == len(answer["timestamps"])
        connection.send("Done")
        with pytest.raises(ConnectionClosed) as closed:
            connection.recv(PATIENCE_SECONDS)
        assert closed.value.rcvd is not None and closed.value.rcvd.code == 1000


def test_each_clip_is_a_request_in_log_and_figures(running: Worker) -> None:
    def lines() -> list[dict[str, Any]]:
        return [line for line in running.lines("access.log") if line["path"] == "/sherpa-onnx"]

    before = len(lines())
    with talking(running.url) as connection:
        send_sherpa(connection)
        answer = heard(connection)
    eventually(lambda: len(lines()) > before)  # it is written after the answer
    assert [(line["status"], line["version"]) for line in lines()[before:]] == [(200, "dtmf-v1.0")]
    assert answer["version"] == "dtmf-v1.0"
    eventually(lambda: [line for line in running.lines("access.log") if (line["path"], line["status"]) == ("/", 101)])


# settings, with a model that tells what it was given


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with serving(tmp_path, max_upload_bytes=1 << 20, trusted_proxies=("127.0.0.1",)) as served:
        yield served


def closed_with(connection: ClientConnection) -> tuple[int, str]:
    with pytest.raises(ConnectionClosed) as closed:
        while True:
            connection.recv(PATIENCE_SECONDS)
    assert closed.value.rcvd is not None
    return closed.value.rcvd.code, closed.value.rcvd.reason


def test_language_and_marks_are_taken_and_stay(served: Served) -> None:
    model = served.models["v1"]
    with talking(served.url) as connection:
        send_funasr(connection, bytes(32000), svs_lang="zh", svs_itn=True)
        assert heard(connection)["text"] == "v1+itn"
        connection.send(bytes(32000))
        connection.send('{"is_finished": true}')
        assert heard(connection)["text"] == "v1+itn"
        assert [language for _, language in model.said] == ["zh", "zh"]


def test_no_sound_is_an_empty_text_as_it_is_there(served: Served) -> None:
    with talking(served.url) as connection:
        send_funasr(connection, b"")
        assert heard(connection)["text"] == ""
    with talking(served.url) as connection:
        connection.send(struct.pack("<ii", 16000, 0))
        assert heard(connection)["text"] == ""


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ("{", "it is not JSON"),
        ("[1]", "not a JSON object"),
        ('{"mode": "online"}', "'online' is not served here"),
        ('{"audio_fs": 1}', "the sample rate is 1"),
        ('{"audio_fs": "fast"}', "the sample rate is fast"),
        ('{"wav_name": 5}', "wav_name is not a string"),
        *((json.dumps({key: "x" * 256}), f"{key} is longer") for key in ("svs_lang", "wav_format", "mode")),
        ("[" * 5000, "it is not JSON"),
        (struct.pack("<ii", 16000, -4), "-4 bytes are not float samples"),
        (struct.pack("<ii", 16000, 6), "6 bytes are not float samples"),
        (struct.pack("<ii", 0, 4), "the sample rate is 0"),
        (struct.pack("<ii", 16000, 4) + bytes(8), "4 bytes longer than was announced"),
    ],
)
def test_what_cannot_be_used_ends_the_connection_with_the_reason(
    served: Served, message: str | bytes, reason: str
) -> None:
    with talking(served.url) as connection:
        connection.send(message)
        code, why = closed_with(connection)
        assert code == 1003 and reason in why, why
    assert asking.get(served.url + "/health").status_code == 200


def test_the_reason_is_told_in_the_protocols_own_message_too(served: Served) -> None:
    with talking(served.url) as connection:
        send_funasr(connection, b"no sound at all, of no format", wav_format="mp3", is_end=True)
        told = heard(connection)
        assert told["error"]["code"] == "unsupported_audio" and told["is_final"] is False and "text" not in told
        assert closed_with(connection)[0] == 1003


def test_too_large_a_clip_is_refused(served: Served) -> None:
    with talking(served.url) as connection:
        connection.send(struct.pack("<ii", 16000, 2 << 20))
        assert closed_with(connection)[0] == 1009
    with talking(served.url) as connection:
        connection.send('{"mode": "offline"}')
        with suppress(ConnectionClosed):
            for _ in range(64):
                connection.send(bytes(64 << 10))
        assert closed_with(connection)[0] == 1009
    with talking(served.url) as connection:
        connection.send(bytes(MESSAGE_BYTES + 1))
        assert closed_with(connection)[0] == 1009
    eventually(lambda: served.uploads.bytes == 0 and not served.front.connections)


def test_a_message_in_too_many_pieces_is_refused(served: Served) -> None:
    with opened(served) as connection:
        connection.sendall(frame(b"", opcode=2, last=False) + frame(b"", opcode=0, last=False) * 3000)
        assert ended(connection)


def test_a_worker_without_a_model_says_so(tmp_path: Path) -> None:
    with serving(tmp_path, version="", request_timeout_seconds=0.5) as served, talking(served.url) as connection:
        send_funasr(connection, bytes(32000))
        assert heard(connection)["error"]["code"] == "no_model"
        assert closed_with(connection)[0] == 1013


def test_a_client_that_leaves_is_not_worked_for(served: Served) -> None:
    model = served.models["v1"]
    model.go.clear()
    with talking(served.url) as connection:
        send_funasr(connection, bytes(32000))
        eventually(lambda: served.work.load == 1)
    eventually(lambda: served.work.load == 0)
    assert not model.said
    eventually(lambda: not served.front.connections)


def test_a_busy_connection_is_kept_and_an_idle_one_is_closed_when_the_worker_leaves(served: Served) -> None:
    model = served.models["v1"]
    with talking(served.url) as idle, talking(served.url) as busy:
        model.go.clear()
        send_funasr(busy, bytes(32000))
        eventually(lambda: served.work.load == 1)
        drained = asyncio.run_coroutine_threadsafe(served.front.drain(PATIENCE_SECONDS), served.loop)
        assert closed_with(idle)[0] == 1012
        model.go.set()
        assert heard(busy)["text"] == "v1"
        assert closed_with(busy)[0] == 1012
        assert drained.result(PATIENCE_SECONDS) == 0


def test_connections_are_counted_and_an_idle_one_makes_room(tmp_path: Path) -> None:
    with serving(tmp_path, limits=ConnectionLimits(connections=2)) as served:
        with talking(served.url) as first, talking(served.url) as second:
            assert asking.get(served.url + "/health").status_code == 200
            assert closed_with(first)[0] == 1012
            send_funasr(second, bytes(3200))
            assert heard(second)["text"] == "v1"
        eventually(lambda: not served.front.connections)


# who may talk


def refused(url: str, **options: Any) -> int:
    with pytest.raises(InvalidStatus) as caught, talking(url, **options):
        pass
    response = caught.value.response
    assert response.headers["Connection"] == "close" and json.loads(response.body)["error"]["message"]
    return response.status_code


def test_a_token_is_asked_for_at_the_handshake(tmp_path: Path) -> None:
    (tmp_path / "tokens").write_text("secret\n")
    with serving(tmp_path, token_file=str(tmp_path / "tokens")) as served:
        assert refused(served.url) == 401
        assert refused(served.url, additional_headers={"Authorization": "Bearer wrong"}) == 401
        with talking(served.url, additional_headers={"Authorization": "Bearer secret"}) as connection:
            send_funasr(connection, bytes(32000))
            assert heard(connection)["text"] == "v1"
            (tmp_path / "tokens").write_text("another\n")
            eventually(
                lambda: (
                    asking.get(served.url + "/v1/models", headers={"Authorization": "Bearer secret"}).status_code == 401
                )
            )
            send_funasr(connection, bytes(32000))
            assert heard(connection)["error"]["code"] == "bad_token"
            assert closed_with(connection)[0] == 1008


def test_a_page_of_another_origin_may_not_talk_unless_it_is_named(tmp_path: Path) -> None:
    with serving(tmp_path, cors_origins=("https://app.example.org",)) as served:
        assert refused(served.url, origin="https://evil.example.org") == 403
        assert refused(served.url, origin="null") == 403
        for origin in ("https://app.example.org", served.url):
            with talking(served.url, origin=origin) as connection:
                send_funasr(connection, bytes(32000))
                assert heard(connection)["text"] == "v1"


def test_a_websocket_at_any_other_path_is_refused(served: Served) -> None:
    for path in ("health", "v1/models", "api/reload-model", "static/app.js"):
        assert refused(served.url.rstrip("/") + "/" + path) == 404


def test_one_client_leaves_room_for_the_websockets_of_others(served: Served) -> None:
    with ExitStack() as open_ones:
        for _ in range(SESSIONS // 2):
            open_ones.enter_context(opened(served))
        assert refused(served.url) == 503
        with talking(served.url, additional_headers={"X-Forwarded-For": "203.0.113.7"}) as other:
            send_funasr(other, bytes(32000))
            assert heard(other)["text"] == "v1"
    eventually(lambda: not served.front.connections)
    with talking(served.url) as connection:
        send_funasr(connection, bytes(32000))
        assert heard(connection)["text"] == "v1"


# what strangers do


KEY = base64.b64encode(os.urandom(16))
HEAD = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
HANDSHAKE = HEAD + b"Sec-WebSocket-Key: " + KEY + b"\r\n\r\n"
SMUGGLED = b"GET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n"


@contextmanager
def opened(served: Served) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", served.port), timeout=PATIENCE_SECONDS) as connection:
        connection.sendall(HANDSHAKE)
        assert connection.recv(65536).startswith(b"HTTP/1.1 101 ")
        yield connection


def frame(data: bytes, *, opcode: int = 1, last: bool = True) -> bytes:
    return bytes([opcode | 0x80 * last, 0x80 | len(data)]) + bytes(4) + data


def ended(connection: socket.socket) -> bytes:
    found = b""
    try:
        while more := connection.recv(65536):
            found += more
    except ConnectionResetError:
        pass
    return found or b"reset"


def test_no_byte_after_a_handshake_is_read_as_a_request(served: Served) -> None:
    with opened(served) as connection:
        connection.sendall(SMUGGLED)
        assert b"HTTP/1.1" not in ended(connection)
    with socket.create_connection(("127.0.0.1", served.port), timeout=PATIENCE_SECONDS) as connection:
        connection.sendall(HANDSHAKE + SMUGGLED)  # in one piece, before the handshake was answered
        answer = ended(connection)
        assert answer.count(b"HTTP/1.1 ") == 1 and answer.startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize(
    "head",
    [
        HANDSHAKE.replace(b"Version: 13", b"Version: 12"),
        HANDSHAKE.replace(KEY, b"short"),
        HANDSHAKE.replace(b"GET / ", b"GET /health "),
        HANDSHAKE.replace(b"\r\n\r\n", b"\r\nOrigin: https://evil.example.org\r\n\r\n"),
        HANDSHAKE.replace(b"\r\n\r\n", b"".join(b"\r\nA%d: x" % n for n in range(200)) + b"\r\n\r\n"),
        HANDSHAKE.replace(b"\r\n\r\n", b"\r\nA: " + b"x" * 10000 + b"\r\n\r\n"),
    ],
)
def test_a_handshake_that_is_refused_ends_the_connection(served: Served, head: bytes) -> None:
    with socket.create_connection(("127.0.0.1", served.port), timeout=PATIENCE_SECONDS) as connection:
        connection.sendall(head)
        assert re.match(rb"HTTP/1\.1 4\d\d ", connection.recv(65536))
        try:
            connection.sendall(SMUGGLED)
        except OSError:
            return
        assert b"HTTP/1.1" not in ended(connection)
    eventually(lambda: not served.front.connections)


@pytest.mark.parametrize(
    "head",
    [
        HANDSHAKE.replace(b"GET", b"POST").replace(b"\r\n\r\n", b"\r\nContent-Length: 4\r\n\r\nbody"),
        HANDSHAKE.replace(b"\r\n\r\n", b"\r\nContent-Length: 4\r\n\r\nbody"),
        HANDSHAKE.replace(b"\r\n\r\n", b"\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n"),
        HANDSHAKE.replace(b"Upgrade: websocket", b"Upgrade: websocket, h2c"),
        HEAD + b"\r\n",
    ],
)
def test_what_is_no_handshake_is_a_plain_request_as_before(served: Served, head: bytes) -> None:
    with socket.create_connection(("127.0.0.1", served.port), timeout=PATIENCE_SECONDS) as connection:
        connection.sendall(head + b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answer = ended(connection)
        assert answer.count(b"HTTP/1.1 ") == 2 and b" 101 " not in answer and answer.count(b'"status":"ok"') == 1


def test_a_handshake_behind_a_request_that_is_not_answered_is_not_taken(served: Served) -> None:
    model = served.models["v1"]
    model.go.clear()
    post = f"POST /api/predict HTTP/1.1\r\nHost: x\r\nContent-Type: audio/wav\r\nContent-Length: {len(wav(1))}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", served.port), timeout=PATIENCE_SECONDS) as connection:
        connection.sendall(post.encode() + wav(1) + HANDSHAKE)
        eventually(lambda: served.work.load == 1)
        model.go.set()
        connection.sendall(LAST)
        answer = ended(connection)
        assert b'"result":"v1"' in answer and b" 101 " not in answer and answer.count(b"HTTP/1.1 200 ") == 3


def test_a_handshake_behind_an_answer_that_is_not_read_is_not_taken(served: Served) -> None:
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(("127.0.0.1", served.port))
        connection.settimeout(PATIENCE_SECONDS)
        (held,) = eventually(lambda: served.front.connections)
        held.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        asked = 0
        while not held.unread_seconds:
            connection.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n")
            asked += 1
            eventually(lambda: held.unread_seconds or (held.cycle is not None and held.cycle.response_complete))
        connection.sendall(HANDSHAKE + LAST)
        answer = ended(connection)
        assert b" 101 " not in answer and answer.count(b"HTTP/1.1 200 ") == asked + 2


LAST = b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


def test_pings_whose_answers_nobody_reads_end_the_connection(served: Served) -> None:
    with opened(served) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        flood = frame(bytes(120), opcode=9) * 1000
        with pytest.raises(OSError):
            for _ in range(2000):
                connection.sendall(flood)
    eventually(lambda: not served.front.connections)


def test_a_client_that_leaves_its_answers_unread_is_cut_off(tmp_path: Path) -> None:
    with serving(tmp_path, limits=ConnectionLimits(unread_seconds=1)) as served, socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(("127.0.0.1", served.port))
        connection.sendall(HANDSHAKE)
        assert connection.recv(65536).startswith(b"HTTP/1.1 101 ")
        (held,) = served.front.connections
        held.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        connection.sendall(frame(bytes(125), opcode=9) * (UNREAD_BYTES // 2 // 125))
        eventually(lambda: held.unread_seconds > 0)
        assert held.unread_bytes < UNREAD_BYTES
        eventually(lambda: not served.front.connections)


def fragment(size: int) -> bytes:
    """The beginning of a message of one byte more."""
    return bytes([2 | 0x80, 0x80 | 127]) + (size + 1).to_bytes(8, "big") + bytes(4 + size)


def test_a_message_counts_as_an_upload_from_its_first_byte_on_and_not_beyond_the_connection(served: Served) -> None:
    with opened(served) as one, opened(served) as two:
        one.sendall(fragment(100_000))
        eventually(lambda: served.uploads.bytes == 100_000)
        two.sendall(frame(bytes(100), opcode=2, last=False) + frame(bytes(100), opcode=0, last=False) * 49)
        eventually(lambda: served.uploads.bytes == 105_000)
        one.sendall(b"\0")  # it is whole, and taken: no clip of sherpa-onnx begins so
        assert b"\x03\xeb" in ended(one)
        eventually(lambda: served.uploads.bytes == 5_000)
    eventually(lambda: served.uploads.bytes == 0)


def test_messages_that_wait_leave_room_for_uploads_and_for_other_clients(tmp_path: Path) -> None:
    limits: dict[str, Any] = {"max_upload_bytes": 8 << 20, "trusted_proxies": ("127.0.0.1",)}
    with serving(tmp_path, **limits) as served, ExitStack() as held:  # 16 MiB of uploads in all
        ends = [held.enter_context(opened(served)) for _ in range(4)]
        for connection in ends:
            connection.sendall(fragment(900_000))

        def cut() -> list[socket.socket]:
            return [end for end in ends if select.select([end], [], [], 0)[0]]

        eventually(cut)
        eventually(lambda: served.uploads.bytes == 900_000 * (len(ends) - len(cut())))
        assert b"\x03\xf5" in ended(cut()[0])  # 1013: later
        assert served.uploads.bytes <= (16 << 20) // 8
        with socket.create_connection(("127.0.0.1", served.port), timeout=PATIENCE_SECONDS) as other:
            other.sendall(HANDSHAKE.replace(b"\r\n\r\n", b"\r\nX-Forwarded-For: 203.0.113.7\r\n\r\n"))
            other.recv(65536)
            before = served.uploads.bytes
            other.sendall(fragment(900_000))
            eventually(lambda: served.uploads.bytes == before + 900_000)
            assert post(served, wav(1)).status_code == 200


def test_a_worker_loads_the_library_at_the_first_handshake_alone() -> None:
    asked = (
        "import sys, modelward.worker.process; print([n for n in sys.modules if n.partition('.')[0] == 'websockets'])"
    )
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, timeout=PATIENCE_SECONDS)
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_only_a_whole_handshake_is_one() -> None:
    right = [
        (b"connection", b"keep-alive, Upgrade"),
        (b"upgrade", b"WebSocket"),
        (b"sec-websocket-key", b"x"),
        (b"host", b"x"),
    ]
    assert is_handshake("1.1", b"GET", right)
    assert is_handshake("1.1", b"GET", [*right, (b"content-length", b"0")])
    assert not is_handshake("1.0", b"GET", right)
    assert not is_handshake("1.1", b"POST", right)
    for missing in range(3):
        assert not is_handshake("1.1", b"GET", right[:missing] + right[missing + 1 :])
    for more in (
        (b"upgrade", b"h2c"),
        (b"sec-websocket-key", b"y"),
        (b"content-length", b"1"),
        (b"transfer-encoding", b"chunked"),
    ):
        assert not is_handshake("1.1", b"GET", [*right, more])
