from __future__ import annotations

import io
import struct

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.costly_audio import spoken, vorbis_webm
from tests.examples import examples
from tests.worker.sensevoice.vectors import VECTORS, clip

from modelward.worker.audio.decode import decode
from modelward.worker.audio.limits import BadAudio, ClipNotes
from modelward.worker.audio.webm import ogg_parts

LIVE = (VECTORS / "live.webm").read_bytes()  # unknown sizes, as browsers record
WHOLE = (VECTORS / "recording.webm").read_bytes()  # sizes, cues and a duration, 60 ms packets
EBML = b"\x1a\x45\xdf\xa3\x80"


def opus_in_ogg(data: bytes) -> bytes:
    return b"".join(ogg_parts(data, ClipNotes()))


def element(identity: bytes, body: bytes) -> bytes:
    return identity + struct.pack(">Q", len(body) | 1 << 56) + body


def track(codec: bytes, head: bytes = b"", number: int = 1) -> bytes:
    parts = element(b"\xd7", bytes([number])) + element(b"\x86", codec) + element(b"\x63\xa2", head)
    return element(b"\xae", parts)


def webm(*tracks: bytes, blocks: bytes = b"") -> bytes:
    return EBML + element(b"\x18\x53\x80\x67", element(b"\x16\x54\xae\x6b", b"".join(tracks)) + blocks)


HUGE = element(b"\xa3", b"\x81\0\0\0" + bytes(70_000))
SHORT = element(b"\xa3", b"\x81\0\0\0" + bytes(20))
LONG_VORBIS = b"\2" + b"\xff" * 255 + b"\0\7" + b"\1vorbis".ljust(255 * 255, b"\0") + b"\3vorbis\5vorbis"
HEAD = b"OpusHead\x01\x01" + struct.pack("<HIhB", 312, 16000, 0, 0)


@pytest.mark.parametrize("data", [LIVE, WHOLE], ids=["live", "whole"])
def test_a_recording_sounds_like_what_was_recorded(data: bytes) -> None:
    got = decode(data, max_seconds=60)
    assert abs(len(got) / 16000 - 3.0) < 0.1
    expected = clip("en.wav")[: len(got)]
    assert np.corrcoef(got[: len(expected)], expected)[0, 1] > 0.95


@pytest.mark.parametrize("milliseconds", [0.0, 1.0, 1e12, -1.0, float("nan")])
def test_no_duration_is_believed(milliseconds: float) -> None:
    at = WHOLE.index(b"\x44\x89\x88") + 3
    lying, notes = WHOLE[:at] + struct.pack(">d", milliseconds) + WHOLE[at + 8 :], ClipNotes()
    assert np.array_equal(decode(lying, max_seconds=60, notes=notes), decode(WHOLE, max_seconds=60))
    assert not notes.truncated


def test_the_wrapping_is_valid_ogg_to_a_strict_reader() -> None:
    ogg = opus_in_ogg(LIVE)
    position, granules = 0, []
    while position < len(ogg):
        assert ogg[position : position + 4] == b"OggS"
        granules.append(struct.unpack_from("<q", ogg, position + 6)[0])
        segments = ogg[position + 26]
        position += 27 + segments + sum(ogg[position + 27 : position + 27 + segments])
    assert position == len(ogg)
    assert granules == sorted(granules)
    assert soundfile.info(io.BytesIO(ogg)).subtype == "OPUS"


def test_packets_of_other_tracks_are_left_out() -> None:
    block = element(b"\xa3", b"\x81\0\0\x80" + b"\xf8\xff\xfe")
    other = element(b"\xa3", b"\x82\0\0\x80" + b"video" * 50)
    alone = webm(track(b"A_OPUS", HEAD), blocks=block * 50)
    mixed = webm(track(b"V_VP8", number=2), track(b"A_OPUS", HEAD), blocks=(block + other) * 50)
    assert opus_in_ogg(mixed) == opus_in_ogg(alone)
    assert len(decode(mixed, max_seconds=60)) == pytest.approx(16000, abs=400)


def test_large_packets_fill_pages_without_overflow() -> None:
    packets = b"".join(
        element(b"\xa3", b"\x81\0\0\x80\xf8" + bytes(n)) for n in (0, 253, 254, 255, 509, 510, 60_000) * 3
    )
    assert opus_in_ogg(webm(track(b"A_OPUS", HEAD), blocks=packets)).startswith(b"OggS")


@pytest.mark.parametrize(
    ("data", "code", "because"),
    [
        (webm(track(b"A_VORBIS")), "damaged_audio", "its Vorbis track has no header"),
        (webm(track(b"A_OPUS")), "damaged_audio", "its Opus track has no header"),
        (webm(track(b"A_OPUS", HEAD + bytes(70_000)), blocks=SHORT), "damaged_audio", "its Opus track has no header"),
        (webm(track(b"A_VORBIS", LONG_VORBIS), blocks=SHORT), "damaged_audio", "its Vorbis track has no header"),
        (webm(track(b"A_OPUS", HEAD)), "empty_audio", "it holds no sound"),
        (webm(track(b"A_OPUS", HEAD), blocks=HUGE), "damaged_audio", "it has a packet of 70000 bytes"),
        (EBML + b"\0\0no", "damaged_audio", "begins no element"),
        (EBML + b"\xec\x80" * 500_001, "damaged_audio", "more than 500000 elements"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_what_holds_no_whole_opus_sound_is_refused(data: bytes, code: str, because: str) -> None:
    with pytest.raises(BadAudio, match="cannot read the WebM file: ") as caught:
        decode(data, max_seconds=60)
    assert caught.value.code == code
    assert because in str(caught.value)


@pytest.mark.parametrize("data", [LIVE, WHOLE], ids=["live", "whole"])
@pytest.mark.parametrize("lost", [1, 2000])
def test_a_recording_that_lost_its_end_is_read_as_far_as_it_goes(data: bytes, lost: int) -> None:
    notes = ClipNotes()
    whole, got = decode(data, max_seconds=60), decode(data[:-lost], max_seconds=60, notes=notes)
    assert 0.3 * len(whole) < len(got) <= len(whole) and notes.truncated
    common = min(len(got), len(whole)) - 1600  # the resampler's end differs
    assert np.abs(got[:common] - whole[:common]).max() < 1e-3


@pytest.mark.parametrize("behind", [bytes(100), b"\r\n"])
def test_what_a_form_puts_behind_a_recording_is_no_damage(behind: bytes) -> None:
    notes = ClipNotes()
    assert np.array_equal(decode(WHOLE + behind, max_seconds=60, notes=notes), decode(WHOLE, max_seconds=60))
    assert not notes.truncated


def test_vorbis_in_webm_sounds_as_in_ogg() -> None:
    ogg = spoken(10, "OGG", "VORBIS")
    notes = ClipNotes()
    got, expected = decode(vorbis_webm(ogg), max_seconds=60, notes=notes), decode(ogg, max_seconds=60)
    assert not notes.truncated and abs(len(got) - len(expected)) <= 1024  # where it ends exactly, only OGG says
    common = min(len(got), len(expected)) - 1024
    assert np.abs(got[:common] - expected[:common]).max() < 1e-6


@settings(max_examples=examples(150))
@given(
    st.sampled_from([LIVE, WHOLE]),
    st.lists(st.tuples(st.integers(4, 7000), st.integers(0, 255)), max_size=8),
    st.integers(0, 7000),
)
def test_damaged_bytes_are_sound_or_refused_and_nothing_else(
    seed: bytes, changes: list[tuple[int, int]], dropped: int
) -> None:
    data = bytearray(seed)
    for position, value in changes:
        data[position % len(data)] = value
    try:
        samples = decode(bytes(data[: max(4, len(data) - dropped)]), max_seconds=30)
    except BadAudio as e:
        assert str(e).startswith("cannot ")
    else:
        assert np.isfinite(samples).all()
