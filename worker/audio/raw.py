"""Reads sound without any header, as telephony and recorders of raw samples send it, by what the client declares.

Pure. `audio/L16` is big-endian by definition, but most clients send little-endian. The samples decide, because sound in
the wrong byte order is noise. It must not take bytes that have a header.
"""

from __future__ import annotations

import re
from typing import Final

import numpy as np

from . import wav
from .converter import MAX_CHANNELS, MAX_RATE, MIN_RATE
from .limits import BadAudio

_TELEPHONE_HZ: Final = 8_000
_USUAL_HZ: Final = 16_000
_LOOKED_AT_BYTES: Final = 64 << 10
_MU_LAW_NAMES: Final = ("basic", "pcmu", "mulaw", "ulaw", "x-mulaw", "x-ulaw")
# encoding, width, endianness ("" for either), default rate; RFC 2586, 3190, 3551, 2046
_TYPES: Final = {
    **{name: (wav.MU_LAW, 1, "little", _TELEPHONE_HZ) for name in _MU_LAW_NAMES},
    **{name: (wav.A_LAW, 1, "little", _TELEPHONE_HZ) for name in ("pcma", "alaw", "x-alaw")},
    "l8": (wav.PCM, 1, "little", _USUAL_HZ),
    "l16": (wav.PCM, 2, "", _USUAL_HZ),
    "l24": (wav.PCM, 3, "big", _USUAL_HZ),
    **{name: (wav.PCM, 2, "little", _USUAL_HZ) for name in ("pcm", "x-pcm", "raw", "x-raw", "s16le")},
}  # fmt: skip
_SUFFIXES: Final = {
    "ulaw": "pcmu", "ul": "pcmu", "mulaw": "pcmu", "alaw": "pcma", "al": "pcma", "pcm": "pcm", "raw": "pcm",
}  # fmt: skip
_FORMATS: Final = {
    "s16le": (wav.PCM, 2, "little"), "s16be": (wav.PCM, 2, "big"), "s24le": (wav.PCM, 3, "little"),
    "s32le": (wav.PCM, 4, "little"), "u8": (wav.PCM, 1, "little"), "f32le": (wav.FLOAT, 4, "little"),
}  # fmt: skip
_PARAMETER: Final = re.compile(r";\s*([a-z-]+)\s*=\s*\"?([a-z0-9_-]+)\"?")


def is_raw(declared: str) -> bool:
    """Whether the declared type is sound without a header."""
    return _kind(declared) in _TYPES


def type_of_name(name: str) -> str:
    """The type that the name of a file declares; "" when that is not raw sound."""
    suffix = name.rpartition(".")[2].lower() if "." in name else ""
    return f"audio/{_SUFFIXES[suffix]}" if suffix in _SUFFIXES else ""


def parse(data: bytes | bytearray, declared: str) -> wav.Wav:
    """How to read the bytes, as if a header had that. Raises BadAudio for an impossible rate or number of channels."""
    encoding, width, order, rate = _TYPES[_kind(declared)]
    said = dict(_PARAMETER.findall(declared.lower()))
    if said.get("format", "") in _FORMATS:
        encoding, width, order = _FORMATS[said["format"]]
    if (endianness := said.get("endianness", "").removesuffix("-endian")) in ("big", "little"):
        order = endianness
    rate = _number(said, ("rate", "samplerate", "sample-rate"), rate)
    channels = _number(said, ("channels",), 1)
    if not (MIN_RATE <= rate <= MAX_RATE and 1 <= channels <= MAX_CHANNELS):
        text = f"cannot read the audio: its Content-Type says {channels} channels and {rate} Hz"
        raise BadAudio("damaged_audio", text)
    big = order == "big" or not order and _sounds_big(data)
    return wav.Wav(encoding, channels, rate, width, 0, len(data) // (channels * width), big=big)


def _kind(declared: str) -> str:
    kind = declared.partition(";")[0].strip().lower()
    return kind.removeprefix("audio/") if kind.startswith("audio/") else ""


def _number(said: dict[str, str], names: tuple[str, ...], otherwise: int) -> int:
    for name in names:
        if (text := said.get(name, "")).isdecimal() and len(text) < 10:
            return int(text)
    return otherwise


def _sounds_big(data: bytes | bytearray) -> bool:
    """Whether 16-bit samples make a smoother line when the first byte is the high one."""
    length = min(len(data), _LOOKED_AT_BYTES) // 2 * 2
    head = bytes(data[:length])
    big, little = (np.frombuffer(head, order).astype(np.int32) for order in (">i2", "<i2"))
    return bool(np.abs(np.diff(big)).sum(dtype=np.int64) < np.abs(np.diff(little)).sum(dtype=np.int64))
