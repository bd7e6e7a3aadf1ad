"""Takes the Opus packets out of a WebM recording and puts them into OGG, which libsndfile reads.

Browsers record WebM; only the wrapping differs, so no sound is decoded here. Pure, on bytes. Sizes are believed only as
far as the file goes. Each element costs a step of Python and no more: their number and that of tracks is limited, a
track is found by its number, and the caller has its turn after so many.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import Final

from msgspec import Struct, field

_SEGMENT: Final = 0x18538067
_CLUSTER: Final = 0x1F43B675
_TRACKS: Final = 0x1654AE6B
_TRACK: Final = 0xAE
_TRACK_NUMBER: Final = 0xD7
_CODEC: Final = 0x86
_CODEC_PRIVATE: Final = 0x63A2
_BLOCK_GROUP: Final = 0xA0
_BLOCK: Final = 0xA1
_SIMPLE_BLOCK: Final = 0xA3
# elements whose content is looked into; the rest is passed over by size
_CONTAINERS: Final = frozenset({_SEGMENT, _CLUSTER, _TRACKS, _TRACK, _BLOCK_GROUP})
MAX_ELEMENTS: Final = 500_000  # an hour is 180,000 packets of 20 ms
MAX_TRACKS: Final = 16
_AT_ONCE: Final = 4096  # elements, or pages, between two turns of the caller
_MAX_PACKET_BYTES: Final = 255 * 254
_LACING: Final = 0x06
_OPUS: Final = b"A_OPUS"


class BadWebm(ValueError):
    """A WebM without Opus sound to take out; `code` is what the client is told."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


class _Track(Struct):
    number: int = 0
    codec: bytes = b""
    head: bytes = b""
    packets: list[bytes] = field(default_factory=list)


def opus_in_ogg(data: bytes) -> bytes:
    """The first Opus track of a WebM file as an OGG Opus file (RFC 7845). Raises BadWebm."""
    return b"".join(ogg_parts(data))


def ogg_parts(data: bytes) -> Iterator[bytes]:
    """The same in parts, which may be empty: little is done between two of them. Raises BadWebm, at any part."""
    found = _Found()
    for count, (identity, start, end) in enumerate(_elements(data)):
        if count % _AT_ONCE == 0:
            yield b""
        if identity in (_BLOCK, _SIMPLE_BLOCK):
            _take_packet(data, start, end, found)
        else:
            found.describe(identity, data, start, end)
    track = found.opus()
    if not track.packets:
        raise BadWebm("empty_audio", "it holds no sound")
    parts: list[bytes] = []
    for page in _pages(track):
        parts.append(page)
        if len(parts) >= _AT_ONCE // 64:
            yield b"".join(parts)
            parts.clear()
    yield b"".join(parts)


class _Found:
    """The tracks so far: in the order of the file, and the Opus ones by number."""

    def __init__(self) -> None:
        self._tracks: list[_Track] = []
        self._by_number: dict[int, _Track] = {}

    def describe(self, identity: int, data: bytes, start: int, end: int) -> None:
        """Takes what an element says of its track. Raises BadWebm for more tracks than any recording has."""
        if identity == _TRACK:
            if len(self._tracks) == MAX_TRACKS:
                raise BadWebm("damaged_audio", f"it has more than {MAX_TRACKS} tracks")
            self._tracks.append(_Track())
        elif not self._tracks:
            return
        elif identity == _TRACK_NUMBER:
            self._tracks[-1].number = int.from_bytes(data[start : min(end, start + 8)], "big")
        elif identity == _CODEC:
            self._tracks[-1].codec = data[start : min(end, start + 32)].rstrip(b"\0")
        elif identity == _CODEC_PRIVATE:
            self._tracks[-1].head = data[start : min(end, start + 512)]
        else:
            return
        self._by_number = {track.number: track for track in reversed(self._tracks) if track.codec == _OPUS}

    def numbered(self, number: int) -> _Track | None:
        """The Opus track with this number, the first if there are several."""
        return self._by_number.get(number)

    def opus(self) -> _Track:
        """The first Opus track. Raises BadWebm."""
        for track in self._tracks:
            if track.codec == _OPUS:
                if track.head[:8] != b"OpusHead" or len(track.head) < 19:
                    raise BadWebm("damaged_audio", "its Opus track has no header")
                return track
        codecs = ", ".join(track.codec.decode("ascii", errors="replace") for track in self._tracks[:4]) or "no track"
        raise BadWebm("unsupported_audio", f"it holds {codecs}, only Opus is read")


def _take_packet(data: bytes, start: int, end: int, found: _Found) -> None:
    number, body = _number(data, start, keep_marker=False)
    flags = data[body + 2] if body + 2 < end else 0
    track = found.numbered(number)
    if track is None:
        return
    if flags & _LACING:
        raise BadWebm("unsupported_audio", "its packets are laced")
    packet = data[body + 3 : end]
    if len(packet) > _MAX_PACKET_BYTES:
        raise BadWebm("damaged_audio", f"it has a packet of {len(packet)} bytes")
    if packet:
        track.packets.append(packet)


def _elements(data: bytes) -> Iterator[tuple[int, int, int]]:
    """(id, start, end of content) of every element, containers entered, in file order (EBML, RFC 8794).

    Containers are told by their id alone, so those of unknown size, as live recordings have, need no special care.
    """
    position = 0
    for _ in range(MAX_ELEMENTS):
        if position >= len(data):
            return
        identity, position = _number(data, position, keep_marker=True)
        first = position
        size, position = _number(data, position, keep_marker=False)
        unknown = size == (1 << 7 * (position - first)) - 1
        if identity in _CONTAINERS:
            yield identity, position, position
            continue
        if unknown or position + size > len(data):
            raise BadWebm("truncated_audio", "it ends inside an element")
        yield identity, position, position + size
        position += size
    raise BadWebm("damaged_audio", f"it has more than {MAX_ELEMENTS} elements")


def _number(data: bytes, position: int, *, keep_marker: bool) -> tuple[int, int]:
    """An EBML variable-length number and the position after it."""
    if position >= len(data):
        raise BadWebm("truncated_audio", "it ends inside an element")
    first = data[position]
    length = 9 - first.bit_length()
    if length > 8:
        raise BadWebm("damaged_audio", f"byte {position} begins no element")
    if position + length > len(data):
        raise BadWebm("truncated_audio", "it ends inside an element")
    value = int.from_bytes(data[position : position + length], "big")
    return value if keep_marker else value & ((1 << 7 * length) - 1), position + length


def _pages(track: _Track) -> Iterator[bytes]:
    yield _page([track.head], 0, 0, flags=2)
    vendor = b"modelward"
    yield _page([b"OpusTags" + struct.pack("<I", len(vendor)) + vendor + bytes(4)], 0, 1, flags=0)
    held: list[bytes] = []
    segments = samples = 0
    sequence = 2
    for packet in track.packets:
        needed = len(packet) // 255 + 1
        if segments + needed > 255:
            yield _page(held, samples, sequence, flags=0)
            sequence, held, segments = sequence + 1, [], 0
        held.append(packet)
        segments += needed
        samples += _samples(packet)
    yield _page(held, samples, sequence, flags=4)


def _page(packets: list[bytes], granule: int, sequence: int, *, flags: int) -> bytes:
    """One page of whole packets (RFC 3533); `granule` counts samples at 48 kHz to its end."""
    table = b"".join(b"\xff" * (len(packet) // 255) + bytes([len(packet) % 255]) for packet in packets)
    head = struct.pack("<4sBBqIIIB", b"OggS", 0, flags, granule, 1, sequence, 0, len(table))
    page = head + table + b"".join(packets)
    return page[:22] + struct.pack("<I", _checksum(page)) + page[26:]


def _samples(packet: bytes) -> int:
    """How many samples at 48 kHz an Opus packet is (RFC 6716, 3.1)."""
    kind, code = packet[0] >> 3, packet[0] & 3
    if kind < 12:
        each = (480, 960, 1920, 2880)[kind & 3]
    elif kind < 16:
        each = (480, 960)[kind & 1]
    else:
        each = (120, 240, 480, 960)[kind & 3]
    frames = 1 if code == 0 else 2 if code < 3 else packet[1] & 63 if len(packet) > 1 else 0
    return each * frames


_MIRRORED: Final = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def _checksum(page: bytes) -> int:
    """OGG's CRC: zlib's polynomial with the bits the other way round and nothing inverted."""
    mirrored = zlib.crc32(page.translate(_MIRRORED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int.from_bytes(mirrored.to_bytes(4, "little").translate(_MIRRORED), "big")
