"""The protocol of sherpa-onnx's offline WebSocket server: a rate, a length and float samples, a JSON result for each.

Pure. A client that sends `Done` instead of a clip ends; the session handles that. Invariant: a clip has exactly the
announced length.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from ..sensevoice.transcript import (
    NO_EMOTION,
    NO_EVENT,
    NO_SPEECH,
    Segment,
)
from .errors import ApiError
from .languages import AUTO
from .talks import (
    FLOAT,
    Fed,
    bad_message,
    checked_rate,
    wav_head,
)

_HEAD_BYTES: Final = 8
_SAMPLE_BYTES: Final = 4


class SherpaTalk:
    """See talks.Talk. `max_bytes`: of one clip."""

    name = "sherpa-onnx"
    language, itn = AUTO, True

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self.begin()

    def begin(self) -> None:
        self._held, self._left = b"", -1

    def feed(self, message: str | bytes) -> Fed:
        if isinstance(message, str):
            raise bad_message("it is text in the middle of a clip")
        if self._left >= 0:
            return self._taken(b"", message)
        self._held += message
        if len(self._held) < _HEAD_BYTES:
            return Fed()
        rate = checked_rate(int.from_bytes(self._held[:4], "little", signed=True))
        self._left = int.from_bytes(self._held[4:8], "little", signed=True)
        if self._left < 0 or self._left % _SAMPLE_BYTES:
            raise bad_message(f"{self._left} bytes are not float samples")
        if self._left > self._max_bytes:
            text = f"cannot take the clip: {self._left} bytes were announced, more than {self._max_bytes}"
            raise ApiError(413, text, "upload_too_large")
        return self._taken(wav_head(rate, FLOAT, _SAMPLE_BYTES) if self._left else b"", self._held[_HEAD_BYTES:])

    def _taken(self, head: bytes, samples: bytes) -> Fed:
        self._left -= len(samples)
        if self._left < 0:
            raise bad_message(f"it is {-self._left} bytes longer than was announced")
        return Fed(head + samples, self._left == 0)

    def result(self, answer: dict[str, Any]) -> str:
        segments: tuple[Segment, ...] = tuple(answer.get("segments", ()))
        found = {
            "lang": _tag(answer.get("language", NO_SPEECH)),
            "emotion": _tag(answer.get("emotion", NO_EMOTION)),
            "event": _tag(segments[0].event if segments else NO_EVENT),
            "text": answer.get("text", ""),
            "timestamps": [time for segment in segments for time in segment.times],
            "durations": [],
            "tokens": [token for segment in segments for token in segment.tokens],
            "words": [],
        }
        return msgspec.json.encode({**found, "version": answer.get("version", "")}).decode()

    def failure(self, error: dict[str, Any]) -> str:
        return ""  # it gives the reason when it closes


def _tag(name: str) -> str:
    return f"<|{name}|>"
