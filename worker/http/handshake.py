"""Which requests ask for a WebSocket, and the class for it, which is loaded when the first of them comes.

The library `websockets` costs each start of a worker 40 ms, and most never need it. It is loaded on a thread, as to
load waits for a disk. It must not carry out the protocol. Invariant: what asks for anything else besides is no
handshake.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from .speech_socket import SpeechSocket

SOCKET: Final = "modelward.socket"
"""Where a scope has its connection."""
MESSAGE_BYTES: Final = 1 << 20
_loaded: list[type[SpeechSocket]] = []


def is_handshake(version: str, method: bytes, headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether a head asks for a WebSocket and for nothing else. Pure; names are in lower case."""
    found: dict[bytes, list[bytes]] = {}
    for name, value in headers:
        found.setdefault(name, []).append(value.strip().lower())
    options = [option.strip() for value in found.get(b"connection", ()) for option in value.split(b",")]
    return (
        (version, method) == ("1.1", b"GET")
        and found.get(b"upgrade") == [b"websocket"]
        and b"upgrade" in options
        and len(found.get(b"sec-websocket-key", ())) == 1
        and b"transfer-encoding" not in found
        and found.get(b"content-length", [b"0"]) == [b"0"]
    )


def loaded_socket() -> type[SpeechSocket] | None:
    """The class, once it is loaded."""
    return _loaded[0] if _loaded else None


def load_socket() -> type[SpeechSocket]:
    """The same, for a thread. Raises ImportError."""
    made: type[SpeechSocket] = importlib.import_module(".speech_socket", __package__).SpeechSocket
    _loaded[:] = [made]
    return made
