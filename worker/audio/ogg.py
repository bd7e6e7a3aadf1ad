"""Writes packets of Opus and Vorbis into OGG, and checks whether an OGG file ends inside a page.

No sound is decoded here: only the container differs. Pure, on bytes. It yields to the caller after a number of pages.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import Final

MAX_PACKET_BYTES: Final = 255 * 254
_PAGES_AT_ONCE: Final = 4096
_PARTS_AT_ONCE: Final = 64


def opus(head: bytes, packets: list[bytes]) -> Iterator[bytes]:
    """An OGG Opus file (RFC 7845) in parts; `head` is its OpusHead."""
    return _stream([head], [b"OpusTags" + _no_comments()], packets, [_opus_samples(p) for p in packets])


def vorbis(heads: list[bytes], packets: list[bytes], samples: int) -> Iterator[bytes]:
    """An OGG Vorbis file in parts; `heads` are its three head packets, `samples` is at least what it holds."""
    counts = [0] * len(packets)
    counts[-1:] = [samples]
    return _stream(heads[:1], heads[1:], packets, counts)


def _no_comments() -> bytes:
    vendor = b"modelward"
    return struct.pack("<I", len(vendor)) + vendor + bytes(4)


def _stream(first: list[bytes], heads: list[bytes], packets: list[bytes], samples: list[int]) -> Iterator[bytes]:
    parts = [_page(first, 0, 0, flags=2)]
    held: list[bytes] = []
    segments = total = 0
    for packet in heads:
        for page in _large(packet, len(parts)):
            parts.append(page)
    sequence = len(parts)
    for packet, count in zip(packets, samples, strict=True):
        needed = len(packet) // 255 + 1
        if segments + needed > 255:
            # Vorbis: only the end is known. With a 0 here the library would drop the sound after sample 0.
            parts.append(_page(held, total or -1, sequence, flags=0))
            sequence, held, segments = sequence + 1, [], 0
        held.append(packet)
        segments += needed
        total += count
        if len(parts) >= _PARTS_AT_ONCE:
            yield b"".join(parts)
            parts.clear()
    parts.append(_page(held, total, sequence, flags=4))
    yield b"".join(parts)


def _large(packet: bytes, sequence: int) -> Iterator[bytes]:
    """The pages of a packet that may be longer than one page."""
    pieces = [packet[start : start + 255 * 255] for start in range(0, len(packet) + 1, 255 * 255)]
    for number, piece in enumerate(pieces):
        last = number == len(pieces) - 1
        table = b"\xff" * (len(piece) // 255) + (bytes([len(piece) % 255]) if last else b"")
        yield _bytes_of(table, piece, 0 if last else -1, sequence + number, 1 if number else 0)


def _page(packets: list[bytes], granule: int, sequence: int, *, flags: int) -> bytes:
    """One page of whole packets (RFC 3533); `granule` counts the samples up to its end."""
    table = b"".join(b"\xff" * (len(packet) // 255) + bytes([len(packet) % 255]) for packet in packets)
    return _bytes_of(table, b"".join(packets), granule, sequence, flags)


def _bytes_of(table: bytes, body: bytes, granule: int, sequence: int, flags: int) -> bytes:
    page = struct.pack("<4sBBqIIIB", b"OggS", 0, flags, granule, 1, sequence, 0, len(table)) + table + body
    return page[:22] + struct.pack("<I", _checksum(page)) + page[26:]


def _opus_samples(packet: bytes) -> int:
    """The number of samples at 48 kHz in an Opus packet (RFC 6716, 3.1)."""
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
    """OGG's CRC: zlib's polynomial with reversed bits and no inversion."""
    mirrored = zlib.crc32(page.translate(_MIRRORED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int.from_bytes(mirrored.to_bytes(4, "little").translate(_MIRRORED), "big")


def pages_are_whole(data: bytes) -> Iterator[bool]:
    """Yields True during the check, and last whether the file ends at the end of a page (RFC 3533).

    The library would silently read up to the page before. A last page without its end mark is no fault, because
    browsers record like that. Bytes after the stream, or damage, are left to the library.
    """
    position = pages = 0
    while position < len(data):
        if data[position : position + 4] != b"OggS":
            break
        table = data[position + 27 : position + 27 + data[position + 26]] if position + 26 < len(data) else b""
        position += 27 + len(table) + sum(table)
        pages += 1
        if pages % _PAGES_AT_ONCE == 0:
            yield True
    yield position <= len(data)
