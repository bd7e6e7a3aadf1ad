"""Finds where an MPEG audio stream begins after other bytes, and adds a head to it. Pure.

A recording of a radio stream begins inside a frame, and some files begin with zeros. Text and pictures may contain what
looks like the head of a frame. So only a row of frames is accepted, in which each begins where the one before ends. A
stream without a head of its own (Xing's) has no length: the library would estimate it from the first frame, and read no
further.
"""

from __future__ import annotations

from typing import Final

SEARCHED_BYTES: Final = 64 << 10  # a frame is at most 2,881 bytes
_CANDIDATES: Final = 500  # bytes that might begin a frame: two milliseconds of search
_FRAMES: Final = 3  # in a row, or up to the end of the bytes

# kbit/s by (version 1?, layer), sample rates of version 1
_RATES: Final = {
    (True, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_HAS_FRAMES: Final = 1  # flags of a head
_HAS_BYTES: Final = 2
_ID3V1_BYTES: Final = 128
_LAYER_3: Final = 1  # as in the bytes
_MOST_BITS: Final = 0xE0
_LEAST_BYTES: Final = 24  # of a frame
_HZ: Final = (44_100, 48_000, 32_000)


def first_frame(data: bytes | bytearray) -> int | None:
    """Where the first frame begins; None when there is none near the beginning."""
    position = -1
    for _ in range(_CANDIDATES):
        position = data.find(b"\xff", position + 1, SEARCHED_BYTES)
        if position < 0:
            return None
        if _frames_follow(data, position):
            return position
    return None


def _frames_follow(data: bytes | bytearray, position: int) -> bool:
    for count in range(_FRAMES):
        if position >= len(data):
            return count > 1
        length = frame_bytes(bytes(data[position : position + 4]))
        if length == 0:
            return False
        position += length
    return True


def headed(data: bytes, start: int) -> bytes:
    """The stream that begins at `start`, with a head in front of it that promises more than there can be.

    "" for a stream that has a head of its own for all of it, or that can have none.
    """
    size = frame_bytes(data[start : start + 4])
    if size == 0 or data[start + 1] >> 1 & 3 != _LAYER_3:
        return b""
    first = data[start : start + size]
    if _others_follow(data, start):
        start += size  # only the head of the first file
    elif any(mark in first for mark in (b"Xing", b"Info", b"VBRI")):
        return b""
    head = bytes([first[0], first[1] | 1, first[2] & 0x0C | _MOST_BITS, first[3]])
    version_1, mono = first[1] >> 3 & 3 == 3, first[3] >> 6 == 3
    side_bytes = (17 if mono else 32) if version_1 else (9 if mono else 17)
    mark = b"Xing" + (1).to_bytes(4, "big") + (len(data) // _LEAST_BYTES + 1).to_bytes(4, "big")
    return (head + bytes(side_bytes) + mark).ljust(frame_bytes(head), b"\0") + data[start:]


def counts_frames(data: bytes, start: int) -> bool:
    """Whether the stream has a head that gives the number of frames."""
    at = _head_at(data, start)
    return at > 0 and int.from_bytes(data[at + 4 : at + 8], "big") & _HAS_FRAMES != 0


def _head_at(data: bytes, start: int) -> int:
    """Where Xing's head is in the first frame; 0 where there is none."""
    end = start + frame_bytes(data[start : start + 4])
    return max(0, data.find(b"Xing", start, end), data.find(b"Info", start, end))


def _others_follow(data: bytes, start: int) -> bool:
    """Whether the stream continues after the bytes that its head counts: files were joined."""
    at = _head_at(data, start)
    flags = int.from_bytes(data[at + 4 : at + 8], "big")
    if at == 0 or not flags & _HAS_BYTES:
        return False
    place = at + 8 + 4 * (flags & _HAS_FRAMES)
    end = start + int.from_bytes(data[place : place + 4], "big")
    if data[end : end + 3] == b"TAG":
        end += _ID3V1_BYTES
    return end > start and _frames_follow(data, after_tag(data, end))


def seconds_by_first_frame(data: bytes, start: int) -> float:
    """How long the stream is if all frames are like the first."""
    head = data[start : start + 4]
    size = frame_bytes(head)
    if size == 0:
        return 0.0
    version, hz = head[1] >> 3 & 3, _HZ[head[2] >> 2 & 3]
    samples = 1152 if version == 3 else 576
    return (len(data) - start) / size * samples / (hz >> (3 - version if version else 2))


def after_tag(data: bytes, start: int = 0) -> int:
    """Where the stream begins, if an ID3 tag may come first at `start`."""
    if data[start : start + 3] != b"ID3":
        return start
    size = 0
    for byte in data[start + 6 : start + 10]:
        size = size << 7 | byte & 0x7F
    return start + 10 + size


def frame_bytes(head: bytes) -> int:
    """How long the frame with this head is; 0 if these bytes are not the head of a frame."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return 0
    version, layer = head[1] >> 3 & 3, 4 - (head[1] >> 1 & 3)
    rate, hz, padding = head[2] >> 4, head[2] >> 2 & 3, head[2] >> 1 & 1
    if version == 1 or layer == 4 or rate in (0, 15) or hz == 3:
        return 0
    bits = _RATES[version == 3, layer][rate - 1] * 1000
    samples_a_second = _HZ[hz] >> (3 - version if version else 2)
    if layer == 1:
        return (12 * bits // samples_a_second + padding) * 4
    return (72 if layer == 3 and version != 3 else 144) * bits // samples_a_second + padding
