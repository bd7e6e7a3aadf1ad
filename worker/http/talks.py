"""What a WebSocket of another server's clients says, as clips and answers: what each of those protocols has to do here.

A talk is pure: messages in, bytes of a clip out; an answer in, the text of a message out. Must not wait or count.
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
    """What a message brought: bytes of the clip, and whether the clip is whole."""

    audio: bytes = b""
    over: bool = False


class Talk(Protocol):
    """One connection's protocol. `name` stands in the access log; `language` and `itn` are those of the next clip."""

    name: str
    language: str
    itn: bool

    def begin(self) -> None:
        """The next message belongs to another clip."""

    def feed(self, message: str | bytes) -> Fed:
        """Takes one message. Raises ApiError."""

    def result(self, answer: dict[str, Any]) -> str:
        """The message that a clip's answer is."""

    def failure(self, error: dict[str, Any]) -> str:
        """The message that says why there is no answer; "" where the protocol has none."""


def wav_head(rate: int, encoding: int, width: int) -> bytes:
    """The head of a WAV of one channel whose end is not known yet."""
    return struct.pack(
        "<4sI4s4sIHHIIHH4sI",
        b"RIFF", _OPEN_ENDED, b"WAVE",
        b"fmt ", 16, encoding, 1, rate, rate * width, width, 8 * width,
        b"data", _OPEN_ENDED,
    )  # fmt: skip


def checked_rate(rate: object) -> int:
    """Raises ApiError for what is no sample rate."""
    low, high = RATES
    if isinstance(rate, bool) or not isinstance(rate, int) or not low <= rate <= high:
        raise bad_message(f"the sample rate is {str(rate)[:40]}, not {low} to {high}")
    return rate


def bad_message(reason: str) -> ApiError:
    return ApiError(400, f"cannot use the message: {reason}", "bad_message")
