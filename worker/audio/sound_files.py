"""Reads compressed audio with libsndfile, block by block: files as they are, and recordings after rewrapping.

What libsndfile cannot read goes to FFmpeg's libraries where they are installed (`media`). Otherwise it is refused with
the name of its format. It believes no length in a header, and yields to the caller after each small piece of work.
Invariant: any fault in the bytes is a BadAudio. Everything before a missing end is read.
"""

from __future__ import annotations

import io
from collections.abc import Generator, Iterator
from typing import Final

import numpy as np
import soundfile

from . import media, mp3, mp4, ogg, silk, wav, webm
from .claimed_length import lost_its_end
from .converter import Converter, block_frames
from .kinds import READ, AudioKind
from .limits import NOTHING, AudioLimits, BadAudio, Floats

Blocks = Iterator[Floats]

_STEP_FRAMES: Final = 1024  # frames read at once: this much is lost where a file breaks off
_MAX_COUNT: Final = 1 << 40  # with a larger count the library means: unknown
_EXACT: Final = frozenset({"FLAC", "AIFF", "AU", "CAF", "W64"})
_MISSED_SECONDS: Final = 0.1  # a header with a smaller difference counts something else too
_ERRORS: Final = (soundfile.SoundFileError, RuntimeError, ValueError, TypeError, OSError)


def decoded_blocks(data: bytes, kind: AudioKind, limits: AudioLimits, split: bool) -> Blocks:
    """What `decode.blocks` gives, for everything except plain WAV. Raises BadAudio at any part."""
    match kind.reader:
        case "webm":
            return _webm_blocks(data, kind, limits, split)
        case "mp4":
            return _mp4_blocks(data, kind, limits, split)
        case "media":
            return media.blocks(data, kind, limits, split)
        case "silk":
            return silk.blocks(data[kind.start :], limits, split)
        case _:
            return _file_blocks(data, kind, limits, split)


def _webm_blocks(data: bytes, kind: AudioKind, limits: AudioLimits, split: bool) -> Blocks:
    try:
        rewrapped = yield from _joined(webm.ogg_parts(data, limits.notes))
    except webm.BadWebm as e:
        if e.code != "unsupported_audio" or not media.available():
            advice = f"; {media.ADVICE}" if e.code == "unsupported_audio" else ""
            raise BadAudio(e.code, f"cannot read the WebM file: {e}{advice}") from e
        yield from media.blocks(data, kind, limits, split)
        return
    yield from _library_blocks(rewrapped, limits, split, counted=not rewrapped.startswith(b"\x01vorbis", 28))


def _mp4_blocks(data: bytes, kind: AudioKind, limits: AudioLimits, split: bool) -> Blocks:
    if media.available():
        yield from media.blocks(data, kind, limits, split)
        return
    try:
        rewrapped = yield from _joined(mp4.ogg_parts(data, limits.notes))
    except BadAudio as e:
        if e.code != "unsupported_audio":
            raise
        codecs = mp4.codec_names(data)
        raise media.missing(f"{kind.name} with {codecs}" if codecs else kind.name) from e
    yield from _library_blocks(rewrapped, limits, split)


def _file_blocks(data: bytes, kind: AudioKind, limits: AudioLimits, split: bool) -> Blocks:
    if kind.name == "OGG":
        for whole in ogg.pages_are_whole(data):
            limits.notes.truncated = not whole
            yield NOTHING
    else:  # the library counts only the samples that arrived
        limits.notes.truncated = lost_its_end(data, kind.name)
    file, counted = data[kind.start :] if kind.start else data, True
    if kind.name == "MP3" and (streamed := mp3.headed(file, mp3.after_tag(file))):
        limits.notes.expected_seconds = mp3.seconds_by_first_frame(file, mp3.after_tag(file))
        file, counted = streamed, False
    exact = counted and kind.name == "MP3" and mp3.counts_frames(file, mp3.after_tag(file))
    begun = False
    try:
        for block in _library_blocks(file, limits, split, counted=counted, exact=exact):
            begun = begun or len(block) > 0
            yield block
    except _CannotRead as e:
        if begun or not media.available():
            raise _named(e, data, kind) from e
        yield from media.blocks(data, kind, limits, split)


def _joined(parts: Iterator[bytes]) -> Generator[Floats, None, bytes]:
    kept: list[bytes] = []
    for part in parts:
        kept.append(part)
        yield NOTHING
    return b"".join(kept)


class _Forward(soundfile.SoundFile):  # type: ignore[misc]  # the package ships no types
    """A file that is only read forward.

    Otherwise soundfile seeks to the current position after each block. That fails at the end of a FLAC of unknown
    length, and it makes decoders of lossy formats lose their state.
    """

    def seekable(self) -> bool:
        return False


class _BytesFile(io.BytesIO):
    """Bytes as a file. A damaged header may make the library seek to before the beginning.

    Then the position does not change, which the library notices. An exception would only be printed.
    """

    def seek(self, offset: int, whence: int = 0, /) -> int:
        try:
            return super().seek(offset, whence)
        except (ValueError, OverflowError):
            return self.tell()


class _CannotRead(BadAudio):
    """The library refuses the file before the first sample."""


def _library_blocks(
    data: bytes, limits: AudioLimits, split: bool, *, counted: bool = True, exact: bool = False
) -> Blocks:
    """The blocks of the library. `counted`: the file may know its number of frames; `exact`: it does."""
    frames = 0
    try:
        with _Forward(_BytesFile(data)) as source:
            known = source.frames if counted and 0 <= source.frames < _MAX_COUNT else None
            converter = Converter(source.samplerate, source.channels, limits, split=split)
            if known:
                limits.promised(known, source.samplerate)
            for block in _frames(source):
                frames += len(block)
                yield converter.add(block)
            lossless = source.format == "FLAC"
            exact = known is not None and (exact or source.format in _EXACT)
    except BadAudio:
        raise
    except _ERRORS as e:
        if frames == 0:
            raise _cannot_read(e) from e
        limits.notes.truncated = True
    else:
        missed = (known or 0) - frames
        if exact and missed > (0 if lossless else _MISSED_SECONDS * converter.rate):
            limits.notes.truncated = True
    yield converter.finish()


def _frames(source: _Forward) -> Iterator[Floats]:
    """Blocks, each read in small steps: where the library stops at damage, only the current step is lost."""
    rows = block_frames(source.samplerate, source.channels)
    step = max(1, min(_STEP_FRAMES, rows))
    while True:
        block = np.empty((rows, source.channels), np.float32)
        filled = 0
        try:
            while filled < rows:
                read = source.read(out=block[filled : min(filled + step, rows)])
                if len(read) == 0:
                    break
                filled += len(read)
        except _ERRORS:
            if filled:
                yield block[:filled]
            raise
        if filled == 0:
            return
        yield block[:filled]


def _cannot_read(error: Exception) -> _CannotRead:
    # the library's text begins with the name of its file object, which means nothing to a client
    cause = str(error).rsplit("Error : ", 1)[-1].rsplit(">: ", 1)[-1].strip().rstrip(".")
    if "not recognised" in cause or "unknown format" in cause.lower():
        return _CannotRead("unsupported_audio", f"cannot read the audio: it is not {READ}")
    return _CannotRead("damaged_audio", f"cannot read the audio: it is damaged or cut off ({cause})")


def _named(error: _CannotRead, data: bytes, kind: AudioKind) -> BadAudio:
    """The refusal: by name for a whole file of a codec that is not read, else with the library's own text."""
    if kind.reader == "wav" and (name := wav.encoding_name(data)) and not media.available():
        return media.missing(f"WAV with {name}")
    return BadAudio(error.code, str(error))
