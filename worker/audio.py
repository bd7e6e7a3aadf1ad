"""Turns what a client sent into samples: any usual audio file to mono, 16 kHz, [-1, 1].

Trusts no header: reading goes block by block with a running count, so memory follows the audio that is really there,
up to the limit asked for. Whatever is wrong with the bytes is a BadAudio with a code and a sentence for the client. A
file with an exact length that ends early is refused; MP3 and open-ended WAV have none and are read as far as they go.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from typing import Final

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from . import wav as wave_file
from . import webm

Floats = npt.NDArray[np.float32]

SAMPLE_RATE: Final = 16_000
MIN_RATE: Final = 1
MAX_RATE: Final = 768_000
MAX_CHANNELS: Final = 64
_BLOCK_SAMPLES: Final = 1 << 18  # of all channels together
_BLOCK_SECONDS: Final = 60
_MAX_COUNT: Final = 1 << 40  # frame counts above are a library's way to say unknown
_READ: Final = "WAV, FLAC, OGG, MP3 or WebM"
_EXACT: Final = frozenset({"FLAC", "AIFF", "AU", "CAF", "W64", "RF64", "WAV", "WAVEX"})


class BadAudio(ValueError):
    """Audio that can't be used. `code` is one of empty_audio, unsupported_audio, damaged_audio, truncated_audio,
    audio_too_long; the text is a sentence for the client."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


def decode(data: bytes, *, max_seconds: float) -> Floats:
    """Mono samples at 16 kHz, float32 in [-1, 1], shape (samples,); channels are averaged. Raises BadAudio.

    `max_seconds` is checked against the header first, then against what has been read.
    """
    if not data:
        raise BadAudio("empty_audio", "cannot read the audio: it is empty")
    collected = _Collector(max_seconds)
    kind = _kind(data)
    if kind == "wav":
        try:
            header = wave_file.parse(data)
        except wave_file.BadWav as e:
            if e.damaged:
                raise BadAudio("damaged_audio", f"cannot read the WAV file: {e}") from e
        else:
            _read_wav(data, header, collected)
            return collected.finish()
    if kind == "webm":
        try:
            data = webm.opus_in_ogg(data)
        except webm.BadWebm as e:
            raise BadAudio(e.code, f"cannot read the WebM file: {e}") from e
    if data[:4] == b"OggS" and _ogg_is_cut_off(data):
        raise BadAudio("truncated_audio", "cannot read the OGG file: its last page is not complete")
    _read_others(data, collected)
    return collected.finish()


def _kind(data: bytes) -> str:
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
        raise BadAudio("unsupported_audio", f"cannot read the audio: it is MP4, send {_READ}")
    raise BadAudio("unsupported_audio", f"cannot read the audio: it is not {_READ}")


def _read_wav(data: bytes, header: wave_file.Wav, collected: _Collector) -> None:
    collected.begin(header.rate, header.channels, header.claimed_frames or header.frames)
    if header.truncated:
        promised, there = (frames / header.rate for frames in (header.claimed_frames or 0, header.frames))
        raise BadAudio(
            "truncated_audio",
            f"cannot read the WAV file: its header promises {promised:.2f} s, only {there:.2f} s arrived",
        )
    step = _block_frames(header.rate, header.channels)
    for start in range(0, header.frames, step):
        collected.add(wave_file.read(data, header, start, start + step))


class _Forward(soundfile.SoundFile):  # type: ignore[misc]  # the package ships no types
    """A file that is only read on. soundfile otherwise seeks to where it is after each block, which fails at the end of
    a FLAC of unknown length and costs the decoders of lossy formats their state."""

    def seekable(self) -> bool:
        return False


class _Memory(io.BytesIO):
    """Bytes as a file. A damaged header may send the library before its beginning: there it stays where it is, which
    the library notices; an exception would only be printed."""

    def seek(self, offset: int, whence: int = 0, /) -> int:
        try:
            return super().seek(offset, whence)
        except (ValueError, OverflowError):
            return self.tell()


def _ogg_is_cut_off(data: bytes) -> bool:
    """Whether the file ends inside a page (RFC 3533). The library would read on silently to the page before.

    A last page without its end mark is no fault: browsers record like that.
    """
    position = 0
    while position < len(data):
        if data[position : position + 4] != b"OggS":
            return False  # something after the stream, or damage: the library's to say
        table = data[position + 27 : position + 27 + data[position + 26]] if position + 26 < len(data) else b""
        position += 27 + len(table) + sum(table)
    return position > len(data)


def _read_others(data: bytes, collected: _Collector) -> None:
    try:
        with _Forward(_Memory(data)) as source:
            known = source.frames if 0 <= source.frames < _MAX_COUNT else None
            collected.begin(source.samplerate, source.channels, known or 0)
            for block in _blocks(source):
                collected.add(block)
            exact = source.format in _EXACT and known is not None
    except BadAudio:
        raise
    except (soundfile.SoundFileError, RuntimeError, ValueError, TypeError, OSError) as e:
        raise _cannot_read(e, collected.frames > 0) from e
    if exact and known is not None and collected.frames < known:
        raise BadAudio(
            "truncated_audio",
            f"cannot read the audio: {known} samples are promised, only {collected.frames} arrived",
        )


def _blocks(source: _Forward) -> Iterator[Floats]:
    step = _block_frames(source.samplerate, source.channels)
    while True:
        block: Floats = source.read(step, dtype="float32", always_2d=True)
        if len(block) == 0:
            return
        yield block


def _block_frames(rate: int, channels: int) -> int:
    """Frames read at once: bounded before resampling and, for very low rates, after it."""
    return max(1, min(_BLOCK_SAMPLES // channels, rate * _BLOCK_SECONDS))


def _cannot_read(error: Exception, begun: bool) -> BadAudio:
    # the library's text begins with the name of its file object, which tells a client nothing
    cause = str(error).rsplit("Error : ", 1)[-1].rsplit(">: ", 1)[-1].strip().rstrip(".")
    if begun:
        return BadAudio("truncated_audio", f"cannot read the audio: it ends early or is damaged ({cause})")
    if "not recognised" in cause or "unknown format" in cause.lower():
        return BadAudio("unsupported_audio", f"cannot read the audio: it is not {_READ}")
    return BadAudio("damaged_audio", f"cannot read the audio: it is damaged or cut off ({cause})")


class _Collector:
    """Takes blocks of any rate and channels, keeps 16 kHz mono, and stops when there is more than allowed."""

    def __init__(self, max_seconds: float) -> None:
        self._max_seconds = max_seconds
        self._rate = SAMPLE_RATE
        self._resampler: soxr.ResampleStream | None = None
        self._kept = np.zeros(0, dtype=np.float32)
        self._length = 0
        self.frames = 0

    def begin(self, rate: int, channels: int, claimed_frames: int) -> None:
        """What the header says. Raises BadAudio when that alone is too much or makes no sense."""
        if not MIN_RATE <= rate <= MAX_RATE:
            raise BadAudio("damaged_audio", f"cannot read the audio: its header says {rate} Hz, at most {MAX_RATE}")
        if not 1 <= channels <= MAX_CHANNELS:
            raise BadAudio(
                "unsupported_audio", f"cannot read the audio: it has {channels} channels, at most {MAX_CHANNELS}"
            )
        self._rate = rate
        self._check_length(claimed_frames)
        if rate != SAMPLE_RATE:
            self._resampler = soxr.ResampleStream(rate, SAMPLE_RATE, 1, dtype="float32", quality="HQ")

    def add(self, block: Floats) -> None:
        """Frames [n, channels]. Raises BadAudio when the clip becomes too long or holds NaN or infinity."""
        self.frames += len(block)
        self._check_length(self.frames)
        with np.errstate(invalid="ignore"):  # of infinities of both signs; found out just below
            averaged = block[:, :1] if block.shape[1] == 1 else block.mean(axis=1, dtype=np.float64, keepdims=True)
            mono: Floats = averaged[:, 0].astype(np.float32, copy=False)
            total = float(mono.sum(dtype=np.float64))
        if not math.isfinite(total):
            raise BadAudio("damaged_audio", "cannot read the audio: it holds samples that are not finite numbers")
        # before the resampler, which would spread one absurd value over its neighbours
        mono = np.ascontiguousarray(np.clip(mono, -1.0, 1.0))
        self._keep(mono if self._resampler is None else self._resampler.resample_chunk(mono))

    def finish(self) -> Floats:
        """All samples. Raises BadAudio when there are none."""
        if self.frames == 0:
            raise BadAudio("empty_audio", "cannot read the audio: it holds no samples")
        if self._resampler is not None:
            self._keep(self._resampler.resample_chunk(np.zeros(0, dtype=np.float32), last=True))
        samples = self._kept
        samples.resize(self._length, refcheck=False)
        return samples

    def _keep(self, mono: Floats) -> None:
        needed = self._length + len(mono)
        if needed > len(self._kept):  # grown in place: a long clip never exists twice
            self._kept.resize(max(needed, len(self._kept) * 3 // 2), refcheck=False)
        np.clip(mono, -1.0, 1.0, out=self._kept[self._length : needed])
        self._length = needed

    def _check_length(self, frames: int) -> None:
        seconds = frames / self._rate
        if seconds > self._max_seconds:
            raise BadAudio("audio_too_long", f"cannot take {seconds:.1f} s of audio: at most {self._max_seconds:g} s")
