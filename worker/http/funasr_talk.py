"""The offline WebSocket protocol of FunASR's runtime: settings in JSON, samples or a file in pieces, then the end.

Pure. Settings stay for the next clip of the connection, as in FunASR. `2pass` is answered as well, but without the
intermediate texts that it requests. `online` requests nothing else and is refused. Invariant: one answer for each clip,
and it is final.
"""

from __future__ import annotations

import json
from typing import Any, Final

import msgspec

from ..sensevoice.subtitles import WORD_SECONDS
from ..sensevoice.transcript import Segment
from ..shared.unreadable import UNREADABLE
from .languages import AUTO
from .talks import (
    PCM,
    Fed,
    bad_message,
    checked_rate,
    wav_head,
)

_SAMPLES: Final = frozenset({"", "pcm", "wav"})
"""Formats in which a clip may be bare samples. A file of another format is taken as it is, and a WAV is recognised by
its head.
"""
_HEAD_BYTES: Final = 12
_NAME_CHARS: Final = 255
"""A longer name of a clip is cut; a longer setting is refused. Both are kept for the whole connection."""


class FunasrTalk:
    """See talks.Talk."""

    name = "funasr"

    def __init__(self) -> None:
        self.language, self.itn = AUTO, True
        self._mode, self._wav_name, self._format, self._rate = "offline", "wav-default-id", "pcm", 16000
        self.begin()

    def begin(self) -> None:
        self._held, self._begun, self._is_end = b"", False, False

    def feed(self, message: str | bytes) -> Fed:
        if isinstance(message, str):
            over = self._set(message)
            return Fed(self._first() if over and self._held else b"", over)
        if self._begun:
            return Fed(message)
        self._held += message
        return Fed(self._first() if len(self._held) >= _HEAD_BYTES else b"")

    def _first(self) -> bytes:
        held, self._held, self._begun = self._held, b"", True
        is_wav = held.startswith(b"RIFF") and held[8:12] == b"WAVE"
        return held if is_wav or self._format not in _SAMPLES else wav_head(self._rate, PCM, 2) + held

    def _set(self, message: str) -> bool:
        """Reads the settings; True when the clip is whole."""
        try:
            told = msgspec.json.decode(message.encode())
        except UNREADABLE as e:
            raise bad_message(f"it is not JSON: {e}") from e
        if not isinstance(told, dict):
            raise bad_message("it is not a JSON object")
        self._mode = _text(told, "mode", self._mode).lower()
        if self._mode not in ("offline", "2pass"):
            raise bad_message(f"the mode {self._mode[:40]!r} is not served here; known: offline, 2pass")
        self._wav_name = _named(told, "wav_name", self._wav_name)[:_NAME_CHARS]
        self._format = _text(told, "wav_format", self._format).lower()
        if told.get("audio_fs") is not None:
            self._rate = checked_rate(told["audio_fs"])
        self.language = _text(told, "svs_lang", self.language)
        for key in ("itn", "svs_itn"):
            self.itn = _truth(told, key, self.itn)
        self._is_end = _truth(told, "is_end", False)
        return not _truth(told, "is_speaking", True) or _truth(told, "is_finished", False)

    def result(self, answer: dict[str, Any]) -> str:
        segments: tuple[Segment, ...] = tuple(answer.get("segments", ()))
        sentences = [_sentence(segment) for segment in segments]
        times = [time for sentence in sentences for time in sentence["ts_list"]]
        return self._message(
            {
                "mode": "2pass-offline" if self._mode == "2pass" else "offline",
                "text": answer.get("text", ""),
                "is_final": True,
                **({"timestamp": json.dumps(times), "stamp_sents": sentences} if times else {}),
                **{key: answer[key] for key in ("language", "emotion", "version") if key in answer},
            }
        )

    def failure(self, error: dict[str, Any]) -> str:
        return self._message({"is_final": False, "error": error})

    def _message(self, fields: dict[str, Any]) -> str:
        end = {"is_end": True} if self._is_end else {}
        return msgspec.json.encode({"wav_name": self._wav_name, **fields, **end}).decode()


def _sentence(segment: Segment) -> dict[str, Any]:
    """One sentence with the times of its tokens in milliseconds: each lasts until the next, at most a second."""
    ends = [*segment.times[1:], segment.end]
    times = [
        [round(start * 1000), round(max(start, min(end, start + WORD_SECONDS)) * 1000)]
        for start, end in zip(segment.times, ends, strict=False)
    ]
    return {
        "text_seg": segment.text,
        "punc": "",
        "start": round(segment.start * 1000),
        "end": round(segment.end * 1000),
        "ts_list": times,
    }


def _text(told: dict[str, Any], key: str, now: str) -> str:
    """One of the settings."""
    value = _named(told, key, now)
    if len(value) > _NAME_CHARS:
        raise bad_message(f"{key} is longer than {_NAME_CHARS} characters")
    return value


def _named(told: dict[str, Any], key: str, now: str) -> str:
    value = told.get(key)
    if value is None:
        return now
    if not isinstance(value, str):
        raise bad_message(f"{key} is not a string")
    return value


def _truth(told: dict[str, Any], key: str, now: bool) -> bool:
    value = told.get(key)
    if value is None:
        return now
    if not isinstance(value, bool | int):
        raise bad_message(f"{key} is neither true nor false")
    return bool(value)
