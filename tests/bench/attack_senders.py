"""What the attacks of the section `attacks` send, each until it is told to stop, from a process of its own.

They cost more than they bring, not by their number: a client rests between two requests, and connections that were
closed are opened anew every few seconds. Who sends as fast as the network can is for a proxy to slow down.

attack(port, panel, over): `over` is an event.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import resource
import socket
import threading
import time
from collections.abc import Callable
from typing import Any, Final, Protocol

from tests.costly_audio import (
    empty_members,
    quiet_flac,
    slow_wav,
    spoken_webm,
    tracks_webm,
)

CLIENTS: Final = 6
PAUSE_SECONDS: Final = 0.5
HOUR: Final = 3600
UPLOAD: Final = 64 << 20
UNREAD_MIB: Final = 40
_HEAD: Final = "POST {} HTTP/1.1\r\nHost: x\r\n{}Content-Length: {}\r\n\r\n"


class Over(Protocol):
    """An event of any kind."""

    def is_set(self) -> bool: ...
    def wait(self, timeout: float | None = None) -> bool: ...


Attack = Callable[[int, int, Over], None]


def tracks(port: int, panel: int, over: Over) -> None:
    """S1: a WebM of empty tracks and blocks."""
    _repeated(port, over, "/api/predict", tracks_webm(240_000), {"Content-Type": "audio/webm"})


def members(port: int, panel: int, over: Over) -> None:
    """S2: a gzip body of empty members."""
    _repeated(port, over, "/v2/models/m/infer", empty_members((32 << 20) // 20), {"Content-Encoding": "gzip"})


def held_uploads(port: int, panel: int, over: Over) -> None:
    """S3a: uploads of the largest size that stop before their end, and then bring a byte now and then."""
    head = _HEAD.format("/api/predict", "Content-Type: audio/wav\r\n", UPLOAD).encode() + b"RIFF"
    _kept(port, over, 14, lambda: head + bytes(UPLOAD - 44), every_seconds=10)


def slow_bodies(port: int, panel: int, over: Over) -> None:
    """S3b: thousands of connections that bring a byte every five seconds."""
    head = _HEAD.format("/api/predict", "Content-Type: audio/wav\r\n", 100_000).encode() + b"RIFF"
    _kept(port, over, 2500, lambda: head, every_seconds=5, again_seconds=10)


def strangers(port: int, panel: int, over: Over) -> None:
    """S4: changes asked of the panel without a token."""
    _repeated(panel, over, "/v1/rotate", b'{"force":true}', {"X-Modelward": "1"})


def slow_hours(port: int, panel: int, over: Over) -> None:
    """S5: an hour of audio in 3600 bytes."""
    _repeated(port, over, "/api/predict", slow_wav(HOUR), {"Content-Type": "audio/wav"})


def eight_kilohertz(port: int, panel: int, over: Over) -> None:
    """S5: an hour of audio that is taken, as small as it can be."""
    _repeated(port, over, "/api/predict", slow_wav(HOUR - 1, 8000), {"Content-Type": "audio/wav"})


def silence(port: int, panel: int, over: Over) -> None:
    """S5: the same as FLAC of equal samples."""
    _repeated(port, over, "/api/predict", quiet_flac(HOUR - 100), {"Content-Type": "audio/flac"})


def unread(port: int, panel: int, over: Over) -> None:
    """S13: large answers that are not read."""
    rows = (UNREAD_MIB << 20) // 12
    tensor = {"name": "x", "datatype": "FP32", "shape": [rows, 3], "parameters": {"binary_data_size": 12 * rows}}
    told = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    more = f"Inference-Header-Content-Length: {len(told)}\r\n"
    head = _HEAD.format("/v2/models/m/infer", more, len(told) + 12 * rows).encode() + told
    _kept(port, over, 40, lambda: head + bytes(12 * rows), every_seconds=0)


def panel_bodies(port: int, panel: int, over: Over) -> None:
    """S16: connections to the panel that announce a body and send none."""
    _kept(panel, over, 400, lambda: b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 5\r\n\r\n", every_seconds=0)


def long_opus(port: int, panel: int, over: Over) -> None:
    """A6: hours of Opus."""
    _repeated(port, over, "/api/predict", spoken_webm(HOUR - 10), {"Content-Type": "audio/webm"})


def left_opus(port: int, panel: int, over: Over) -> None:
    """A6: the same by clients that leave after a second."""
    _repeated(port, over, "/api/predict", spoken_webm(HOUR - 10), {"Content-Type": "audio/webm"}, timeout=1.0)


def _repeated(
    port: int, over: Over, path: str, body: bytes, headers: dict[str, str], *, timeout: float = 400.0
) -> None:
    def client() -> None:
        while not over.is_set():
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
            with contextlib.suppress(OSError, http.client.HTTPException):
                connection.request("POST", path, body, headers)
                connection.getresponse().read()
            connection.close()
            over.wait(PAUSE_SECONDS)

    for _ in range(CLIENTS):
        threading.Thread(target=client, daemon=True).start()
    over.wait()


def _kept(
    port: int, over: Over, count: int, sent: Callable[[], bytes], *, every_seconds: float, again_seconds: float = 0.0
) -> None:
    """So many connections; those that were closed are opened anew every `again_seconds`, as often as bytes are sent
    where that is 0. Each sends a byte from time to time (0: nothing)."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (20_000, 20_000))
    held: dict[socket.socket, float] = {}

    def opened() -> None:
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(3)
        with contextlib.suppress(OSError):
            connection.connect(("127.0.0.1", port))
            connection.sendall(sent())
            connection.setblocking(False)
            held[connection] = time.monotonic()
            return
        connection.close()

    def open_all() -> None:
        while not over.is_set():
            for _ in range(count - len(held)):
                opened()
            over.wait(again_seconds or every_seconds or 1.0)

    threading.Thread(target=open_all, daemon=True).start()
    while not over.wait(0.2):
        for connection, last in list(held.items()):
            try:
                if every_seconds and time.monotonic() - last >= every_seconds:
                    connection.send(b"a")
                    held[connection] = time.monotonic()
                if every_seconds and connection.recv(65536) == b"" or _reset(connection):
                    raise ConnectionError
            except BlockingIOError:
                pass
            except OSError:
                held.pop(connection, None)
                connection.close()


def _reset(connection: socket.socket) -> bool:
    return bool(connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))


ATTACKS: Final[dict[str, tuple[Attack, str]]] = {
    "S1": (tracks, "speech"),
    "S2": (members, "tensor"),
    "S3a": (held_uploads, "speech"),
    "S3b": (slow_bodies, "speech"),
    "S4": (strangers, "speech"),
    "S5": (slow_hours, "speech"),
    "S5k": (eight_kilohertz, "speech"),
    "S5f": (silence, "speech"),
    "S13": (unread, "tensor"),
    "S16": (panel_bodies, "speech"),
    "A6": (long_opus, "speech"),
    "A6l": (left_opus, "speech"),
}
"""Each by the name of what was found, with the kind of service that it is sent to."""


def send(name: str, port: int, panel: int, over: Any) -> None:
    """The process's whole work."""
    ATTACKS[name][0](port, panel, over)
