"""Decides what a file is by its first bytes: never by its name, and by what the client declares only as a last resort.

Pure. Other kinds are refused. The libraries would try dozens of other formats, none in use for speech; fewer parsers
then read untrusted bytes.
"""

from __future__ import annotations

from typing import Final, Literal

from msgspec import Struct

from . import mp3, wav

READ: Final = "WAV, FLAC, OGG, MP3, WebM or MP4"
Reader = Literal["wav", "library", "webm", "mp4", "media", "silk"]
_ASF: Final = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_BOXES: Final = frozenset({b"ftyp", b"moov", b"mdat", b"moof", b"styp", b"wide", b"free", b"skip", b"pnot"})
_TS_BYTES: Final = 188
_LIBRARY_IN_CAF: Final = frozenset({b"lpcm", b"ulaw", b"alaw"})


class AudioKind(Struct, frozen=True):
    """Which library reads it, its name for people, and the demuxer of FFmpeg for it, if needed.

    `start` is where it begins in the bytes.
    """

    reader: Reader
    name: str
    demuxer: str = ""
    start: int = 0


def kind_of(data: bytes | bytearray) -> AudioKind | None:
    """The kind by the first bytes alone, in no time; None when they do not show it at once."""
    head = bytes(data[:64])
    if head[:4] in wav.FORMS and (head[8:12] == b"WAVE" or len(head) < 12):
        return AudioKind("wav", "WAV", "wav")
    if head[:4] == b"OggS":
        return _ogg(head)
    if head[:4] == b"caff":
        return _caf(data)
    if head[:4] == b"\x1a\x45\xdf\xa3":
        return AudioKind("webm", "WebM", "matroska")
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return AudioKind("media", "AVI", "avi")
    if head[4:8] in _BOXES:
        return AudioKind("mp4", _mp4_name(head), "mov")
    if head[:3] == b"ID3":
        return _after_id3(data)
    return _by_mark(head) or (_adts(data) if _is_adts(head) else None)


def kind_after_search(data: bytes | bytearray) -> AudioKind | None:
    """The kind after a search: MP3 that begins inside a frame or after zeros, and streams of packets."""
    if (kind := kind_of(data)) is not None:
        return kind
    if data[:1] == b"\x47" and all(data[at : at + 1] in (b"\x47", b"") for at in range(0, 4 * _TS_BYTES, _TS_BYTES)):
        return AudioKind("media", "MPEG-TS", "mpegts") if len(data) > _TS_BYTES else None
    if (start := mp3.first_frame(data)) is not None:
        return AudioKind("library", "MP3", "mp3", start)
    if data[:1] == b"\xff" and data[1:2] and data[1] & 0xE0 == 0xE0:
        return AudioKind("library", "MP3", "mp3")  # the part that arrived is too short, or has a layout of its own
    return None


def unread_name(data: bytes | bytearray) -> str:
    """The name of a known sound format that is not read here; "" for unknown bytes."""
    head = bytes(data[:16])
    return next((name for mark, name in _UNREAD if head.startswith(mark)), "")


def _by_mark(head: bytes) -> AudioKind | None:
    for mark, kind in _MARKS:
        if head.startswith(mark):
            return kind
    return None


_MARKS: Final = (
    (b"fLaC", AudioKind("library", "FLAC", "flac")),
    (b".snd", AudioKind("library", "AU", "au")),
    (b"FORM", AudioKind("library", "AIFF", "aiff")),
    (b"riff", AudioKind("library", "W64", "w64")),
    (b"#!AMR", AudioKind("media", "AMR", "amr")),
    (b"#!SILK_V3", AudioKind("silk", "SILK")),
    (b"\x02#!SILK_V3", AudioKind("silk", "SILK", start=1)),
    (_ASF, AudioKind("media", "WMA", "asf")),
    (b"FLV\x01", AudioKind("media", "FLV", "flv")),
    (b"wvpk", AudioKind("media", "WavPack", "wv")),
    (b"TTA1", AudioKind("media", "TTA", "tta")),
    (b"\x0b\x77", AudioKind("media", "AC-3", "ac3")),
)


_UNREAD: Final = (
    (b"NIST_1A", "NIST SPHERE"),
    (b"MAC ", "Monkey's Audio"),
    (b".RMF", "RealMedia"),
    (b"DSD ", "DSF"),
    (b"MThd", "MIDI, which holds notes, not sound"),
    (b"\x1f\x43\xb6\x75", "a part of a WebM recording, whose beginning is missing"),
)


def _ogg(head: bytes) -> AudioKind:
    """The codec by the first packet, which follows a table of one entry."""
    if head[28:33] == b"\x7fFLAC":
        return AudioKind("media", "FLAC in OGG", "ogg")
    if head[28:36] == b"Speex   ":
        return AudioKind("media", "Speex in OGG", "ogg")
    return AudioKind("library", "OGG", "ogg")


def _caf(data: bytes | bytearray) -> AudioKind:
    codec = bytes(data[28:32])
    if codec in _LIBRARY_IN_CAF or bytes(data[8:12]) != b"desc":
        return AudioKind("library", "CAF", "caf")
    name = "".join(chr(byte) for byte in codec if 32 < byte < 127)
    return AudioKind("media", f"CAF with {name}", "caf")


def _mp4_name(head: bytes) -> str:
    brand = head[8:11] if head[4:8] == b"ftyp" else b""
    return "3GP" if brand in (b"3gp", b"3g2") else "MP4"


def _after_id3(data: bytes | bytearray) -> AudioKind:
    start = mp3.after_tag(bytes(data[:10]))
    if _is_adts(bytes(data[start : start + 4])):
        return AudioKind("media", "AAC", "aac")
    return AudioKind("library", "MP3", "mp3")


def _is_adts(head: bytes) -> bool:
    """Whether AAC's own frames begin here: they are like those of MPEG audio, with a layer that does not exist
    there.
    """
    return len(head) > 2 and head[0] == 0xFF and head[1] & 0xF6 == 0xF0 and head[2] >> 2 & 15 < 13


def _adts(data: bytes | bytearray) -> AudioKind | None:
    """Accepted only when the next frame begins where this one ends."""
    length = (data[3] & 3) << 11 | data[4] << 3 | data[5] >> 5 if len(data) > 6 else 0
    there = bytes(data[length : length + 4])
    return AudioKind("media", "AAC", "aac") if length > 6 and (_is_adts(there) or not there) else None
