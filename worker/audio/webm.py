"""Takes the packets of Opus or Vorbis out of a WebM recording and puts them into OGG, which libsndfile reads.

Browsers record WebM. Only the container differs, so no sound is decoded here. Pure, on bytes. Sizes are believed only
within the file. Of a recording that lost its end, the whole packets are used. Each element costs one step of Python:
the numbers of elements and tracks are limited, tracks are found by number, and it yields to the caller regularly.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from msgspec import Struct, field

from . import ogg
from .limits import ClipNotes

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
# elements whose content is read; the others are skipped by size
_CONTAINERS: Final = frozenset({_SEGMENT, _CLUSTER, _TRACKS, _TRACK, _BLOCK_GROUP})
MAX_ELEMENTS: Final = 500_000  # an hour is 180,000 packets of 20 ms
MAX_TRACKS: Final = 16
_MAX_HEAD_BYTES: Final = 64 << 10  # Vorbis has its code books there
_AT_ONCE: Final = 4096  # elements, or pages, between two turns of the caller
_PADDING_BYTES: Final = 64
_LACING: Final = 0x06
_OPUS: Final = b"A_OPUS"
_VORBIS: Final = b"A_VORBIS"
_KNOWN: Final = (_OPUS, _VORBIS)
_LEAST_OPUS_HEAD: Final = 19  # bytes; with a table of 255 channels:
_MOST_OPUS_HEAD: Final = 21 + 255
_VORBIS_HEAD: Final = 30  # bytes of the first of three
_LONGEST_BLOCK: Final = 8192  # samples of a packet of Vorbis


class BadWebm(ValueError):
    """A WebM without sound that can be taken out; `code` is the code for the client."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


class _Track(Struct):
    number: int = 0
    codec: bytes = b""
    head: bytes = b""
    packets: list[bytes] = field(default_factory=list)


def ogg_parts(data: bytes, notes: ClipNotes) -> Iterator[bytes]:
    """The first track of Opus (RFC 7845) or Vorbis as an OGG file, in parts, which may be empty.

    Each part takes little time. Raises BadWebm at any part.
    """
    found = _Found()
    try:
        for count, (identity, start, end) in enumerate(_elements(data, notes)):
            if count % _AT_ONCE == 0:
                yield b""
            if identity in (_BLOCK, _SIMPLE_BLOCK):
                _take_packet(data, start, end, found)
            else:
                found.describe(identity, data, start, end)
    except _NoElement as e:
        if not found.packets:
            raise BadWebm("damaged_audio", str(e)) from e
        notes.truncated = True
    track = found.readable()
    if not track.packets:
        raise BadWebm("empty_audio", "it holds no sound")
    if track.codec == _OPUS:
        yield from ogg.opus(track.head, track.packets)
    else:
        yield from ogg.vorbis(_vorbis_heads(track.head), track.packets, _LONGEST_BLOCK * len(track.packets))


def _vorbis_heads(private: bytes) -> list[bytes]:
    """The three head packets, which are laced as in OGG. Raises BadWebm."""
    position, sizes = 1, []
    for _ in range(2):
        size = 0
        while position < len(private):
            size += private[position]
            position += 1
            if private[position - 1] < 255:
                break
        sizes.append(size)
    first, second = position + sizes[0], position + sum(sizes)
    heads = [private[position:first], private[first:second], private[second:]]
    if private[:1] != b"\2" or len(heads[0]) != _VORBIS_HEAD or not all(head[1:7] == b"vorbis" for head in heads):
        raise BadWebm("damaged_audio", "its Vorbis track has no header")
    return heads


class _Found:
    """The tracks so far: in the order of the file, and by number those that OGG can hold."""

    def __init__(self) -> None:
        self._tracks: list[_Track] = []
        self._by_number: dict[int, _Track] = {}

    def describe(self, identity: int, data: bytes, start: int, end: int) -> None:
        """Reads what an element has about its track. Raises BadWebm for more tracks than any recording has."""
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
            self._tracks[-1].head = data[start : min(end, start + _MAX_HEAD_BYTES)]
        else:
            return
        self._by_number = {track.number: track for track in reversed(self._tracks) if track.codec in _KNOWN}

    def numbered(self, number: int) -> _Track | None:
        """The one of these tracks with this number, the first if there are several."""
        return self._by_number.get(number)

    @property
    def packets(self) -> bool:
        """Whether there is sound already."""
        return any(track.packets for track in self._tracks)

    def readable(self) -> _Track:
        """The first track that OGG can hold. Raises BadWebm."""
        for track in self._tracks:
            if track.codec in _KNOWN:
                if track.codec == _OPUS and (
                    track.head[:8] != b"OpusHead" or not _LEAST_OPUS_HEAD <= len(track.head) <= _MOST_OPUS_HEAD
                ):
                    raise BadWebm("damaged_audio", "its Opus track has no header")
                if track.codec == _VORBIS:
                    _vorbis_heads(track.head)
                return track
        codecs = ", ".join(track.codec.decode("ascii", errors="replace") for track in self._tracks[:4]) or "no track"
        raise BadWebm("unsupported_audio", f"it holds {codecs}, only Opus and Vorbis are read")


def _take_packet(data: bytes, start: int, end: int, found: _Found) -> None:
    try:
        number, body = _number(data, start, keep_marker=False)
    except _CutOff:
        return
    flags = data[body + 2] if body + 2 < end else 0
    track = found.numbered(number)
    if track is None:
        return
    if flags & _LACING:
        raise BadWebm("unsupported_audio", "its packets are laced")
    packet = data[body + 3 : end]
    if len(packet) > ogg.MAX_PACKET_BYTES:
        raise BadWebm("damaged_audio", f"it has a packet of {len(packet)} bytes")
    if packet:
        track.packets.append(packet)


def _elements(data: bytes, notes: ClipNotes) -> Iterator[tuple[int, int, int]]:
    """(id, start, end of content) of every element in file order, containers entered (EBML, RFC 8794).

    Containers are recognised by their id alone, so those of unknown size, as in live recordings, need no special care.
    """
    position = 0
    for _ in range(MAX_ELEMENTS):
        if position >= len(data):
            return
        try:
            identity, position = _number(data, position, keep_marker=True)
            first = position
            size, position = _number(data, position, keep_marker=False)
        except _CutOff:
            notes.truncated = True
            return
        unknown = size == (1 << 7 * (position - first)) - 1
        if identity in _CONTAINERS:
            yield identity, position, position
            continue
        if unknown or position + size > len(data):
            notes.truncated = True
            return
        yield identity, position, position + size
        position += size
        if not data[position : position + _PADDING_BYTES].strip(b"\0\r\n"):
            return  # the end, or what a form or a download added after it
    raise BadWebm("damaged_audio", f"it has more than {MAX_ELEMENTS} elements")


class _CutOff(Exception):
    """The bytes end inside a number."""


class _NoElement(Exception):
    """The bytes that follow are damaged, or are not WebM."""


def _number(data: bytes, position: int, *, keep_marker: bool) -> tuple[int, int]:
    """An EBML variable-length number and the position after it."""
    if position >= len(data):
        raise _CutOff
    first = data[position]
    length = 9 - first.bit_length()
    if length > 8:
        raise _NoElement(f"byte {position} begins no element")
    if position + length > len(data):
        raise _CutOff
    value = int.from_bytes(data[position : position + length], "big")
    return value if keep_marker else value & ((1 << 7 * length) - 1), position + length
