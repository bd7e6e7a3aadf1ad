"""Reads WAV headers and samples without trusting either: what is claimed is compared with what is there.

Pure functions on bytes. Accepts PCM of 8 to 32 bits, floats of 32 and 64, A-law and µ-law, plain or extensible. A
length of 0 or of nearly 2 or 4 GiB is what programs write that could not know it (a pipe): then the file's own counts.
"""

from __future__ import annotations

import functools
import struct
from typing import Final

import numpy as np
import numpy.typing as npt
from msgspec import Struct

Floats = npt.NDArray[np.float32]

PCM: Final = 1
FLOAT: Final = 3
A_LAW: Final = 6
MU_LAW: Final = 7
_EXTENSIBLE: Final = 0xFFFE
_UNKNOWN_LENGTH: Final = 0x7FFFF000  # and above: 2 GiB or 4 GiB less a header, as writers to pipes put it
_MAX_CHUNKS: Final = 1000
# sample widths in bytes that each encoding may have
_WIDTHS: Final = {PCM: (1, 2, 3, 4), FLOAT: (4, 8), A_LAW: (1,), MU_LAW: (1,)}


class BadWav(ValueError):
    """A WAV that can't be read; `damaged` is False when it is whole but of an encoding not read here."""

    def __init__(self, text: str, damaged: bool = True) -> None:
        super().__init__(text)
        self.damaged = damaged


class Wav(Struct, frozen=True):
    """Where the samples are and how they are written. `claimed_frames` is None when the header leaves it open."""

    encoding: int
    channels: int
    rate: int
    width: int
    offset: int
    frames: int
    claimed_frames: int | None

    @property
    def truncated(self) -> bool:
        """Whether the header promises more than is there."""
        return self.claimed_frames is not None and self.claimed_frames > self.frames


def parse(data: bytes | bytearray) -> Wav:
    """The header of a RIFF/WAVE file. Raises BadWav when there is no sound format or no data in it."""
    if len(data) < 12:
        raise BadWav("the header is cut off")
    riff_bytes = int.from_bytes(data[4:8], "little")
    form: tuple[int, int, int, int] | None = None
    position = 12
    for _ in range(_MAX_CHUNKS):
        if position + 8 > len(data):
            break
        name, size = data[position : position + 4], int.from_bytes(data[position + 4 : position + 8], "little")
        body = position + 8
        if name == b"fmt ":
            form = _format(data[body : body + min(size, 64)])
        elif name == b"data":
            if form is None:
                raise BadWav("the data comes before the format")
            return _data(form, body, size, len(data), riff_bytes)
        position = body + size + (size & 1)
    raise BadWav("it has no format" if form is None else "it has no data")


def _format(body: bytes | bytearray) -> tuple[int, int, int, int]:
    """(encoding, channels, rate, sample width in bytes)."""
    if len(body) < 16:
        raise BadWav("the format is cut off")
    encoding, channels, rate, _, block, bits = struct.unpack_from("<HHIIHH", body)
    if encoding == _EXTENSIBLE and len(body) >= 26:
        encoding = int.from_bytes(body[24:26], "little")
    if encoding not in _WIDTHS:
        raise BadWav(f"encoding {encoding:#06x} is not read here", damaged=False)
    if channels == 0 or rate == 0 or block == 0:
        raise BadWav(f"the header says {channels} channels, {rate} Hz and {block} bytes a frame")
    width, rest = divmod(block, channels)
    if rest or width not in _WIDTHS[encoding] or not 0 < bits <= 8 * width:
        raise BadWav(f"the header says {bits} bits, but {block} bytes for {channels} channels")
    return encoding, channels, rate, width


def _data(form: tuple[int, int, int, int], offset: int, size: int, total: int, riff_bytes: int) -> Wav:
    encoding, channels, rate, width = form
    block = channels * width
    there = total - offset
    open_ended = size >= _UNKNOWN_LENGTH or (size == 0 and (riff_bytes <= offset or riff_bytes >= _UNKNOWN_LENGTH))
    frames = (there if open_ended else min(size, there)) // block
    claimed = None if open_ended else size // block
    return Wav(encoding, channels, rate, width, offset, frames, claimed)


def read(data: bytes | bytearray, wav: Wav, start: int, stop: int) -> Floats:
    """Frames start … stop as float32 [frames, channels], full scale ±1. Floats are clipped to it; NaN stays NaN."""
    stop = min(stop, wav.frames)
    count = max(0, stop - start) * wav.channels
    offset = wav.offset + start * wav.channels * wav.width
    return _samples(data, wav, offset, count).reshape(-1, wav.channels)


def _samples(data: bytes | bytearray, wav: Wav, offset: int, count: int) -> Floats:
    if wav.encoding == FLOAT:
        values = np.frombuffer(data, f"<f{wav.width}", count, offset)
        # infinities survive the clipping as NaN, so that the caller finds them
        clipped: Floats = np.where(np.isinf(values), np.nan, np.clip(values, -1.0, 1.0)).astype(np.float32)
        return clipped
    if wav.encoding in (A_LAW, MU_LAW):
        table = _a_law() if wav.encoding == A_LAW else _mu_law()
        expanded: Floats = table[np.frombuffer(data, np.uint8, count, offset)]
        return expanded
    if wav.width == 1:
        return (np.frombuffer(data, np.uint8, count, offset).astype(np.float32) - np.float32(128)) / np.float32(128)
    if wav.width == 3:
        wide = np.zeros((count, 4), dtype=np.uint8)
        wide[:, 1:] = np.frombuffer(data, np.uint8, 3 * count, offset).reshape(-1, 3)
        return wide.view("<i4")[:, 0].astype(np.float32) / np.float32(2**31)
    values = np.frombuffer(data, f"<i{wav.width}", count, offset)
    return values.astype(np.float32) / np.float32(2 ** (8 * wav.width - 1))


@functools.cache
def _a_law() -> Floats:
    """ITU-T G.711 A-law, float32 [256]."""
    code = np.arange(256) ^ 0x55
    exponent, mantissa = (code >> 4) & 7, code & 15
    magnitude = np.where(exponent == 0, mantissa * 16 + 8, (mantissa * 16 + 264) << np.maximum(exponent - 1, 0))
    return (np.where(code & 0x80, magnitude, -magnitude) / 32768).astype(np.float32)


@functools.cache
def _mu_law() -> Floats:
    """ITU-T G.711 µ-law, float32 [256]."""
    code = ~np.arange(256) & 0xFF
    magnitude = ((((code & 15) << 3) + 132) << ((code >> 4) & 7)) - 132
    return (np.where(code & 0x80, -magnitude, magnitude) / 32768).astype(np.float32)
