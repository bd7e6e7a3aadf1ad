"""Audio of strangers: real clips in every format with damaged heads and bodies, and files that unpack to more."""

from __future__ import annotations

import functools
import io
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import soundfile
from hypothesis import assume, example, given
from hypothesis import strategies as st
from tests.fuzz.strategies import altered, bytes_like, fuzzed

from modelward.worker.audio import wav as wave_file
from modelward.worker.audio import webm
from modelward.worker.audio.decode import decode
from modelward.worker.audio.limits import BadAudio, ClipNotes

VECTORS = Path(__file__).parents[1] / "vectors"
MAX_SECONDS = 4.0
MOST_BYTES = 40 << 20
"""What decoding a few seconds may take at its peak, whatever the headers claim; the library's own memory included."""
SILENCE_SECONDS = 60
CODES = {"empty_audio", "unsupported_audio", "damaged_audio", "truncated_audio", "audio_too_long"}
FORMATS = (
    ("WAV", "PCM_16"), ("WAV", "PCM_U8"), ("WAV", "PCM_24"), ("WAV", "FLOAT"), ("WAV", "DOUBLE"), ("WAV", "ULAW"),
    ("WAVEX", "PCM_16"), ("FLAC", "PCM_16"), ("FLAC", "PCM_24"), ("OGG", "VORBIS"), ("OGG", "OPUS"),
    ("MP3", "MPEG_LAYER_III"), ("AIFF", "PCM_16"), ("AU", "PCM_16"), ("CAF", "PCM_16"), ("W64", "PCM_16"),
    ("RF64", "PCM_16"),
)  # fmt: skip


@functools.cache
def clip(format: str, subtype: str, seconds: float = 0.3, rate: int = 16_000, channels: int = 1) -> bytes:
    time = np.arange(int(seconds * rate)) / rate
    samples = np.tile((0.3 * np.sin(2 * np.pi * 440 * time))[:, None], (1, channels))
    out = io.BytesIO()
    soundfile.write(out, samples, rate, format=format, subtype=subtype)
    return out.getvalue()


@functools.cache
def examples() -> tuple[bytes, ...]:
    made = [clip(*names) for names in FORMATS] + [clip("WAV", "PCM_16", rate=48_000, channels=2)]
    return (*made, (VECTORS / "live.webm").read_bytes(), (VECTORS / "recording.webm").read_bytes())


def _decoded(data: bytes) -> np.ndarray | None:
    tracemalloc.start()
    try:
        samples = decode(data, max_seconds=MAX_SECONDS)
    except BadAudio as e:
        assert e.code in CODES and str(e).startswith("cannot") and len(str(e)) < 500
        return None
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < MOST_BYTES, peak
    assert samples.dtype == np.float32 and samples.ndim == 1 and len(samples) <= (MAX_SECONDS + 1) * 16_000
    assert np.isfinite(samples).all() and (np.abs(samples) <= 1).all()
    return samples


@fuzzed(220)
@given(st.deferred(lambda: altered(*examples(), head=80)))
@example(b"RIFF")
@example(b"RIFF\0\0\0\0WAVEdata\xff\xff\xff\xff")
@example(b"fLaC" + bytes(60))
@example(b"OggS" + bytes(60))
@example(b"ID3" + b"\xff" * 60)
@example(b"\xff\xfb" + bytes(600))
@example(struct.pack(">4s5I", b".snd", 24, 8, 6, 16_000, 1) + struct.pack(">ff", np.inf, -np.inf))
@example(
    b"FORM\0\0%\xaeAIFFCOMM\0\0\0\x12\0\1\0\0\x12\xc0\0\x80\0\0\0\x10@\x0c\xfa"
    + bytes(7)
    + b"SSND\0\0%\x88"
    + bytes(11)
)
def test_damaged_audio_is_samples_in_bounds_or_refused(data: bytes) -> None:
    _decoded(data)


@fuzzed(120)
@given(
    st.sampled_from((1, 3, 6, 7, 0xFFFE, 2, 0x55)),
    st.sampled_from((0, 1, 2, 64, 65, 65535)),
    st.sampled_from((0, 1, 8000, 16000, 768_000, 768_001, 2**32 - 1)),
    st.integers(0, 16),
    st.sampled_from((0, 1, 8, 16, 24, 32, 64, 65535)),
    st.sampled_from((0, 1, 100, 640, 0x7FFFF000, 2**32 - 1)),
    st.binary(max_size=700),
)
def test_a_wav_header_may_say_anything(
    encoding: int, channels: int, rate: int, block: int, bits: int, size: int, data: bytes
) -> None:
    form = struct.pack("<HHIIHH", encoding, channels, rate, 0, block, bits)
    head = b"WAVEfmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", size)
    whole = b"RIFF" + struct.pack("<I", 2**32 - 1) + head + data
    try:
        header = wave_file.parse(whole)
    except wave_file.BadWav as e:
        assert str(e)
    else:
        samples = wave_file.read(whole, header, 0, header.frames)
        assert samples.shape == (header.frames, header.channels) and header.offset + samples.size <= len(whole)
    _decoded(whole)


@fuzzed(80)
@given(st.deferred(lambda: bytes_like(*examples()[-2:], head=300)))
@example(b"\x1a\x45\xdf\xa3" + b"\xae\x80" * 10_000 + b"\xa3\x84\x81\0\0\0" * 2000)
def test_a_webm_is_rewrapped_or_refused(data: bytes) -> None:
    assume(data[:4] == b"\x1a\x45\xdf\xa3")
    try:
        made = b"".join(webm.ogg_parts(data, ClipNotes()))
    except webm.BadWebm as e:
        assert e.code in CODES and str(e)
        return
    assert made[:4] == b"OggS" and len(made) < 4 * len(data) + 65_536
    _decoded(data)


@functools.cache
def silence(format: str, subtype: str, rate: int) -> bytes:
    """A minute in a few kilobytes."""
    out = io.BytesIO()
    with soundfile.SoundFile(out, "w", rate, 1, subtype, format=format) as file:
        for _ in range(SILENCE_SECONDS):
            file.write(np.zeros(rate, np.float32))
    return out.getvalue()


@fuzzed(4)
@given(st.sampled_from((("FLAC", "PCM_16"), ("OGG", "OPUS"))), st.sampled_from((8000, 16_000)))
def test_a_clip_that_unpacks_to_more_than_allowed_takes_no_more_memory(names: tuple[str, str], rate: int) -> None:
    data = silence(*names, rate)
    assert len(data) < SILENCE_SECONDS * rate / 10
    assert _decoded(data) is None
