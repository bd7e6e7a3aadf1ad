"""Uploads of a few bytes that want much work, or much memory, of whoever reads them."""

from __future__ import annotations

import functools
import gzip
import io

import numpy as np
import soundfile

EBML = b"\x1a\x45\xdf\xa3\x80"


def tracks_webm(tracks: int) -> bytes:
    """Empty tracks, and as many blocks of a track that is not there."""
    return EBML + b"\xae\x80" * tracks + b"\xa3\x84\x81\x00\x00\x80" * tracks


def empty_members(count: int) -> bytes:
    """A gzip body of members that hold nothing."""
    return gzip.compress(b"", mtime=0) * count


def slow_wav(seconds: int, rate: int = 1) -> bytes:
    """A WAV with so few samples a second."""
    body = bytes(seconds * rate)
    form = b"".join(n.to_bytes(size, "little") for n, size in ((1, 2), (1, 2), (rate, 4), (rate, 4), (1, 2), (8, 2)))
    riff = (36 + len(body)).to_bytes(4, "little")
    length = len(body).to_bytes(4, "little")
    return b"RIFF" + riff + b"WAVEfmt \x10\0\0\0" + form + b"data" + length + body


def quiet_flac(seconds: int) -> bytes:
    """FLAC at 8 kHz in frames of 65,535 equal samples, 13 bytes each."""
    samples = seconds * 8000
    info = (65535).to_bytes(2, "big") * 2 + bytes(6) + (8000 << 12 | 15 << 4 | samples >> 32).to_bytes(4, "big")
    head = b"fLaC" + b"\x80\0\0\x22" + info + (samples & 0xFFFFFFFF).to_bytes(4, "big") + bytes(16)
    return head + b"".join(_flac_frame(number) for number in range(samples // 65535))


def _flac_frame(number: int) -> bytes:
    coded = bytes([number]) if number < 128 else bytes([0xC0 | number >> 6, 0x80 | number & 63])
    head = b"\xff\xf8\x74\x08" + coded + (65534).to_bytes(2, "big")
    frame = head + bytes([_crc(head, 8, 0x07)]) + b"\0\0\0"
    return frame + _crc(frame, 16, 0x8005).to_bytes(2, "big")


def _crc(data: bytes, bits: int, polynomial: int) -> int:
    rest = 0
    for byte in data:
        rest ^= byte << (bits - 8)
        for _ in range(8):
            rest = (rest << 1 ^ polynomial if rest >> (bits - 1) else rest << 1) & (1 << bits) - 1
    return rest


@functools.cache
def spoken(seconds: int, format: str = "OGG", subtype: str = "OPUS") -> bytes:
    """Something like speech: tones and noise that come and go."""
    made = io.BytesIO()
    random = np.random.default_rng(7)
    with soundfile.SoundFile(made, "w", 16_000, 1, subtype, format=format) as file:
        times = np.arange(16_000) / 16_000
        voice = 0.3 * np.sin(2 * np.pi * 220 * times) * (np.sin(2 * np.pi * 3 * times) > 0)
        for _ in range(seconds):
            file.write((voice + 0.02 * random.standard_normal(16_000)).astype(np.float32))
    return made.getvalue()


def encoded_tone(seconds: float, format: str, subtype: str) -> bytes:
    """A short file of that kind; at 8 kHz, which every kind can have."""
    made = io.BytesIO()
    tone = 0.3 * np.sin(2 * np.pi * 440 * np.arange(int(8000 * seconds)) / 8000)
    soundfile.write(made, tone.astype(np.float32), 8000, format=format, subtype=subtype)
    return made.getvalue()


def spoken_webm(seconds: int) -> bytes:
    """The same as a browser records it: ten seconds again and again, as encoding takes longer than all the rest."""
    ogg = spoken(10)
    packets = [packet for packet in _packets(ogg) if not packet.startswith((b"OpusHead", b"OpusTags"))]
    head = next(packet for packet in _packets(ogg) if packet.startswith(b"OpusHead"))
    track = _element(b"\xd7", b"\1") + _element(b"\x86", b"A_OPUS") + _element(b"\x63\xa2", head)
    blocks = b"".join(_element(b"\xa3", b"\x81\0\0\x80" + packet) for packet in packets)
    return EBML + _element(b"\x16\x54\xae\x6b", _element(b"\xae", track)) + blocks * (seconds // 10)


def vorbis_webm(ogg: bytes) -> bytes:
    """An OGG Vorbis file's packets in WebM."""
    one, two, three, *packets = _packets(ogg)
    laced = b"\2" + b"".join(b"\xff" * (len(head) // 255) + bytes([len(head) % 255]) for head in (one, two))
    track = _element(b"\xd7", b"\1") + _element(b"\x86", b"A_VORBIS") + _element(b"\x63\xa2", laced + one + two + three)
    blocks = b"".join(_element(b"\xa3", b"\x81\0\0\x80" + packet) for packet in packets)
    return EBML + _element(b"\x16\x54\xae\x6b", _element(b"\xae", track)) + blocks


def _element(identity: bytes, body: bytes) -> bytes:
    return identity + (len(body) | 1 << 28).to_bytes(4, "big") + body


def _packets(ogg: bytes) -> list[bytes]:
    position, found, packet = 0, [], b""
    while position < len(ogg):
        table = ogg[position + 27 : position + 27 + ogg[position + 26]]
        position += 27 + len(table)
        for size in table:
            packet += ogg[position : position + size]
            position += size
            if size < 255:
                found.append(packet)
                packet = b""
    return found
