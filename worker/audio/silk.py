"""Reads SILK, the voice messages of WeChat and QQ, where the extra `silk` is installed; otherwise it names the format.

It runs only in a decoder. The library decodes a whole file at once, so it gets a few seconds of packets at a time, as
separate files. Between two of them it yields to the caller. Invariant: any fault is a BadAudio.
"""

from __future__ import annotations

import importlib
import io
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Final

import numpy as np

from .converter import SAMPLE_RATE, Converter
from .limits import AudioLimits, BadAudio, Floats

pysilk: Any = None
with suppress(ImportError):
    pysilk = importlib.import_module("pysilk")

_MARK: Final = b"#!SILK_V3"
_PACKETS_AT_ONCE: Final = 500  # of 20 to 100 ms
_MAX_PACKET_BYTES: Final = 1024  # 5 frames at the highest rate are fewer
_END: Final = 0xFFFF


def available() -> bool:
    """Whether the extra is installed."""
    return pysilk is not None


def blocks(data: bytes, limits: AudioLimits, split: bool) -> Iterator[Floats]:
    """The samples part by part; `data` begins with the mark. Raises BadAudio at any part."""
    if pysilk is None:
        raise BadAudio(
            "unsupported_audio",
            "cannot read the audio: it is SILK, a voice message of WeChat or QQ; with the extra modelward[silk] it "
            "would be read here; or send WAV, FLAC, OGG or MP3",
        )
    converter = Converter(SAMPLE_RATE, 1, limits, split=split)
    for packets in _packets(data, limits):
        made = io.BytesIO()
        try:
            pysilk.decode(io.BytesIO(_MARK + packets), made, SAMPLE_RATE)
        except (pysilk.SilkError, ValueError, MemoryError) as e:
            raise BadAudio("damaged_audio", f"cannot read the audio: its SILK is damaged ({e})") from e
        samples = np.frombuffer(made.getvalue(), "<i2").astype(np.float32) / np.float32(32768)
        yield converter.add(samples.reshape(-1, 1))
    yield converter.finish()


def _packets(data: bytes, limits: AudioLimits) -> Iterator[bytes]:
    """The packets, many in a row. Notes when the last one is not whole."""
    position = first = len(_MARK)
    count = 0
    while position + 2 <= len(data):
        size = int.from_bytes(data[position : position + 2], "little")
        if size == _END:
            break
        if size > _MAX_PACKET_BYTES:
            raise BadAudio("damaged_audio", f"cannot read the audio: its SILK has a packet of {size} bytes")
        if position + 2 + size > len(data):
            limits.notes.truncated = True
            break
        position += 2 + size
        count += 1
        if count % _PACKETS_AT_ONCE == 0:
            yield data[first:position]
            first = position
    if position > first:
        yield data[first:position]
