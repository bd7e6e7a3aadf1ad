"""What a WebSocket protocol of another server has to do here: turn messages into clips, and answers into messages.

A talk is pure: messages in, bytes of a clip out; an answer in, the text of a message out. It must not wait or count.
Invariant: a message that its protocol does not have is an ApiError.
"""

from __future__ import annotations

import struct
from typing import Any, Final, NamedTuple, Protocol

from .errors import ApiError

PCM: Final = 1
FLOAT: Final = 3
RATES: Final = (4000, 384_000)
_OPEN_ENDED: Final = 0xFFFFFFFF


class Fed(NamedTuple):
    """The content of a message: bytes of the clip, and whether the clip is whole."""

    audio: bytes = b""
    over: bool = False


class Talk(Protocol):
    """One connection's protocol. `name` is for the access log; `language` and `itn` are those of the next clip."""

    name: str
    language: str
    itn: bool

    def begin(self) -> None:
        """The next message belongs to another clip."""

    def feed(self, message: str | bytes) -> Fed:
        """Reads one message. Raises ApiError."""

    def result(self, answer: dict[str, Any]) -> str:
        """The message with a clip's answer."""

    def failure(self, error: dict[str, Any]) -> str:
        """The message with the reason why there is no answer; "" where the protocol has none."""


def wav_head(rate: int, encoding: int, width: int) -> bytes:
    """The head of a WAV of one channel whose length is not known yet."""
    return struct.pack(
        "<4sI4s4sIHHIIHH4sI",
        b"RIFF", _OPEN_ENDED, b"WAVE",
        b"fmt ", 16, encoding, 1, rate, rate * width, width, 8 * width,
        b"data", _OPEN_ENDED,
    )  # fmt: skip


def checked_rate(rate: object) -> int:
    """Raises ApiError for an impossible sample rate."""
    low, high = RATES
    if isinstance(rate, bool) or not isinstance(rate, int) or not low <= rate <= high:
        raise bad_message(f"the sample rate is {str(rate)[:40]}, not {low} to {high}")
    return rate


def bad_message(reason: str) -> ApiError:
    return ApiError(400, f"cannot use the message: {reason}", "bad_message")
