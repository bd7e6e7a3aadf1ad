"""Turns what a client sent into samples: any usual audio file to mono, 16 kHz, [-1, 1].

It trusts no header. It reads block by block with a running count, so memory depends on the audio that is really there,
up to the requested limit. Between two blocks the caller decides whether to continue. Any fault in the bytes is a
BadAudio with a code and a sentence for the client. Only what cannot be read is refused: a file that lost its end is
read as far as it goes, and its notes report that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

import numpy as np
from msgspec import Struct

from . import raw
from . import wav as wave_file
from .converter import SAMPLE_RATE, Converter, block_frames
from .kinds import READ, AudioKind, kind_after_search, kind_of, unread_name
from .limits import AudioLimits, BadAudio, ClipNotes, Floats

Blocks = Iterator[Floats]

_WAV_BLOCK_SAMPLES: Final = 1 << 13  # small arrays are not mapped anew for each block: this halves the time


class Sound(Struct, frozen=True, eq=False):
    """A clip at 16 kHz: [samples], or [samples, channels] where channels were split. `truncated`: see ClipNotes."""

    samples: Floats
    truncated: bool = False


def decode(data: bytes, *, max_seconds: float, notes: ClipNotes | None = None) -> Floats:
    """Mono samples at 16 kHz, float32 in [-1, 1], shape (samples,); channels are averaged. Raises BadAudio.

    `max_seconds` is checked against the header first, then against what has been read.
    """
    kept, length = np.zeros(0, dtype=np.float32), 0
    for block in blocks(data, max_seconds=max_seconds, notes=notes):
        needed = length + len(block)
        if needed > len(kept):  # it grows in place: a long clip is never in memory twice
            kept.resize(max(needed, len(kept) * 3 // 2), refcheck=False)
        kept[length:needed] = block
        length = needed
    kept.resize(length, refcheck=False)
    return kept


def blocks(data: bytes, *, max_seconds: float, notes: ClipNotes | None = None, split: bool = False) -> Blocks:
    """The samples of `decode` part by part; parts may be empty. Each part takes little time.

    With `split` all channels, [frames, channels]. Fills in `notes`. Raises BadAudio at any part.
    """
    limits = AudioLimits(len(data), max_seconds, notes if notes is not None else ClipNotes())
    if (header := plain(data)) is not None:
        yield from _wav_blocks(data, header, limits, split)
    else:
        # Imported only here: a caller that leaves this to the decoders needs no library for it.
        from .sound_files import decoded_blocks

        yield from decoded_blocks(data, known_kind(data), limits, split)


def plain(data: bytes | bytearray, declared: str = "") -> wave_file.Wav | None:
    """The header of sound whose samples need no decoder, or how it is `declared`; None for other audio.

    Raises BadAudio for bytes that are no audio.
    """
    if not data:
        raise BadAudio("empty_audio", "cannot read the audio: it is empty")
    kind = kind_of(data)
    if kind is None and raw.is_raw(declared):
        return raw.parse(data, declared)
    if (kind or known_kind(data)).reader != "wav":
        return None
    try:
        return wave_file.parse(data)
    except wave_file.BadWav as e:
        if e.damaged:
            raise BadAudio("damaged_audio", f"cannot read the WAV file: {e}") from e
        return None


def known_kind(data: bytes | bytearray) -> AudioKind:
    """Raises BadAudio for a kind of file that is not read."""
    kind = kind_after_search(data)
    if kind is None:
        name = unread_name(data)
        what = f"it is {name}; send {READ}" if name else f"it is not {READ}"
        raise BadAudio("unsupported_audio", f"cannot read the audio: {what}")
    return kind


def decode_wav(
    data: bytearray, header: wave_file.Wav, *, max_seconds: float, go_on: Callable[[], None], split: bool = False
) -> Sound:
    """Like `blocks`, for what `plain` found to be WAV. It empties `data`. `go_on` is called all along and may raise."""
    notes = ClipNotes()
    limits = AudioLimits(len(data), max_seconds, notes)
    channels = header.channels if split else 1
    spare = SAMPLE_RATE * channels
    kept = np.empty(int(min(header.frames / header.rate, max_seconds) * SAMPLE_RATE) * channels + spare, np.float32)
    length = 0
    for block in _wav_blocks(data, header, limits, split):
        go_on()
        if length + block.size > len(kept):
            kept.resize(length + block.size + spare, refcheck=False)
        kept[length : length + block.size] = block.reshape(-1)
        length += block.size
    data.clear()
    samples = kept[:length]
    return Sound(samples.reshape(-1, channels) if split else samples, notes.truncated)


def _wav_blocks(data: bytes | bytearray, header: wave_file.Wav, limits: AudioLimits, split: bool) -> Blocks:
    converter = Converter(header.rate, header.channels, limits, split=split)
    limits.promised(header.frames, header.rate)
    limits.notes.truncated = header.truncated
    step = min(block_frames(header.rate, header.channels), max(1, _WAV_BLOCK_SAMPLES // header.channels))
    for start in range(0, header.frames, step):
        yield converter.add(wave_file.read(data, header, start, start + step))
    yield converter.finish()
