"""Reads WAV headers and the samples that arrived: no length in a header keeps sound from being read.

Pure functions on bytes. Accepts PCM of 8 to 32 bits, floats of 32 and 64, A-law and µ-law, plain or extensible, in
RIFF, RIFX (big-endian), RF64 and BW64. Lengths are wrong in many files: some writers wrote to a pipe and could not know
them, some counted the header, some never filled them in. So the real bytes count, and the claimed length only shows
whether an end is missing.
"""

from __future__ import annotations

import functools
import struct
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
from msgspec import Struct

Floats = npt.NDArray[np.float32]

PCM: Final = 1
FLOAT: Final = 3
A_LAW: Final = 6
MU_LAW: Final = 7
FORMS: Final = (b"RIFF", b"RIFX", b"RF64", b"BW64")
_EXTENSIBLE: Final = 0xFFFE
_NOT_BELIEVED: Final = 1 << 30  # from here on (1 GiB, 2000000000, 2 GiB, 4 GiB less a header) it was unknown
_HEADER_BYTES: Final = 64  # a claim too large by no more than this, or by the header, counts more than the samples
_TAIL_BYTES: Final = 4096  # after the samples, which need not be a chunk
_MAX_CHUNKS: Final = 1000
# sample widths in bytes that each encoding may have
_WIDTHS: Final = {PCM: (1, 2, 3, 4), FLOAT: (4, 8), A_LAW: (1,), MU_LAW: (1,)}
_NAMES: Final = {
    0x02: "MS ADPCM", 0x11: "IMA ADPCM", 0x16: "G.723", 0x22: "TrueSpeech", 0x31: "GSM 6.10", 0x40: "G.721",
    0x45: "G.726", 0x50: "MPEG audio", 0x55: "MP3", 0x64: "G.726", 0x65: "G.722", 0x83: "G.729", 0xFF: "AAC",
    0x160: "WMA", 0x161: "WMA", 0x162: "WMA", 0x163: "WMA", 0x1600: "AAC", 0x1610: "AAC", 0x2000: "AC-3",
    0x674F: "Vorbis", 0xA109: "Speex", 0xF1AC: "FLAC",
}  # fmt: skip


class BadWav(ValueError):
    """A WAV that cannot be read; `damaged` is False when it is whole but in an encoding that is not read here."""

    def __init__(self, text: str, damaged: bool = True) -> None:
        super().__init__(text)
        self.damaged = damaged


class Wav(Struct, frozen=True):
    """Where the samples are and how they are written; `truncated` when the header claims more than arrived."""

    encoding: int
    channels: int
    rate: int
    width: int
    offset: int
    frames: int
    truncated: bool = False
    big: bool = False


class _SampleForm(Struct, frozen=True):
    encoding: int
    channels: int
    rate: int
    width: int


def parse(data: bytes | bytearray) -> Wav:
    """The header of a WAV file. Raises BadWav when it has no sound format or no data."""
    if len(data) < 12:
        raise BadWav("the header is cut off")
    big = data[:4] == b"RIFX"
    order: Literal["big", "little"] = "big" if big else "little"
    form: _SampleForm | None = None
    found: tuple[int, int] | None = None
    long_size = 0
    position = 12
    for _ in range(_MAX_CHUNKS):
        if position + 8 > len(data) or (form is not None and found is not None):
            break
        name, size = bytes(data[position : position + 4]), int.from_bytes(data[position + 4 : position + 8], order)
        body = position + 8
        if name == b"fmt ":
            form = _format(data[body : body + min(size, 64)], big)
        elif name == b"ds64" and size >= 16:
            long_size = int.from_bytes(data[body + 8 : body + 16], order)
        elif name == b"data" and found is None:
            found = body, long_size if long_size and size == 0xFFFFFFFF else size
        position = _next_chunk(data, body + size, size)
    if form is None:
        raise BadWav("it has no format")
    if found is None:
        raise BadWav("it has no data")
    return _data(form, *found, data, big)


def encoding_name(data: bytes | bytearray) -> str:
    """The name of the codec in a WAV file; its number if it has no known name, "" without a format."""
    place = data.find(b"fmt ", 12, 1 << 16)
    if place < 0 or place + 10 > len(data):
        return ""
    number = int.from_bytes(data[place + 8 : place + 10], "little")
    return _NAMES.get(number, f"the encoding {number:#06x}")


def _next_chunk(data: bytes | bytearray, end: int, size: int) -> int:
    """Where the next chunk begins. Some writers leave out the byte that pads an odd chunk."""
    if size & 1 and bytes(data[end : end + 4]) in (b"fmt ", b"data"):
        return end
    return end + (size & 1)


def _format(body: bytes | bytearray, big: bool) -> _SampleForm:
    if len(body) < 16:
        raise BadWav("the format is cut off")
    encoding, channels, rate, _, block, bits = struct.unpack_from(">HHIIHH" if big else "<HHIIHH", body)
    if encoding == _EXTENSIBLE and len(body) >= 26:
        encoding = int.from_bytes(body[24:26], "big" if big else "little")
    if encoding not in _WIDTHS:
        raise BadWav(f"encoding {encoding:#06x} is not read here", damaged=False)
    if channels == 0 or rate == 0:
        raise BadWav(f"the header says {channels} channels and {rate} Hz")
    return _SampleForm(encoding, channels, rate, _width(encoding, channels, block, bits))


def _width(encoding: int, channels: int, block: int, bits: int) -> int:
    """Bytes of a sample. A whole number of bytes in the bits counts more than the block size, which some programs
    ignore.
    """
    by_block, rest = divmod(block, channels)
    usual = -(-bits // 8)
    if bits % 8 or rest or bits == 24:  # 20 bits in 3 bytes, 24 in 4
        order = (by_block if not rest and bits <= 8 * by_block else 0, usual)
    else:
        order = (usual, by_block)
    for width in order:
        if width in _WIDTHS[encoding]:
            return width
    raise BadWav(f"the header says {bits} bits, but {block} bytes for {channels} channels")


def _data(form: _SampleForm, offset: int, size: int, data: bytes | bytearray, big: bool) -> Wav:
    block = form.channels * form.width
    there = len(data) - offset
    if size == 0 and not _chunks_to_the_end(data, offset, big):
        size = _NOT_BELIEVED  # never filled in
    elif there - size > _TAIL_BYTES and not _is_name(data, offset + size) and not _is_name(data, offset + size + 1):
        size = _NOT_BELIEVED  # filled in before the end was known
    missing = size - there
    truncated = size < _NOT_BELIEVED and missing > max(offset, _HEADER_BYTES)
    return Wav(form.encoding, form.channels, form.rate, form.width, offset, min(size, there) // block, truncated, big)


def _chunks_to_the_end(data: bytes | bytearray, position: int, big: bool) -> bool:
    """Whether only other chunks follow, or nothing: then there really is no sound."""
    for _ in range(_MAX_CHUNKS):
        if position >= len(data):
            return True
        if not _is_name(data, position):
            return False
        size = int.from_bytes(data[position + 4 : position + 8], "big" if big else "little")
        position += 8 + size + (size & 1)
        if position > len(data) + 1:
            return False
    return False


def _is_name(data: bytes | bytearray, position: int) -> bool:
    name = bytes(data[position : position + 4])
    return len(name) == 4 and name.isascii() and name.decode().isprintable()


def read(data: bytes | bytearray, wav: Wav, start: int, stop: int) -> Floats:
    """Frames start … stop as float32 [frames, channels], full scale ±1. Floats are clipped to it; NaN stays NaN."""
    stop = min(stop, wav.frames)
    count = max(0, stop - start) * wav.channels
    offset = wav.offset + start * wav.channels * wav.width
    return _samples(data, wav, offset, count).reshape(-1, wav.channels)


def _samples(data: bytes | bytearray, wav: Wav, offset: int, count: int) -> Floats:
    order = ">" if wav.big else "<"
    if wav.encoding == FLOAT:
        values = np.frombuffer(data, f"{order}f{wav.width}", count, offset)
        # infinities become NaN in the clipping, so that the caller finds them
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
        filled = wide[:, :3] if wav.big else wide[:, 1:]
        filled[:] = np.frombuffer(data, np.uint8, 3 * count, offset).reshape(-1, 3)
        return wide.view(f"{order}i4")[:, 0].astype(np.float32) / np.float32(2**31)
    values = np.frombuffer(data, f"{order}i{wav.width}", count, offset)
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
