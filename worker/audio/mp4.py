"""Finds the sound in an MP4 file: its codec, and the packets of Opus, which OGG can hold as well.

Chromium records Opus in MP4. Only the container differs, so no sound is decoded here. Pure, on bytes. Sizes and tables
are believed only within the file. The numbers of boxes, tracks and samples are limited, and it yields to the caller
regularly.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

from msgspec import Struct, field

from . import ogg
from .limits import BadAudio, ClipNotes

MAX_BOXES: Final = 100_000
MAX_TRACKS: Final = 16
MAX_SAMPLES: Final = 1_000_000
_AT_ONCE: Final = 4096
_CONTAINERS: Final = frozenset({b"moov", b"trak", b"mdia", b"minf", b"stbl", b"mvex", b"moof", b"traf"})
_NAMES: Final = {
    b"mp4a": "AAC", b"alac": "ALAC", b"Opus": "Opus", b"samr": "AMR", b"sawb": "AMR-WB", b"fLaC": "FLAC",
    b".mp3": "MP3", b"ac-3": "AC-3", b"ec-3": "E-AC-3", b"sowt": "PCM", b"twos": "PCM", b"lpcm": "PCM",
    b"in24": "PCM", b"fl32": "PCM", b"ulaw": "µ-law", b"alaw": "A-law", b"sevc": "EVRC", b"sqcp": "QCELP",
}  # fmt: skip

Box = tuple[bytes, int, int]  # its type, start and end of its content


class _Mp4Track(Struct):
    number: int = 0
    handler: bytes = b""
    codec: bytes = b""
    head: bytes = b""
    default_bytes: int = 0
    sizes: tuple[int, int, int] = (0, 0, 0)  # the size of all, else 0; their number; where the table is
    chunks: tuple[int, int, int] = (0, 0, 0)  # where the table is, its entries, bytes of each
    runs: tuple[int, int] = (0, 0)  # samples in each chunk: where the table is, its entries
    packets: list[bytes] = field(default_factory=list)


def codec_names(data: bytes) -> str:
    """The names of the codecs in the file, for people; "" where none is known."""
    found = _Tracks(data)
    for _ in found.read_boxes():
        pass
    names = [_NAMES.get(t.codec, t.codec.decode("ascii", "replace")) for t in found.tracks if t.handler == b"soun"]
    return ", ".join(name for name in names if name and name.isprintable())


def ogg_parts(data: bytes, notes: ClipNotes) -> Iterator[bytes]:
    """The first Opus track as an OGG Opus file, in parts, which may be empty. Raises BadAudio at any part."""
    found = _Tracks(data)
    yield from found.read_boxes()
    if not any(name == b"moov" for name in found.seen):
        raise BadAudio("truncated_audio", "cannot read the MP4 file: its index (moov) is missing; it was not ended")
    track = next((track for track in found.tracks if track.codec == b"Opus" and track.head), None)
    if track is None:
        raise BadAudio("unsupported_audio", "cannot read the MP4 file: it holds no Opus")
    yield from found.collect(track)
    notes.truncated |= found.cut_off
    if not track.packets:
        raise BadAudio("empty_audio", "cannot read the MP4 file: it holds no sound")
    yield from ogg.opus(track.head, track.packets)


class _Tracks:
    """The boxes of a file, read once."""

    def __init__(self, data: bytes) -> None:
        self.tracks: list[_Mp4Track] = []
        self.seen: set[bytes] = set()
        self.cut_off = False
        self._data = data
        self._fragments: list[tuple[int, list[Box]]] = []  # each with the position where its moof begins
        self._samples = self._bytes = 0

    def read_boxes(self) -> Iterator[bytes]:
        """Reads the boxes. Raises BadAudio for more boxes than any recording has."""
        position = count = moof = 0
        data = self._data
        while position + 8 <= len(data):
            count += 1
            if count > MAX_BOXES:
                raise BadAudio("damaged_audio", f"cannot read the MP4 file: it has more than {MAX_BOXES} boxes")
            if count % _AT_ONCE == 0:
                yield b""
            size, name = int.from_bytes(data[position : position + 4], "big"), data[position + 4 : position + 8]
            body = position + 8
            if size == 1:
                size, body = int.from_bytes(data[position + 8 : position + 16], "big"), position + 16
            end = position + size if size else len(data)
            if end < body:
                self.cut_off = True
                return
            self.seen.add(name)
            if end > len(data) and name != b"mdat":
                self.cut_off = True
            if name == b"moof":
                moof = position
                self._fragments.append((moof, []))
            if name in _CONTAINERS:
                if name == b"trak":
                    self._add_track()
                position = body
                continue
            self._take((name, body, min(end, len(data))))
            position = end

    def _add_track(self) -> None:
        if len(self.tracks) == MAX_TRACKS:
            raise BadAudio("damaged_audio", f"cannot read the MP4 file: it has more than {MAX_TRACKS} tracks")
        self.tracks.append(_Mp4Track())

    def _take(self, box: Box) -> None:
        name, start, end = box
        if name in (b"tfhd", b"trun") and self._fragments:
            self._fragments[-1][1].append(box)
        elif name == b"trex" and end - start >= 24:
            number, size = self._long(start + 4), self._long(start + 16)
            for track in self.tracks:
                if track.number == number:
                    track.default_bytes = size
        elif self.tracks and end - start >= 8:
            self._describe(self.tracks[-1], name, start, end)

    def _describe(self, track: _Mp4Track, name: bytes, start: int, end: int) -> None:
        data = self._data
        if name == b"tkhd":
            track.number = self._long(start + (20 if data[start] == 1 else 12))
        elif name == b"hdlr" and not track.handler:
            track.handler = data[start + 8 : start + 12]
        elif name == b"stsd" and not track.codec:
            track.codec = data[start + 12 : start + 16]
            if track.codec == b"Opus":
                track.head = _opus_head(data[start:end])
        elif name == b"stsz" and end - start >= 12:
            alike, count = self._long(start + 4), self._long(start + 8)
            track.sizes = alike, count if alike else self._entries(count, start + 12, end, 4), start + 12
        elif name in (b"stco", b"co64"):
            width = 8 if name == b"co64" else 4
            track.chunks = start + 8, self._entries(self._long(start + 4), start + 8, end, width), width
        elif name == b"stsc":
            track.runs = start + 8, self._entries(self._long(start + 4), start + 8, end, 12)

    def _entries(self, claimed: int, start: int, end: int, width: int) -> int:
        """How many entries of a table are in the file."""
        there = (end - start) // width
        if claimed > there:
            self.cut_off = True
        return min(claimed, there)

    # packets

    def collect(self, track: _Mp4Track) -> Iterator[bytes]:
        """Collects the packets of a track. Raises BadAudio for more packets than there can be."""
        yield from self._from_tables(track)
        for moof, boxes in self._fragments:
            yield from self._from_fragment(track, moof, boxes)

    def _from_tables(self, track: _Mp4Track) -> Iterator[bytes]:
        alike, count, sizes = track.sizes
        chunks, chunk_count, width = track.chunks
        runs, run_count = track.runs
        sample = run = 0
        for chunk in range(chunk_count if run_count else 0):
            if sample >= count:
                return
            if chunk % _AT_ONCE == 0:
                yield b""
            while run + 1 < run_count and self._long(runs + 12 * (run + 1)) <= chunk + 1:
                run += 1
                if run % _AT_ONCE == 0:
                    yield b""
            position = self._number(chunks + width * chunk, width)
            for _ in range(min(self._long(runs + 12 * run + 4), count - sample)):
                size = alike or self._long(sizes + 4 * sample)
                if not self._add(track, position, size):
                    return
                position += size
                sample += 1
                if sample % _AT_ONCE == 0:
                    yield b""

    def _from_fragment(self, track: _Mp4Track, moof: int, boxes: list[Box]) -> Iterator[bytes]:
        yield b""
        number, base, size = 0, moof, track.default_bytes
        for name, start, end in boxes:
            flags, at = self._long(start) & 0xFFFFFF, start + 8
            if name == b"tfhd":
                number, base, size = self._long(start + 4), moof, track.default_bytes
                if flags & 0x1:
                    base, at = self._number(at, 8), at + 8
                at += 4 * bool(flags & 0x2) + 4 * bool(flags & 0x8)
                size = self._long(at) if flags & 0x10 else size
            elif number == track.number:
                position = base + (struct.unpack_from(">i", self._data, at)[0] if flags & 0x1 and at + 4 <= end else 0)
                at += 4 * bool(flags & 0x1) + 4 * bool(flags & 0x4)
                row = 4 * sum(bool(flags & flag) for flag in (0x100, 0x200, 0x400, 0x800))
                place = 4 * bool(flags & 0x100)
                for _ in range(self._long(start + 4)):
                    if row and at + row > end:
                        return
                    packet = self._long(at + place) if flags & 0x200 else size
                    if not self._add(track, position, packet):
                        return
                    position, at = position + packet, at + row
                    if self._samples % _AT_ONCE == 0:
                        yield b""

    def _add(self, track: _Mp4Track, position: int, size: int) -> bool:
        """Adds a packet; returns whether its bytes are in the file."""
        self._samples += 1
        if self._samples > MAX_SAMPLES or size > ogg.MAX_PACKET_BYTES:
            raise BadAudio("damaged_audio", f"cannot read the MP4 file: sample {self._samples} has {size} bytes")
        if size == 0 or position < 0 or position + size > len(self._data):
            self.cut_off = True
            return False
        self._bytes += size
        if self._bytes > len(self._data):  # each byte once; otherwise a small file could become packets without end
            raise BadAudio("damaged_audio", "cannot read the MP4 file: its samples lie on one another")
        track.packets.append(self._data[position : position + size])
        return True

    def _long(self, position: int) -> int:
        return self._number(position, 4)

    def _number(self, position: int, width: int) -> int:
        """The number at a position; zero after the end of the file."""
        return int.from_bytes(self._data[position : position + width], "big") if position >= 0 else 0


def _opus_head(description: bytes) -> bytes:
    """The head for OGG (RFC 7845, 5.1) from that of MP4 (dOps), which has the other byte order; "" without one."""
    at = description.find(b"dOps")
    if at < 0 or at + 15 > len(description):
        return b""
    channels, skipped, rate, gain, mapping = struct.unpack_from(">BHIhB", description, at + 5)
    table = description[at + 15 : at + 17 + channels] if mapping else b""
    return b"OpusHead\x01" + struct.pack("<BHIhB", channels, skipped, rate, gain, mapping) + table
