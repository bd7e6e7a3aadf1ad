"""sherpa-onnx's own offline server, asked over WebSocket as its protocol wants: sample rate, size, float samples.

The server takes a clip in one run, whatever its length; the client cuts long ones every 30 s.
"""

from __future__ import annotations

import base64
import json
import os
import socket
import struct

from tests.bench.clips import Clip
from tests.bench.load import TIMEOUT_SECONDS, Answer, Failed
from tests.bench.peers.peer import CORES, Peer, Place
from tests.bench.precision import FILE, of

RATE = 16000
WINDOW = 30 * RATE


def command(place: Place) -> list[str]:
    version = place.link.resolve()
    return [
        str(place.bin / "sherpa-onnx-offline-websocket-server"),
        f"--port={place.port}",
        f"--num-work-threads={place.workers}",
        "--num-threads=1",
        f"--tokens={version / 'tokens.txt'}",
        f"--sense-voice-model={version / FILE[of(version)]}",
        f"--log-file={place.scratch / 'log.txt'}",
    ]


def ask(port: int, clip: Clip) -> Answer:
    texts = []
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_SECONDS) as s:
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            stream = WebSocket(s)
            for at in range(0, len(clip.samples), WINDOW):
                data = clip.samples[at : at + WINDOW].astype("<f4").tobytes()
                stream.send(struct.pack("<ii", RATE, len(data)) + data)
                texts.append(json.loads(stream.receive())["text"])
            stream.send(b"Done", text=True)
    except (OSError, ValueError, KeyError) as e:
        raise Failed(repr(e)) from e
    return Answer(" ".join(filter(None, texts)))


class WebSocket:
    """The client's side of RFC 6455 as far as it is needed: whole messages, no extensions."""

    def __init__(self, s: socket.socket) -> None:
        self._socket = s
        self._file = s.makefile("rb")
        key = base64.b64encode(os.urandom(16)).decode()
        host, port = s.getpeername()
        s.sendall(
            f"GET / HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        if b" 101 " not in self._file.readline():
            raise OSError("the server takes no WebSocket")
        while self._file.readline().strip():
            pass

    def send(self, data: bytes, *, text: bool = False) -> None:
        """One message in one frame. The mask is zero: it changes nothing, and costs the client no time."""
        size = len(data)
        head = bytes([0x81 if text else 0x82])
        head += bytes([0x80 | size]) if size < 126 else struct.pack(">BH", 0xFE, size) if size < 65536 else b""
        if size >= 65536:
            head += struct.pack(">BQ", 0xFF, size)
        self._socket.sendall(head + bytes(4) + data)

    def receive(self) -> bytes:
        head = self._file.read(2)
        if len(head) < 2 or head[0] & 0x0F == 8:
            raise OSError("the server closed the connection")
        size = head[1] & 0x7F
        if size == 126:
            size = struct.unpack(">H", self._file.read(2))[0]
        elif size == 127:
            size = struct.unpack(">Q", self._file.read(8))[0]
        return self._file.read(size)


PEER = Peer(
    name="sherpa",
    title="sherpa-onnx server",
    requirements=("sherpa-onnx", "sherpa-onnx-bin", "numpy"),
    command=command,
    ask=ask,
    parallel=CORES,
    setup="`sherpa-onnx-offline-websocket-server`, one work thread for each core, one thread for each session",
)
