"""Reads SILK, the voice messages of WeChat and QQ, where the extra `silk` is installed; otherwise it names the format.

It runs only in a decoder. The library decodes a whole file at once, so it gets a few seconds of packets at a time, as
separate files. Between two of them it yields to the caller. A damaged packet is left out. Invariant: any fault is a
BadAudio, or a note.
"""

from __future__ import annotations

import importlib
import io
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Final

import numpy as np

from .converter import SAMPLE_RATE, Converter
from .limits import NOTHING, AudioLimits, BadAudio, Floats

pysilk: Any = None
with suppress(ImportError):
    pysilk = importlib.import_module("pysilk")

_MARK: Final = b"#!SILK_V3"
_PACKETS_AT_ONCE: Final = 500  # of 20 to 100 ms
_MAX_PACKET_BYTES: Final = 1024  # 5 frames at the highest rate are fewer
_END: Final = 0xFFFF
_SILENT_SAMPLES: Final = SAMPLE_RATE // 50  # 20 ms, as messengers send them


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
    converter, reading = Converter(SAMPLE_RATE, 1, limits, split=split), _SilkRows(limits)
    for packets in _packets(data, limits):
        for samples in reading.samples(packets):
            yield converter.add(samples.reshape(-1, 1))
    if reading.failures > reading.packets // 2:
        raise BadAudio("damaged_audio", f"cannot read the audio: its SILK is damaged ({reading.error})")
    yield converter.finish()


class _SilkRows:
    """The packets that were read. A row that cannot be decoded is decoded in halves, down to one packet.

    A damaged packet is left out, or the library repeats the sound before it; the notes have that. `failures` counts the
    rows that failed.
    """

    def __init__(self, limits: AudioLimits) -> None:
        self.packets, self.failures, self.error = 0, 0, ""
        self._notes = limits.notes

    def samples(self, packets: list[bytes]) -> Iterator[Floats]:
        """The sound of a row of packets, part by part. An empty row stands for a packet without content: silence."""
        self.packets += len(packets)
        return self._of(packets) if packets else iter((np.zeros(_SILENT_SAMPLES, np.float32),))

    def _of(self, packets: list[bytes]) -> Iterator[Floats]:
        try:
            yield _decoded(packets)
        except (pysilk.SilkError, ValueError, MemoryError) as e:
            self.error, self._notes.truncated = str(e), True
            self.failures += 1
            half = len(packets) // 2
            yield NOTHING
            for part in (packets[:half], packets[half:]):
                if half:
                    yield from self._of(part)


def _decoded(packets: list[bytes]) -> Floats:
    """Raises SilkError, ValueError, MemoryError."""
    made = io.BytesIO()
    pysilk.decode(io.BytesIO(_MARK + b"".join(packets)), made, SAMPLE_RATE)
    samples: Floats = np.frombuffer(made.getvalue(), "<i2").astype(np.float32) / np.float32(32768)
    return samples


def _packets(data: bytes, limits: AudioLimits) -> Iterator[list[bytes]]:
    """The packets with their sizes, in rows; an empty row for each without content. Notes when the last one is not
    whole.
    """
    position, row = len(_MARK), list[bytes]()
    while position + 2 <= len(data):
        size = int.from_bytes(data[position : position + 2], "little")
        if size == _END:
            break
        if size > _MAX_PACKET_BYTES and position == len(_MARK):
            raise BadAudio("damaged_audio", f"cannot read the audio: its SILK has a packet of {size} bytes")
        end = position + 2 + size
        if size > _MAX_PACKET_BYTES or end > len(data):
            limits.notes.truncated = True
            break
        if size:
            row.append(data[position:end])
        if row and (not size or len(row) == _PACKETS_AT_ONCE):
            yield row
            row = []
        if not size:
            yield []
        position = end
    if row:
        yield row
