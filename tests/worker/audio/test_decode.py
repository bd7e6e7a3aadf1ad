from __future__ import annotations

import functools
import io
import struct
import tracemalloc

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.costly_audio import quiet_flac
from tests.examples import examples

from modelward.worker.audio import limits, mp3
from modelward.worker.audio.decode import blocks, decode
from modelward.worker.audio.limits import BadAudio, ClipNotes

RATE = 16000


def tone(seconds: float = 1.0, rate: int = RATE, hz: float = 440.0) -> np.ndarray:
    return (0.4 * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def encoded(samples: np.ndarray, rate: int = RATE, format: str = "WAV", subtype: str = "PCM_16") -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=format, subtype=subtype)
    return file.getvalue()


def plain_wav(
    body: bytes, *, encoding: int = 1, channels: int = 1, rate: int = RATE, block: int = 2, bits: int = 16,
    data_bytes: int | None = None, riff_bytes: int | None = None,
) -> bytes:  # fmt: skip
    size = len(body) if data_bytes is None else data_bytes
    form = struct.pack("<HHIIHH", encoding, channels, rate, min(rate * block, 0xFFFFFFFF), block, bits)
    riff = 36 + len(body) if riff_bytes is None else riff_bytes
    return (
        b"RIFF"
        + struct.pack("<I", riff)
        + b"WAVEfmt "
        + struct.pack("<I", 16)
        + form
        + b"data"
        + struct.pack("<I", size)
        + body
    )


def pcm16(samples: np.ndarray) -> bytes:
    return (samples * 32767).astype("<i2").tobytes()


def speech(seconds: float) -> np.ndarray:
    """Something with as many bytes for each second as for another."""
    return np.random.default_rng(3).normal(0, 0.1, round(seconds * RATE)).astype(np.float32)


def read(data: bytes, max_seconds: float = 60.0) -> tuple[np.ndarray, ClipNotes]:
    notes = ClipNotes()
    return decode(data, max_seconds=max_seconds, notes=notes), notes


def refusal(data: bytes, max_seconds: float = 60.0) -> BadAudio:
    with pytest.raises(BadAudio) as caught:
        decode(data, max_seconds=max_seconds)
    assert str(caught.value).startswith("cannot ")
    return caught.value


def spectrum_peak_hz(samples: np.ndarray) -> float:
    return float(np.argmax(np.abs(np.fft.rfft(samples * np.hanning(len(samples)))))) * RATE / len(samples)


@pytest.mark.parametrize(
    ("subtype", "tolerance"),
    [
        ("PCM_U8", 1e-2), ("PCM_16", 1e-4), ("PCM_24", 1e-6), ("PCM_32", 1e-6),
        ("FLOAT", 0), ("DOUBLE", 0), ("ALAW", 2e-2), ("ULAW", 2e-2),
    ],
)  # fmt: skip
def test_every_width_of_wav_gives_the_samples_back(subtype: str, tolerance: float) -> None:
    for container in ("WAV", "WAVEX"):
        got = decode(encoded(tone(), format=container, subtype=subtype), max_seconds=60)
        assert got.dtype == np.float32
        assert got.shape == (RATE,)
        assert np.abs(got - tone()).max() <= tolerance


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ALAW", "ULAW"])
def test_our_reading_of_wav_equals_libsndfiles(subtype: str) -> None:
    noise = np.random.default_rng(1).uniform(-1, 1, (5000, 3))
    data = encoded(noise, subtype=subtype)
    expected, _ = soundfile.read(io.BytesIO(data), dtype="float32", always_2d=True)
    assert np.abs(decode(data, max_seconds=60) - expected.mean(axis=1)).max() < 1e-6


@pytest.mark.parametrize(
    ("format", "subtype"),
    [("FLAC", "PCM_16"), ("FLAC", "PCM_24"), ("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", "MPEG_LAYER_III"),
     ("AIFF", "PCM_16"), ("AU", "PCM_16"), ("CAF", "FLOAT"), ("RF64", "PCM_16"), ("W64", "PCM_16"),
     ("WAV", "IMA_ADPCM"), ("WAV", "MS_ADPCM")],
)  # fmt: skip
def test_other_containers_and_codecs_are_read(format: str, subtype: str) -> None:
    got = decode(encoded(tone(2.0), format=format, subtype=subtype), max_seconds=60)
    assert abs(len(got) - 2 * RATE) < 0.1 * RATE
    assert abs(spectrum_peak_hz(got) - 440) < 2
    assert np.abs(got).max() <= 1.0


@pytest.mark.parametrize("rate", [4000, 8000, 11025, 22050, 44100, 48000, 96000, 192000, 384000])
def test_any_rate_becomes_16_khz_with_the_same_duration_and_pitch(rate: int) -> None:
    got = decode(encoded(tone(1.5, rate), rate, subtype="FLOAT"), max_seconds=60)
    assert abs(len(got) - 1.5 * RATE) <= 2
    assert abs(spectrum_peak_hz(got) - 440) < 1.5
    middle = got[RATE // 4 : -RATE // 4]
    assert abs(float(np.sqrt(np.mean(middle**2))) - 0.4 / np.sqrt(2)) < 5e-3


@pytest.mark.parametrize("channels", [2, 6, 8])
def test_channels_are_averaged(channels: int) -> None:
    levels = np.linspace(0, 0.5, channels, dtype=np.float32)
    data = encoded(np.tile(levels, (RATE, 1)), subtype="FLOAT")
    assert np.allclose(decode(data, max_seconds=60), levels.mean(), atol=1e-6)


def test_blocks_join_without_a_seam() -> None:
    samples = tone(30.0, 44100, hz=100.0)
    got = decode(encoded(samples, 44100, subtype="FLOAT"), max_seconds=60)
    assert np.abs(np.diff(got[RATE:-RATE])).max() < 0.4 * 2 * np.pi * 100 / RATE * 1.01


def test_the_same_bytes_give_the_same_samples() -> None:
    data = encoded(tone(3.0, 44100), 44100)
    assert np.array_equal(decode(data, max_seconds=60), decode(data, max_seconds=60))


@pytest.mark.parametrize(
    "size", [0xFFFFFFFF, 0xFFFFFFFF - 36, 0x7FFFFFFF, 0x7FFFF000, 0x80000000, 2_000_000_000, 1 << 30]
)
def test_a_wav_written_to_a_pipe_is_read_to_its_end(size: int) -> None:
    samples, notes = read(plain_wav(pcm16(tone()), data_bytes=size, riff_bytes=0xFFFFFFFF))
    assert len(samples) == RATE and not notes.truncated


@pytest.mark.parametrize("more", [2, 4, 16, 44])
def test_a_wav_whose_header_counts_itself_is_whole(more: int) -> None:
    samples, notes = read(plain_wav(pcm16(tone()), data_bytes=2 * RATE + more))
    assert len(samples) == RATE and not notes.truncated


@pytest.mark.parametrize("riff", [0, 36, 0xFFFFFFFF, 36 + 2 * RATE])
def test_a_wav_whose_lengths_were_never_filled_in_is_read_to_its_end(riff: int) -> None:
    assert len(decode(plain_wav(pcm16(tone()), data_bytes=0, riff_bytes=riff), max_seconds=60)) == RATE


def test_a_wav_that_really_holds_no_sound_is_empty_whatever_follows() -> None:
    assert refusal(plain_wav(b"", data_bytes=0) + b"LIST" + struct.pack("<I", 4) + b"abcd").code == "empty_audio"


@pytest.mark.parametrize(
    "lie",
    [{"block": 4}, {"block": 0}, {"block": 3}, {"bits": 0}, {"bits": 64}],
    ids=["twice", "none", "odd", "no bits", "64 bits"],
)
def test_a_wav_with_a_wrong_block_is_read_by_what_makes_sense(lie: dict[str, int]) -> None:
    assert np.abs(decode(plain_wav(pcm16(tone()), **lie), max_seconds=60) - tone()).max() < 1e-4


def test_twenty_four_bits_in_four_bytes_are_read_as_such() -> None:
    body = (tone() * (2**31 - 1)).astype("<i4").tobytes()
    assert np.abs(decode(plain_wav(body, block=4, bits=24), max_seconds=60) - tone()).max() < 1e-4


@pytest.mark.parametrize(("width", "encoding"), [(1, 1), (2, 1), (3, 1), (4, 1), (4, 3), (8, 3)])
def test_a_big_endian_wav_is_read(width: int, encoding: int) -> None:
    little = decode(
        plain_wav(body_of(width, encoding, "<"), encoding=encoding, block=width, bits=8 * width), max_seconds=60
    )
    form = struct.pack(">HHIIHH", encoding, 1, RATE, RATE * width, width, 8 * width)
    body = body_of(width, encoding, ">")
    data = b"RIFX" + struct.pack(">I", 36 + len(body)) + b"WAVEfmt " + struct.pack(">I", 16) + form
    data += b"data" + struct.pack(">I", len(body)) + body
    assert np.array_equal(decode(data, max_seconds=60), little) and len(little) == RATE


def body_of(width: int, encoding: int, order: str) -> bytes:
    if width == 1:
        return (tone() * 127 + 128).astype(np.uint8).tobytes()
    if encoding == 3:
        return tone().astype(f"{order}f{width}").tobytes()
    wide = (tone() * (2**31 - 1)).astype(f"{order}i4").view(np.uint8).reshape(-1, 4)
    return (wide[:, :width] if order == ">" else wide[:, 4 - width :]).tobytes()


@pytest.mark.parametrize("name", [b"RF64", b"BW64"])
@pytest.mark.parametrize("told", [2 * RATE, 0, 1 << 40])
def test_a_wav_for_large_files_is_read_by_its_long_size_or_to_its_end(name: bytes, told: int) -> None:
    long = b"ds64" + struct.pack("<IQQQI", 28, 72 + 2 * RATE, told, RATE, 0)
    plain = plain_wav(pcm16(tone()), data_bytes=0xFFFFFFFF)
    data = name + b"\xff\xff\xff\xff" + plain[8:12] + long + plain[12:]
    assert len(decode(data, max_seconds=60)) == RATE


def test_a_chunk_of_odd_length_without_its_filling_byte_hides_no_sound() -> None:
    data = plain_wav(pcm16(tone()))
    assert len(decode(data[:36] + b"LIST" + struct.pack("<I", 3) + b"abc" + data[36:], max_seconds=60)) == RATE


def test_the_format_may_come_after_the_data() -> None:
    data = plain_wav(pcm16(tone()))
    assert len(decode(data[:12] + data[36:] + data[12:36], max_seconds=60)) == RATE


@pytest.mark.parametrize("subtype", ["MS_ADPCM", "IMA_ADPCM", "GSM610"])
def test_a_wav_with_a_codec_inside_is_read_and_not_said_to_be_truncated(subtype: str) -> None:
    rate = 8000 if subtype == "GSM610" else RATE
    samples, notes = read(encoded(tone(2.0, rate), rate, subtype=subtype))
    assert abs(len(samples) / RATE - 2.0) < 0.15 and abs(spectrum_peak_hz(samples) - 440) < 2
    assert not notes.truncated


@pytest.mark.parametrize("before", [bytes(37), b"\xff\xff\xfe" * 20, b"ICY 200 OK\r\n\r\n"])
@pytest.mark.parametrize("cut", [0, 200])
def test_an_mp3_that_begins_with_something_else_or_inside_a_frame_is_read(before: bytes, cut: int) -> None:
    data = before + encoded(tone(3.0), format="MP3", subtype="MPEG_LAYER_III")[cut:]
    got = decode(data, max_seconds=60)
    assert 2.8 < len(got) / RATE < 3.2 and abs(spectrum_peak_hz(got) - 440) < 2


def test_what_looks_like_the_heads_of_frames_is_looked_at_a_bounded_number_of_times() -> None:
    stream = encoded(tone(1.0), format="MP3", subtype="MPEG_LAYER_III")
    for marks in (400, 5000):
        before = b"\xff\x00" * marks
        assert mp3.first_frame(before + stream) == (len(before) if marks == 400 else None)


def test_an_mp3_without_a_head_is_read_to_its_end_whatever_its_first_frame_says() -> None:
    quiet_later = np.concatenate([speech(1.0), np.zeros(9 * RATE, np.float32), speech(1.0)])
    data = encoded(quiet_later, format="MP3", subtype="MPEG_LAYER_III")
    streamed = data[mp3.frame_bytes(data[:4]) :]
    for bytes_read in (streamed, b"ID3\4\0\0\0\0\0\5title" + streamed):
        got = decode(bytes_read, max_seconds=60)
        assert abs(len(got) / RATE - 11.0) < 0.2
        assert np.abs(got[-RATE // 2 :]).max() > 0.1


@pytest.mark.parametrize("levels", [(1.0, -1.0), (1.0, -0.9), (-1.0, 1.0, 1.0, -1.0), (0.5, -0.5, 0.0)])
def test_channels_that_are_the_wrong_way_round_do_not_cancel(levels: tuple[float, ...]) -> None:
    data = encoded(np.outer(tone(), levels), subtype="FLOAT")
    got = decode(data, max_seconds=60)
    share = np.abs(levels).mean()
    assert np.abs(np.abs(got) - share * np.abs(tone())).max() < 1e-5


def test_a_channel_that_turns_out_the_wrong_way_round_later_does_not_cancel_either() -> None:
    both = np.outer(np.concatenate([tone(1.0), tone(1.0)]), (1.0, 1.0))
    both[RATE:, 1] *= -1
    got = decode(encoded(both, subtype="FLOAT"), max_seconds=60)
    for half in (got[:RATE], got[RATE:]):
        loud = np.sqrt(np.mean(half**2)) / np.sqrt(np.mean(tone() ** 2))
        assert loud > 0.85  # but for the block in which it changes


def test_two_people_on_two_channels_are_both_in_the_mixture() -> None:
    one, other = tone(hz=440.0), tone(hz=660.0)
    got = decode(encoded(np.stack([one, other], axis=1), subtype="FLOAT"), max_seconds=60)
    assert np.abs(got - (one + other) / 2).max() < 1e-6


@pytest.mark.parametrize(("format", "subtype"), [("WAV", "FLOAT"), ("FLAC", "PCM_24")])
@pytest.mark.parametrize("rate", [RATE, 44100])
def test_channels_that_are_split_are_each_what_they_were(format: str, subtype: str, rate: int) -> None:
    both = np.stack([tone(2.0, rate, 440.0), tone(2.0, rate, 1000.0)], axis=1)
    parts = blocks(encoded(both, rate, format, subtype), max_seconds=60, split=True)
    got = np.concatenate([part for part in parts if part.size])
    assert got.shape[1] == 2 and abs(len(got) - 2 * RATE) <= 2
    assert [round(spectrum_peak_hz(got[:, channel])) for channel in (0, 1)] == [440, 1000]


def test_more_channels_than_are_recognised_one_by_one_are_not_split() -> None:
    data = encoded(np.zeros((1000, 9)))
    assert len(decode(data, max_seconds=60)) == 1000
    with pytest.raises(BadAudio, match="9 channels, at most 8") as caught:
        list(blocks(data, max_seconds=60, split=True))
    assert caught.value.code == "unsupported_audio"


def test_bytes_after_the_data_are_not_audio() -> None:
    data = plain_wav(pcm16(tone())) + b"LIST" + struct.pack("<I", 4) + b"abcd"
    assert len(decode(data, max_seconds=60)) == RATE


def test_chunks_before_the_format_are_passed_over() -> None:
    data = plain_wav(pcm16(tone()))
    data = data[:12] + b"JUNK" + struct.pack("<I", 3) + b"abc\0" + data[12:]
    assert len(decode(data, max_seconds=60)) == RATE


def test_half_a_frame_at_the_end_of_a_stream_is_dropped() -> None:
    data = plain_wav(pcm16(tone()) + b"x", data_bytes=0xFFFFFFFF)
    assert len(decode(data, max_seconds=60)) == RATE


@pytest.mark.parametrize("kept", [46, 1000, 16000, 31000])
def test_a_wav_that_lost_its_end_is_read_as_far_as_it_goes_and_said_to_be_truncated(kept: int) -> None:
    whole = encoded(tone())
    samples, notes = read(whole[:kept])
    assert len(samples) == (kept - 44) // 2
    assert np.array_equal(samples, decode(whole, max_seconds=60)[: len(samples)])
    assert notes.truncated and not read(whole)[1].truncated


@pytest.mark.parametrize("kept", [44, 45])
def test_a_wav_without_one_whole_sample_is_empty(kept: int) -> None:
    assert refusal(encoded(tone())[:kept]).code == "empty_audio"


@pytest.mark.parametrize("kept", range(1, 44, 3))
def test_a_wav_cut_off_in_its_header_is_refused(kept: int) -> None:
    assert refusal(encoded(tone())[:kept]).code in ("damaged_audio", "unsupported_audio")


@functools.cache
def _twenty_seconds(format: str, subtype: str) -> bytes:
    return encoded(speech(20.0), format=format, subtype=subtype)


@pytest.mark.parametrize(("format", "subtype"), [("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("OGG", "OPUS")])
@pytest.mark.parametrize("part", [0.1, 0.5, 0.9])
def test_a_compressed_file_cut_off_is_read_as_far_as_it_goes(format: str, subtype: str, part: float) -> None:
    data = _twenty_seconds(format, subtype)
    samples, notes = read(data[: int(len(data) * part)])
    # an OGG file is read to the end of its last whole page, which is a second or two long
    assert 20 * part * 0.8 - 2.5 < len(samples) / RATE < 20 * part + 1
    assert notes.truncated and not read(data)[1].truncated


def test_a_flac_that_lost_some_bytes_of_its_end_misses_no_more_than_a_frame() -> None:
    samples, notes = read(encoded(speech(3.0), format="FLAC")[:-10])
    assert 3.0 - 4608 / RATE <= len(samples) / RATE < 3.0 and notes.truncated


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_an_ogg_recording_without_its_last_page_is_read(subtype: str) -> None:
    data = encoded(np.random.default_rng(0).normal(0, 0.1, 8 * RATE), format="OGG", subtype=subtype)
    got = decode(data[: data.rindex(b"OggS")], max_seconds=60)
    assert 4 * RATE < len(got) < 8 * RATE


def test_a_flac_that_does_not_know_its_length_is_read_to_its_end() -> None:
    data = bytearray(encoded(tone(5.0), format="FLAC"))
    data[21] &= 0xF0  # the 36 bits of STREAMINFO that count samples
    data[22:26] = bytes(4)
    got = decode(bytes(data), max_seconds=60)
    assert np.abs(got - tone(5.0)).max() < 1e-4
    assert refusal(bytes(data), max_seconds=4).code == "audio_too_long"


def test_an_mp3_cut_off_is_read_as_far_as_it_goes() -> None:
    data = encoded(tone(10.0), format="MP3", subtype="MPEG_LAYER_III")
    got = decode(data[: len(data) // 2], max_seconds=60)
    assert RATE < len(got) < 9 * RATE


@pytest.mark.parametrize(
    ("format", "subtype"),
    [
        ("MP3", "MPEG_LAYER_III"), ("AIFF", "PCM_16"), ("AU", "PCM_16"), ("W64", "PCM_16"), ("AU", "ULAW"),
        ("WAV", "MS_ADPCM"), ("WAV", "GSM610"), ("CAF", "PCM_16"), ("CAF", "ULAW"),
    ],
)  # fmt: skip
def test_half_a_file_is_said_to_be_truncated_by_what_its_head_claims(format: str, subtype: str) -> None:
    data = encoded(speech(10.0)[:80_000], 8000, format, subtype)
    samples, notes = read(data[: len(data) // 2])
    assert 4.0 < len(samples) / RATE < 6.0 and notes.truncated
    samples, notes = read(data)
    assert abs(len(samples) / RATE - 10.0) < 0.2 and not notes.truncated


def test_joined_mp3_files_are_read_to_the_end_of_the_last() -> None:
    one, two = (encoded(tone(seconds), format="MP3", subtype="MPEG_LAYER_III") for seconds in (3.0, 4.0))
    for between in (b"", b"ID3\4\0\0\0\0\0\5title", b"TAG".ljust(128, b"\0")):
        samples, notes = read(one + between + two + one)
        assert abs(len(samples) / RATE - 10.0) < 0.5 and not notes.truncated, between
    assert abs(len(read(one + b"TAG".ljust(128, b"\0"))[0]) / RATE - 3.0) < 0.1


@pytest.mark.parametrize("claimed", [0, 2, 1000, 100_000])
@pytest.mark.parametrize("start", [0, 1])
def test_a_wav_whose_size_is_too_small_is_read_to_its_end(claimed: int, start: int) -> None:
    noise = pcm16(speech(10.0))
    data = plain_wav(b"\0\0" * 60_000 + noise, data_bytes=claimed + start)
    assert len(decode(data, max_seconds=60)) == 60_000 + 10 * RATE


def test_what_follows_a_wavs_samples_as_a_chunk_or_a_few_bytes_is_no_sound() -> None:
    large = b"LIST" + struct.pack("<I", 9000) + bytes(9000)
    sound = pcm16(tone())
    for behind in (large, b"\0" + large, bytes(4096)):
        data = plain_wav(sound + behind, data_bytes=len(sound))
        assert len(decode(data, max_seconds=60)) == RATE


def test_a_caf_that_its_recorder_did_not_finish_is_whole() -> None:
    data = bytearray(encoded(speech(2.0), format="CAF"))
    start = data.index(b"data")
    data[start + 4 : start + 12] = b"\xff" * 8
    samples, notes = read(bytes(data))
    assert len(samples) >= 2 * RATE and not notes.truncated


@pytest.mark.parametrize(
    ("mark", "name"),
    [
        (b"NIST_1A\n   1024\n", "NIST SPHERE"),
        (b".RMF\0\0\0\x12", "RealMedia"),
        (b"\x1f\x43\xb6\x75\x01\xff\xff\xff\xff\xff\xff\xff", "a part of a WebM recording"),
    ],
)
def test_a_known_format_that_is_not_read_is_named(mark: bytes, name: str) -> None:
    error = refusal(mark + bytes(2000))
    assert error.code == "unsupported_audio" and name in str(error)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "empty_audio"),
        (plain_wav(b""), "empty_audio"),
        (plain_wav(b"x"), "empty_audio"),
        (b"hello, this is text\n" * 50, "unsupported_audio"),
        (b"<!doctype html><html></html>", "unsupported_audio"),
        (b"\x1a\x45\xdf\xa3" + bytes(100), None),
        (b"\0\0\0\x18ftypM4A " + bytes(100), "damaged_audio"),
        (bytes(1000), "unsupported_audio"),
        (b"RIFF\x10\0\0\0AVI " + bytes(100), None),
        (b"MATLAB 5.0 MAT-file" + bytes(500), "unsupported_audio"),
        (b"fLaC" + bytes(100), "damaged_audio"),
        (b"OggS" + bytes(100), "damaged_audio"),
        (b"ID3\x04" + bytes(100), None),
        (b"\xff\xfb" + bytes(100), None),
    ],
)  # fmt: skip
def test_what_is_no_audio_is_refused_with_a_code(data: bytes, code: str | None) -> None:
    error = refusal(data)
    assert error.code == code or code is None and error.code in ("damaged_audio", "unsupported_audio", "empty_audio")
    assert "BytesIO" not in str(error)


@pytest.mark.parametrize(
    "lie",
    [{"rate": 0}, {"channels": 0}, {"rate": 0xFFFFFFFF}, {"rate": 768_001}, {"channels": 65535, "block": 65535},
     {"bits": 64, "block": 8}, {"encoding": 3}, {"encoding": 0x4242}],
)  # fmt: skip
def test_a_header_that_makes_no_sense_is_refused(lie: dict[str, int]) -> None:
    assert refusal(plain_wav(pcm16(tone()), **lie)).code in ("damaged_audio", "unsupported_audio")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("subtype", ["FLOAT", "DOUBLE"])
def test_samples_that_are_not_numbers_are_refused(bad: float, subtype: str) -> None:
    samples = tone().astype(np.float64)
    samples[777] = bad
    for format in ("WAV", "CAF"):
        error = refusal(encoded(samples, format=format, subtype=subtype))
        assert error.code == "damaged_audio"
        assert "not finite" in str(error)


@pytest.mark.parametrize("rate", [16000, 44100])
def test_samples_beyond_full_scale_are_clipped(rate: int) -> None:
    samples = np.array([1e300, -1e300, 0.5, 2.0] * 1000)
    got = decode(encoded(samples, rate, subtype="DOUBLE"), max_seconds=60)
    assert np.isfinite(got).all()
    assert np.abs(got).max() <= 1.0


def test_a_clip_too_long_by_its_header_is_refused_before_its_data_is_looked_at() -> None:
    header = encoded(tone(0.1), format="FLAC")[:42]
    long = header[:21] + (header[21] & 0xF0 | 0).to_bytes(1, "big") + (7200 * RATE).to_bytes(4, "big") + header[26:]
    error = refusal(long + bytes(5000), max_seconds=3600)
    assert error.code == "audio_too_long"
    assert str(error) == "cannot take 7200.0 s of audio: at most 3600 s"


@pytest.mark.parametrize(
    ("format", "subtype"), [("WAV", "PCM_16"), ("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("MP3", "MPEG_LAYER_III")]
)
def test_a_clip_longer_than_allowed_is_refused(format: str, subtype: str) -> None:
    data = encoded(tone(4.0), format=format, subtype=subtype)
    assert refusal(data, max_seconds=3.5).code == "audio_too_long"
    assert len(decode(data, max_seconds=4.5)) > 3 * RATE


def test_a_pipe_that_never_ends_is_refused_by_counting() -> None:
    data = plain_wav(bytes(2 * RATE * 30), data_bytes=0xFFFFFFFF)
    assert refusal(data, max_seconds=20).code == "audio_too_long"


@pytest.mark.parametrize("rate", [1, 1000, 3999, 384_001, 768_000])
def test_a_sample_rate_that_no_recording_has_is_refused(rate: int) -> None:
    assert refusal(plain_wav(bytes(3600), rate=rate), max_seconds=3600).code == "damaged_audio"


@pytest.mark.parametrize(
    ("format", "subtype", "seconds"), [("FLAC", "PCM_16", 600), ("OGG", "VORBIS", 600), ("OGG", "OPUS", 120)]
)  # Opus is slow to write, and its silence has many bytes a second
def test_minutes_of_real_silence_are_within_what_so_few_bytes_may_become(
    format: str, subtype: str, seconds: int
) -> None:
    made = io.BytesIO()
    with soundfile.SoundFile(made, "w", 8000, 1, subtype, format=format) as file:
        for _ in range(seconds):
            file.write(np.zeros(8000, np.float32))
    assert len(decode(made.getvalue(), max_seconds=3600)) == pytest.approx(seconds * RATE, rel=0.001)


def test_a_few_bytes_that_become_hours_are_refused_as_soon_as_that_shows() -> None:
    data, frames = quiet_flac(36_000), 0
    with pytest.raises(BadAudio, match="bytes cannot be") as caught:
        for block in blocks(data, max_seconds=36_000):
            frames += len(block)
    assert caught.value.code == "damaged_audio"
    assert frames / RATE < limits.FREE_SECONDS + len(data) / limits.LEAST_BYTES_PER_SECOND


def test_memory_follows_the_samples_kept_not_the_upload() -> None:
    data = plain_wav(bytes(8 * 2 * 48000 * 20), channels=8, rate=48000, block=16)
    tracemalloc.start()
    try:
        samples = decode(data, max_seconds=60)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 3 * samples.nbytes + (8 << 20)


SEEDS = [
    encoded(tone(0.2)),
    encoded(tone(0.2), subtype="DOUBLE"),
    encoded(tone(0.2), format="FLAC"),
    encoded(tone(0.2), format="OGG", subtype="VORBIS"),
    encoded(tone(0.2), format="OGG", subtype="OPUS"),
    encoded(tone(0.2), format="MP3", subtype="MPEG_LAYER_III"),
]


@settings(max_examples=examples(150))
@given(
    st.sampled_from(SEEDS),
    st.lists(st.tuples(st.integers(0, 120), st.integers(0, 255)), max_size=6),
    st.integers(0, 4000),
)
def test_damaged_bytes_are_audio_or_refused_and_nothing_else(
    seed: bytes, changes: list[tuple[int, int]], dropped: int
) -> None:
    data = bytearray(seed)
    for position, value in changes:
        data[position % len(data)] = value
    try:
        samples = decode(bytes(data[: len(data) - dropped]), max_seconds=5)
    except BadAudio as e:
        assert str(e).startswith("cannot ")
    else:
        assert np.isfinite(samples).all()
        assert np.abs(samples).max(initial=0) <= 1
