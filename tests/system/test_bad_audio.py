"""Whatever clients send, a clear answer comes back and the worker serves on; odd but sound audio is read."""

from __future__ import annotations

import contextlib
import http.client
import io
import json
import socket
import struct
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import soundfile
from tests.house import House, clip
from tests.support import PATIENCE_SECONDS, eventually
from tests.system.conftest import Build
from tests.system.marks import at, mark
from tests.versions import (
    BROKEN,
    broken_version,
    good_version,
    load_slowly,
)

pytestmark = pytest.mark.system

FIRST = "dtmf-v1.0"
MAX_UPLOAD_BYTES = 4 << 20


@pytest.fixture(scope="module")
def town(build_shared: Build) -> House:
    """One worker, so that it is always the same one who answers."""
    house = build_shared(workers={"count": 1, "max_upload": MAX_UPLOAD_BYTES, "max_audio": "1h"})
    good_version(house.models, FIRST)
    return house.start(FIRST)


def _samples() -> tuple[np.ndarray[Any, Any], int]:
    samples, rate = soundfile.read(io.BytesIO(clip()), dtype="float32")
    return samples, rate


def _file(samples: np.ndarray[Any, Any], rate: int, format: str, subtype: str) -> bytes:
    made = io.BytesIO()
    soundfile.write(made, samples, rate, format=format, subtype=subtype)
    return made.getvalue()


def _at_half_the_rate(samples: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Every second sample of what remains below 4 kHz."""
    spectrum = np.fft.rfft(samples)
    spectrum[len(spectrum) // 2 :] = 0
    filtered: np.ndarray[Any, Any] = np.fft.irfft(spectrum, len(samples))[::2]
    return filtered.astype(np.float32)


def _header(**lies: int) -> bytes:
    """A WAV file of the clip whose header says something else in places."""
    data = bytearray(clip())
    places = {"riff": (4, "<I"), "channels": (22, "<H"), "rate": (24, "<I"), "bits": (34, "<H"), "data": (40, "<I")}
    for name, value in lies.items():
        offset, kind = places[name]
        struct.pack_into(kind, data, offset, value)
    return bytes(data)


def _two_hours() -> bytes:
    return _file(np.zeros(2 * 3600 * 4000, dtype=np.int16), 4000, "FLAC", "PCM_16")


BAD: dict[str, tuple[Callable[[], bytes], int, str]] = {
    "empty": (lambda: b"", 400, "empty"),
    "text": (lambda: b"this is no audio at all\n" * 50, 4, "not WAV, FLAC, OGG, MP3"),
    "zeros": (lambda: bytes(10_000), 4, "not WAV"),
    "JSON": (lambda: json.dumps({"audio": "5551234"}).encode(), 4, "not WAV"),
    "a header alone": (lambda: clip()[:44], 4, "no samples"),
    "half a header": (lambda: clip()[:30], 4, "cannot read"),
    "0 Hz": (lambda: _header(rate=0), 4, "cannot read"),
    "4 GHz": (lambda: _header(rate=0xFFFFFFFF), 4, "cannot read"),
    "no channels": (lambda: _header(channels=0), 4, "cannot read"),
    "65535 channels": (lambda: _header(channels=65535), 4, "cannot read"),
    "not a number": (lambda: _file(np.full(16000, np.nan, np.float32), 16000, "WAV", "FLOAT"), 4, "not finite"),
    "two hours": (_two_hours, 4, "at most"),
    "huge": (lambda: clip()[:44] + bytes(MAX_UPLOAD_BYTES), 413, "larger than"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_audio_is_told_what_is_wrong_and_stops_nothing(town: House, case: str) -> None:
    make, status, words = BAD[case]
    [worker] = town.workers()
    data = make()
    for answered, answer in (_as_body(town, data), _as_form(town, data)):
        assert answered // 100 == 4
        assert status in (4, answered)
        assert set(answer["error"]) == {"message", "type", "code"}
        assert answer["error"]["message"].startswith("cannot ")
        assert words in answer["error"]["message"]
    assert town.transcribe()[1]["result"] == "5551234"
    assert [w["pid"] for w in town.workers()] == [worker["pid"]]


ODD: dict[str, Callable[[np.ndarray[Any, Any], int], bytes]] = {
    "64-bit float": lambda samples, rate: _file(samples.astype(np.float64), rate, "WAV", "DOUBLE"),
    "32-bit float": lambda samples, rate: _file(samples, rate, "WAV", "FLOAT"),
    "24-bit": lambda samples, rate: _file(samples, rate, "WAV", "PCM_24"),
    "8-bit": lambda samples, rate: _file(samples, rate, "WAV", "PCM_U8"),
    "mu-law": lambda samples, rate: _file(samples, rate, "WAV", "ULAW"),
    "8 channels": lambda samples, rate: _file(np.tile(samples[:, None], (1, 8)), rate, "WAV", "PCM_16"),
    "8 kHz": lambda samples, rate: _file(_at_half_the_rate(samples), rate // 2, "WAV", "PCM_16"),
    "FLAC": lambda samples, rate: _file(samples, rate, "FLAC", "PCM_16"),
    "OGG Vorbis": lambda samples, rate: _file(samples, rate, "OGG", "VORBIS"),
    "OGG Opus": lambda samples, rate: _file(samples, rate, "OGG", "OPUS"),
    "MP3": lambda samples, rate: _file(samples, rate, "MP3", "MPEG_LAYER_III"),
    "a WAV written to a pipe": lambda samples, rate: _header(riff=0xFFFFFFFF, data=0xFFFFFFFF),
    "0 bits": lambda samples, rate: _header(bits=0),
    "more promised than sent": lambda samples, rate: _header(data=10_000_000),
}
CUT: dict[str, Callable[[], bytes]] = {
    "WAV": lambda: clip()[: len(clip()) // 2],
    "FLAC": lambda: _file(*_samples(), "FLAC", "PCM_16")[:-8000],
}


@pytest.mark.parametrize("case", ODD)
def test_odd_but_sound_audio_is_read_to_the_right_digits(town: House, case: str) -> None:
    data = ODD[case](*_samples())
    for status, answer in (_as_body(town, data), _as_form(town, data)):
        assert (status, answer.get("result")) == (200, "5551234"), answer
        assert answer["duration"] == pytest.approx(2.48, abs=0.1)


@pytest.mark.parametrize("case", CUT)
def test_audio_that_lost_its_end_is_read_as_far_as_it_goes_and_the_answer_says_so(town: House, case: str) -> None:
    for status, answer in (_as_body(town, CUT[case]()), _as_form(town, CUT[case]())):
        assert status == 200 and answer["truncated"] is True, answer
        assert answer["result"] and "5551234".startswith(answer["result"]) and answer["duration"] < 2.48


def test_bodies_that_lie_about_their_length_or_stop_halfway_stop_nothing(town: House) -> None:
    [worker] = town.workers()
    with town.load(clients=2) as load:
        for head, body in (
            (b"Content-Length: 10000000000\r\n", b""),
            (b"Content-Length: -5\r\n", b"x"),
            (b"Content-Length: 1000\r\n", b"x" * 10),
            (b"Content-Length: 10\r\nContent-Length: 20\r\n", b"x" * 20),
            (b"Transfer-Encoding: chunked\r\n", b"FFFFFFFFFFFFFFFF\r\nx"),
            (b"Transfer-Encoding: chunked\r\n", b"10\r\nx"),
            (b"Transfer-Encoding: chunked\r\n", b"no number\r\n"),
        ):
            with _connection(town) as client:
                client.sendall(
                    b"POST /api/predict HTTP/1.1\r\nHost: x\r\nContent-Type: audio/wav\r\n" + head + b"\r\n" + body
                )
                client.shutdown(socket.SHUT_WR)
                answer = client.recv(65536)
                assert answer == b"" or answer.split()[1][:1] == b"4", answer
        with _connection(town) as client, contextlib.suppress(BrokenPipeError, ConnectionResetError):
            client.sendall(b"POST /api/predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n")
            client.sendall(b"Content-Type: audio/wav\r\n\r\n")
            for _ in range(2 * MAX_UPLOAD_BYTES // 65536):
                client.sendall(b"10000\r\n" + bytes(65536) + b"\r\n")
            assert client.recv(65536).split()[1] == b"413"
    assert load.failures == []
    assert [w["pid"] for w in town.workers()] == [worker["pid"]]


def test_no_request_waits_for_a_version_that_is_being_loaded(build: Build) -> None:
    house = build(workers={"count": 1})
    good_version(house.models, FIRST, golden=False)
    house.start(FIRST)
    slow = good_version(house.root / "slow", "dtmf-v1.1", golden=False)
    load_slowly(slow, megabytes=60)  # some hundred times as long as a request
    before = mark(house)
    request = _request(clip())
    with contextlib.ExitStack() as guests:
        silent = guests.enter_context(_connection(house))  # kept alive, says nothing more for a while
        heard = guests.enter_context(silent.makefile("rb"))
        silent.sendall(request)
        assert _response(heard)["version"] == FIRST
        loris = guests.enter_context(_connection(house))
        loris.sendall(b"POST /api/predict HTTP/1.1\r\nHost: x\r\nX-Slow: ")
        deaf = guests.enter_context(_connection(house))  # asks, and never reads what it is told
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.sendall(request * 3)
        eager = guests.enter_context(_connection(house))  # asks before it was answered
        with house.load(clients=4, pause_seconds=0) as load:
            slow.rename(house.models / "dtmf-v1.1")
            eager.sendall(request * 8)
            with contextlib.suppress(OSError):  # it is shown the door after a while
                eventually(lambda: before.events("prepared") or loris.sendall(b"x"))
            eventually(lambda: before.events("prepared"))
        answers = guests.enter_context(eager.makefile("rb"))
        for _ in range(8):
            assert _response(answers)["result"] == "5551234"
        silent.sendall(request)
        assert _response(heard)["result"] == "5551234"
        house.await_serving("dtmf-v1.1")
    [preparing], [prepared] = before.events("preparing"), before.events("prepared")
    lines = [json.loads(line) for line in (house.log_dir / "access.log").read_text().splitlines()]
    meanwhile = [line for line in lines if at(preparing) < at(line) < at(prepared) and line["status"] == 200]
    print(f"loading took {prepared['seconds']:.2f} s; {len(meanwhile)} requests were answered meanwhile")
    assert load.failures == []
    assert len(meanwhile) > 4, "requests waited for it"


def test_health_and_readiness_stay_what_they_are_while_candidates_fail(build: Build) -> None:
    house = build()
    good_version(house.models, FIRST)
    house.start(FIRST)
    house.configure(validation={"timeout": 3, "golden": ""})
    assert house.command("reload")["success"]
    for i, fault in enumerate(("endless_loop", "garbage", "nan_weights")):
        assert fault in BROKEN
        broken_version(house.models, fault, f"dtmf-v2.{i}")
    with contextlib.closing(
        http.client.HTTPConnection("127.0.0.1", house.port, timeout=PATIENCE_SECONDS)
    ) as connection:

        def as_ever_until_all_failed() -> bool:
            for route in ("/health", "/ready"):
                connection.request("GET", route)
                response = connection.getresponse()
                answer = json.loads(response.read())
                assert (response.status, answer["version"]) == (200, FIRST)
            return [v["state"] for v in house.versions().values()].count("rejected") == 3

        eventually(as_ever_until_all_failed)


# how it is asked


@contextlib.contextmanager
def _connection(house: House) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", house.port), timeout=PATIENCE_SECONDS) as made:
        yield made


def _request(audio: bytes) -> bytes:
    head = f"POST /api/predict HTTP/1.1\r\nHost: x\r\nContent-Type: audio/wav\r\nContent-Length: {len(audio)}\r\n\r\n"
    return head.encode() + audio


def _response(stream: Any) -> dict[str, Any]:
    assert stream.readline().split()[1] == b"200"
    length = 0
    while line := stream.readline().strip():
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    answer: dict[str, Any] = json.loads(stream.read(length))
    return answer


def _ask(house: House, data: bytes, kind: str) -> tuple[int, dict[str, Any]]:
    with contextlib.closing(
        http.client.HTTPConnection("127.0.0.1", house.port, timeout=PATIENCE_SECONDS)
    ) as connection:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # the refusal came early: read it
            connection.request("POST", "/api/predict", data, {"Content-Type": kind})
        response = connection.getresponse()
        return response.status, json.loads(response.read())


def _as_body(house: House, data: bytes) -> tuple[int, dict[str, Any]]:
    return _ask(house, data, "audio/wav")


def _as_form(house: House, data: bytes) -> tuple[int, dict[str, Any]]:
    head = b'--X\r\nContent-Disposition: form-data; name="audio"; filename="a.wav"\r\n\r\n'
    return _ask(house, head + data + b"\r\n--X--\r\n", "multipart/form-data; boundary=X")
