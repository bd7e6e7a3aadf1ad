"""Sound without a header, by what the client declares."""

from __future__ import annotations

import numpy as np
import pytest
from tests.costly_audio import encoded_tone

from modelward.worker.audio.decode import decode_wav, plain
from modelward.worker.audio.limits import BadAudio, Floats
from modelward.worker.audio.raw import is_raw, type_of_name

TONE = (0.3 * np.sin(2 * np.pi * 440 * np.arange(16_000) / 16_000)).astype(np.float32)
PCM = (TONE * 32767).astype("<i2")


def read(data: bytes, declared: str) -> Floats:
    header = plain(data, declared)
    assert header is not None
    return decode_wav(bytearray(data), header, max_seconds=60, go_on=lambda: None).samples


@pytest.mark.parametrize("declared", ["audio/L16;rate=16000", "audio/l16; rate=16000; channels=1", "audio/L16"])
@pytest.mark.parametrize("order", ["<i2", ">i2"])
def test_sixteen_bits_are_read_in_either_order(declared: str, order: str) -> None:
    assert np.abs(read(PCM.astype(order).tobytes(), declared) - TONE).max() < 1e-4


@pytest.mark.parametrize(
    "declared",
    ["audio/pcm", "audio/x-raw; format=S16LE; rate=16000; channels=1", "audio/L16;rate=16000;endianness=little-endian"],
)
def test_what_is_declared_little_endian_is_read_so(declared: str) -> None:
    assert np.abs(read(PCM.tobytes(), declared) - TONE).max() < 1e-4


def test_channels_and_rate_are_taken_from_the_type() -> None:
    both = np.repeat(PCM, 2)  # twice the samples: two channels of the same
    assert np.abs(read(both.tobytes(), "audio/pcm;rate=16000;channels=2") - TONE).max() < 1e-4
    assert len(read(PCM.tobytes(), "audio/pcm;rate=8000")) == pytest.approx(32_000, abs=2)


@pytest.mark.parametrize(
    ("declared", "subtype"),
    [("audio/basic", "ULAW"), ("audio/PCMU", "ULAW"), ("audio/PCMU;rate=8000", "ULAW"), ("audio/PCMA", "ALAW"),
     ("audio/x-alaw", "ALAW"), ("audio/x-mulaw", "ULAW")],
)  # fmt: skip
def test_what_telephones_send_is_read_at_8_khz(declared: str, subtype: str) -> None:
    wav = encoded_tone(2.0, "WAV", subtype)
    start = wav.index(b"data") + 8
    assert np.array_equal(read(wav[start : start + 16_000], declared), read(wav, "")[:32_000])


def test_bytes_that_say_what_they_are_are_believed_more_than_the_declared_type() -> None:
    wav = encoded_tone(1.0, "WAV", "PCM_16")
    assert np.array_equal(read(wav, "audio/pcm;rate=44100"), read(wav, ""))
    assert plain(encoded_tone(1.0, "FLAC", "PCM_16"), "audio/L16") is None


@pytest.mark.parametrize("declared", ["audio/wav", "audio/mpeg", "", "application/octet-stream", "text/audio/L16"])
def test_nothing_else_is_taken_for_raw_sound(declared: str) -> None:
    assert not is_raw(declared)
    with pytest.raises(BadAudio, match="it is not WAV"):
        plain(PCM.tobytes(), declared)


@pytest.mark.parametrize("declared", ["audio/L16;rate=1", "audio/L16;rate=9999999", "audio/pcm;channels=0"])
def test_a_rate_or_channels_that_cannot_be_are_refused(declared: str) -> None:
    with pytest.raises(BadAudio, match="its Content-Type says") as caught:
        plain(PCM.tobytes(), declared)
    assert caught.value.code == "damaged_audio"


@pytest.mark.parametrize(
    ("name", "declared"),
    [
        ("call.ulaw", "audio/pcmu"),
        ("a.b.ALAW", "audio/pcma"),
        ("voice.pcm", "audio/pcm"),
        ("clip.wav", ""),
        ("pcm", ""),
    ],
)
def test_a_name_declares_what_it_ends_in(name: str, declared: str) -> None:
    assert type_of_name(name) == declared
