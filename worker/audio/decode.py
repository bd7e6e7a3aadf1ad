"""Turns what a client sent into samples: any usual audio file to mono, 16 kHz, [-1, 1].

Trusts no header: reading goes block by block with a running count, so memory follows the audio that is really there,
up to the limit asked for; between two blocks the caller decides whether it goes on. Whatever is wrong with the bytes is
a BadAudio with a code and a sentence for the client. A file with an exact length that ends early is refused; MP3 and
open-ended WAV have none and are read as far as they go.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Final

import numpy as np
import numpy.typing as npt
import soxr

from . import wav as wave_file

Floats = npt.NDArray[np.float32]
Blocks = Iterator[Floats]

CODES: Final = frozenset({"empty_audio", "unsupported_audio", "damaged_audio", "truncated_audio", "audio_too_long"})

SAMPLE_RATE: Final = 16_000
MIN_RATE: Final = 4_000
MAX_RATE: Final = 384_000
MAX_CHANNELS: Final = 64
_BLOCK_SAMPLES: Final = 1 << 16  # of all channels together; 7 ms of Opus: so long may a short clip have to wait
_WAV_BLOCK_SAMPLES: Final = 1 << 13  # small arrays are not mapped anew for each block: half the time for a long file
_BLOCK_SECONDS: Final = 60
# Silence in FLAC at 8 kHz takes 25 bytes a second, in Vorbis 67, speech in Opus at 6 kbit/s 750.
LEAST_BYTES_PER_SECOND: Final = 16
FREE_SECONDS: Final = 60  # of any clip, whatever its size
READ: Final = "WAV, FLAC, OGG, MP3 or WebM"
NOTHING: Final[Floats] = np.zeros(0, dtype=np.float32)


class BadAudio(ValueError):
    """Audio that can't be used. `code` is one of CODES; the text is a sentence for the client."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


def decode(data: bytes, *, max_seconds: float) -> Floats:
    """Mono samples at 16 kHz, float32 in [-1, 1], shape (samples,); channels are averaged. Raises BadAudio.

    `max_seconds` is checked against the header first, then against what has been read.
    """
    kept, length = np.zeros(0, dtype=np.float32), 0
    for block in blocks(data, max_seconds=max_seconds):
        needed = length + len(block)
        if needed > len(kept):  # grown in place: a long clip never exists twice
            kept.resize(max(needed, len(kept) * 3 // 2), refcheck=False)
        kept[length:needed] = block
        length = needed
    kept.resize(length, refcheck=False)
    return kept


def blocks(data: bytes, *, max_seconds: float, expects: Callable[[float], None] = lambda seconds: None) -> Blocks:
    """The samples of `decode` part by part; the parts may be empty. Little is done between two of them.

    `expects` is told how many seconds the header promises, when it does. Raises BadAudio, at any part.
    """
    limits = AudioLimits(len(data), max_seconds, expects)
    if (header := plain(data)) is not None:
        yield from _wav_blocks(data, header, limits)
    else:
        # Only here: whoever leaves this to the decoders needs no library for it.
        from .sound_files import decoded_blocks

        yield from decoded_blocks(data, kind_of(data), limits)


def plain(data: bytes | bytearray) -> wave_file.Wav | None:
    """The header of a WAV file whose samples need no decoder; None for other audio. Raises BadAudio for no audio."""
    if not data:
        raise BadAudio("empty_audio", "cannot read the audio: it is empty")
    if kind_of(data) != "wav":
        return None
    try:
        return wave_file.parse(data)
    except wave_file.BadWav as e:
        if e.damaged:
            raise BadAudio("damaged_audio", f"cannot read the WAV file: {e}") from e
        return None


def decode_wav(data: bytearray, header: wave_file.Wav, *, max_seconds: float, go_on: Callable[[], None]) -> Floats:
    """As `decode`, of what `plain` found to be WAV; empties `data`. `go_on` is called all along and may raise."""
    limits = AudioLimits(len(data), max_seconds, lambda seconds: None)
    kept = np.empty(int(min(header.frames / header.rate, max_seconds) * SAMPLE_RATE) + SAMPLE_RATE, np.float32)
    length = 0
    for block in _wav_blocks(data, header, limits):
        go_on()
        if length + len(block) > len(kept):
            kept.resize(length + len(block) + SAMPLE_RATE, refcheck=False)
        kept[length : length + len(block)] = block
        length += len(block)
    data.clear()
    return kept[:length]


def kind_of(data: bytes | bytearray) -> str:
    """How to read it: wav, webm, or other for what the library reads. Raises BadAudio for anything else.

    The library would try two dozen more formats, none of them in use for speech: fewer parsers see strangers' bytes.
    """
    head = data[:16]
    if head[:4] == b"RIFF" and (head[8:12] == b"WAVE" or len(head) < 12):
        return "wav"
    if head[:4] in (b"fLaC", b"OggS", b"RF64", b"caff", b".snd", b"FORM", b"riff") or head[:3] == b"ID3":
        return "other"
    if len(head) > 1 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0:
        return "other"
    if head[:4] == b"\x1a\x45\xdf\xa3":
        return "webm"
    if head[4:8] == b"ftyp":
        raise BadAudio("unsupported_audio", f"cannot read the audio: it is MP4, send {READ}")
    raise BadAudio("unsupported_audio", f"cannot read the audio: it is not {READ}")


def _wav_blocks(data: bytes | bytearray, header: wave_file.Wav, limits: AudioLimits) -> Blocks:
    converter = Converter(header.rate, header.channels, limits)
    limits.promised(header.claimed_frames or header.frames, header.rate)
    if header.truncated:
        promised, there = (frames / header.rate for frames in (header.claimed_frames or 0, header.frames))
        raise BadAudio(
            "truncated_audio",
            f"cannot read the WAV file: its header promises {promised:.2f} s, only {there:.2f} s arrived",
        )
    step = min(block_frames(header.rate, header.channels), max(1, _WAV_BLOCK_SAMPLES // header.channels))
    for start in range(0, header.frames, step):
        yield converter.add(wave_file.read(data, header, start, start + step))
    yield converter.finish()


def block_frames(rate: int, channels: int) -> int:
    """Frames read at once: bounded before resampling and, for very low rates, after it."""
    return max(1, min(_BLOCK_SAMPLES // channels, rate * _BLOCK_SECONDS))


class AudioLimits:
    """How long a clip of so many bytes may be."""

    def __init__(self, received_bytes: int, max_seconds: float, expects: Callable[[float], None]) -> None:
        self._max_seconds, self._expects = max_seconds, expects
        self._bytes = received_bytes
        self._believed = FREE_SECONDS + received_bytes / LEAST_BYTES_PER_SECOND

    def promised(self, frames: int, rate: int) -> None:
        """What the header says. Raises BadAudio when that alone is too much."""
        self._check(frames / rate)
        if frames:
            self._expects(frames / rate)

    def reached(self, frames: int, rate: int) -> None:
        """How much there really is by now. Raises BadAudio when it is too much."""
        seconds = frames / rate
        self._check(seconds)
        if seconds > self._believed:
            raise BadAudio(
                "damaged_audio",
                f"cannot read the audio: {self._bytes} bytes cannot be {seconds:.0f} s of sound; "
                f"at least {LEAST_BYTES_PER_SECOND} bytes a second are expected after {FREE_SECONDS} s",
            )

    def _check(self, seconds: float) -> None:
        if seconds > self._max_seconds:
            raise BadAudio("audio_too_long", f"cannot take {seconds:.1f} s of audio: at most {self._max_seconds:g} s")


class Converter:
    """Takes blocks of any rate and channels, gives 16 kHz mono, and stops when there is more than allowed."""

    def __init__(self, rate: int, channels: int, limits: AudioLimits) -> None:
        """Raises BadAudio when such audio does not exist or is not taken."""
        if not MIN_RATE <= rate <= MAX_RATE:
            raise BadAudio(
                "damaged_audio", f"cannot read the audio: its header says {rate} Hz, not {MIN_RATE} to {MAX_RATE}"
            )
        if not 1 <= channels <= MAX_CHANNELS:
            raise BadAudio(
                "unsupported_audio", f"cannot read the audio: it has {channels} channels, at most {MAX_CHANNELS}"
            )
        self._rate, self._limits, self._frames = rate, limits, 0
        self._resampler: soxr.ResampleStream | None = None
        if rate != SAMPLE_RATE:
            self._resampler = soxr.ResampleStream(rate, SAMPLE_RATE, 1, dtype="float32", quality="HQ")

    def add(self, block: Floats) -> Floats:
        """Frames [n, channels]. Raises BadAudio when the clip becomes too long or holds NaN or infinity."""
        self._frames += len(block)
        self._limits.reached(self._frames, self._rate)
        with np.errstate(invalid="ignore"):  # of infinities of both signs; found out just below
            averaged = block[:, :1] if block.shape[1] == 1 else block.mean(axis=1, dtype=np.float64, keepdims=True)
            mono: Floats = averaged[:, 0].astype(np.float32, copy=False)
            total = float(mono.sum(dtype=np.float64))
        if not math.isfinite(total):
            raise BadAudio("damaged_audio", "cannot read the audio: it holds samples that are not finite numbers")
        # before the resampler, which would spread one absurd value over its neighbours
        mono = np.ascontiguousarray(np.clip(mono, -1.0, 1.0))
        return mono if self._resampler is None else np.clip(self._resampler.resample_chunk(mono), -1.0, 1.0)

    def finish(self) -> Floats:
        """The last samples. Raises BadAudio when there were none at all."""
        if self._frames == 0:
            raise BadAudio("empty_audio", "cannot read the audio: it holds no samples")
        if self._resampler is None:
            return NOTHING
        rest: Floats = self._resampler.resample_chunk(np.zeros(0, dtype=np.float32), last=True)
        return np.clip(rest, -1.0, 1.0)
