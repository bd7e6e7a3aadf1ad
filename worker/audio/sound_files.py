"""Reads compressed audio with libsndfile, block by block, and browser recordings after rewrapping them.

Only what `audio.kind_of` let through comes here. Believes no length that a header gives, and leaves the turn to the
caller after each little piece of work. Invariant: whatever is wrong with the bytes is a BadAudio.
"""

from __future__ import annotations

import io
from collections.abc import Generator, Iterator
from typing import Final

import soundfile

from . import webm
from .decode import (
    NOTHING,
    READ,
    AudioLimits,
    BadAudio,
    Blocks,
    Converter,
    Floats,
    block_frames,
)

_PAGES_AT_ONCE: Final = 4096
_MAX_COUNT: Final = 1 << 40  # frame counts above are a library's way to say unknown
_EXACT: Final = frozenset({"FLAC", "AIFF", "AU", "CAF", "W64", "RF64", "WAV", "WAVEX"})


def decoded_blocks(data: bytes, kind: str, limits: AudioLimits) -> Blocks:
    """What `audio.blocks` gives, for everything but plain WAV. Raises BadAudio, at any part."""
    if kind == "webm":
        try:
            data = yield from _rewrapped(data)
        except webm.BadWebm as e:
            raise BadAudio(e.code, f"cannot read the WebM file: {e}") from e
    if data[:4] == b"OggS":
        yield from _whole_ogg(data)
    yield from _library_blocks(data, limits)


def _rewrapped(data: bytes) -> Generator[Floats, None, bytes]:
    parts: list[bytes] = []
    for part in webm.ogg_parts(data):
        parts.append(part)
        yield NOTHING
    return b"".join(parts)


class _Forward(soundfile.SoundFile):  # type: ignore[misc]  # the package ships no types
    """A file that is only read on. soundfile otherwise seeks to where it is after each block, which fails at the end of
    a FLAC of unknown length and costs the decoders of lossy formats their state."""

    def seekable(self) -> bool:
        return False


class _BytesFile(io.BytesIO):
    """Bytes as a file. A damaged header may send the library before its beginning: there it stays where it is, which
    the library notices; an exception would only be printed."""

    def seek(self, offset: int, whence: int = 0, /) -> int:
        try:
            return super().seek(offset, whence)
        except (ValueError, OverflowError):
            return self.tell()


def _whole_ogg(data: bytes) -> Blocks:
    """Raises BadAudio when the file ends inside a page (RFC 3533). The library would read on silently to the page
    before.

    A last page without its end mark is no fault: browsers record like that.
    """
    position = pages = 0
    while position < len(data):
        if data[position : position + 4] != b"OggS":
            return  # something after the stream, or damage: the library's to say
        table = data[position + 27 : position + 27 + data[position + 26]] if position + 26 < len(data) else b""
        position += 27 + len(table) + sum(table)
        pages += 1
        if pages % _PAGES_AT_ONCE == 0:
            yield NOTHING
    if position > len(data):
        raise BadAudio("truncated_audio", "cannot read the OGG file: its last page is not complete")


def _library_blocks(data: bytes, limits: AudioLimits) -> Blocks:
    frames = 0
    try:
        with _Forward(_BytesFile(data)) as source:
            known = source.frames if 0 <= source.frames < _MAX_COUNT else None
            converter = Converter(source.samplerate, source.channels, limits)
            limits.promised(known or 0, source.samplerate)
            for block in _frames(source):
                frames += len(block)
                yield converter.add(block)
            exact = source.format in _EXACT and known is not None
    except BadAudio:
        raise
    except (soundfile.SoundFileError, RuntimeError, ValueError, TypeError, OSError) as e:
        raise _cannot_read(e, frames > 0) from e
    if exact and known is not None and frames < known:
        raise BadAudio(
            "truncated_audio",
            f"cannot read the audio: {known} samples are promised, only {frames} arrived",
        )
    yield converter.finish()


def _frames(source: _Forward) -> Iterator[Floats]:
    step = block_frames(source.samplerate, source.channels)
    while True:
        block: Floats = source.read(step, dtype="float32", always_2d=True)
        if len(block) == 0:
            return
        yield block


def _cannot_read(error: Exception, begun: bool) -> BadAudio:
    # the library's text begins with the name of its file object, which tells a client nothing
    cause = str(error).rsplit("Error : ", 1)[-1].rsplit(">: ", 1)[-1].strip().rstrip(".")
    if begun:
        return BadAudio("truncated_audio", f"cannot read the audio: it ends early or is damaged ({cause})")
    if "not recognised" in cause or "unknown format" in cause.lower():
        return BadAudio("unsupported_audio", f"cannot read the audio: it is not {READ}")
    return BadAudio("damaged_audio", f"cannot read the audio: it is damaged or cut off ({cause})")
