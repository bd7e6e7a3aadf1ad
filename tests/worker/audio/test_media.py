"""What phones, cameras, browsers and messengers record, with the extra and without it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tests.costly_audio import encoded_tone, spoken, vorbis_webm
from tests.media_files import FILES, media_file, silent_video, silk_file, without_extras
from tests.support import PATIENCE_SECONDS
from tests.worker.running import ROOT

from modelward.worker.audio.decode import blocks, decode
from modelward.worker.audio.limits import BadAudio, ClipNotes

RATE = 16_000
READS = """
import json, sys
from modelward.worker.audio.decode import decode
from modelward.worker.audio.limits import BadAudio
answers = {}
for path in sys.argv[1:]:
    try:
        answers[path] = len(decode(open(path, "rb").read(), max_seconds=60)) / 16000
    except BadAudio as e:
        answers[path] = [e.code, str(e)]
print(json.dumps(answers))
"""


def spectrum_peak_hz(samples: np.ndarray) -> float:
    return float(np.argmax(np.abs(np.fft.rfft(samples * np.hanning(len(samples)))))) * RATE / len(samples)


def read(data: bytes) -> tuple[np.ndarray, ClipNotes]:
    notes = ClipNotes()
    return decode(data, max_seconds=60, notes=notes), notes


@pytest.mark.parametrize("name", FILES)
def test_every_kind_of_recording_is_read(name: str) -> None:
    samples, notes = read(media_file(name))
    assert abs(len(samples) / RATE - 2.0) < 0.15 and not notes.truncated
    assert abs(spectrum_peak_hz(samples) - 440) < 2 and 0.1 < np.abs(samples).max() <= 1.0


@pytest.mark.parametrize("name", ["voice memo", "safari", "3gp", "pcm in matroska"])
def test_a_video_gives_its_sound(name: str) -> None:
    samples, _ = read(media_file(name, video=True))
    assert abs(len(samples) / RATE - 2.0) < 0.15 and abs(spectrum_peak_hz(samples) - 440) < 2


@pytest.mark.parametrize("name", ["safari", "adts", "amr", "flac in ogg", "pcm in matroska", "transport stream"])
def test_a_recording_that_lost_its_end_is_read_as_far_as_it_goes(name: str) -> None:
    data = media_file(name, 10.0)
    samples, _ = read(data[: len(data) // 2])
    assert 3.0 < len(samples) / RATE < 6.0


def test_an_mp4_without_its_index_is_refused_and_one_whose_sound_ends_early_is_truncated() -> None:
    data = media_file("voice memo", 10.0)
    with pytest.raises(BadAudio, match="MP4 file: it is damaged or cut off") as caught:
        read(data[: len(data) // 2])  # the index is at the end
    assert caught.value.code == "damaged_audio"
    samples, notes = read(_index_first(data)[:-30_000])
    assert 2.0 < len(samples) / RATE < 9.0 and notes.truncated


def _index_first(data: bytes) -> bytes:
    """The file as it is sent by cameras and sites: the index before the sound, with its places moved."""
    index = data.index(b"moov") - 4
    moov = bytearray(data[index : index + int.from_bytes(data[index : index + 4], "big")])
    table = moov.index(b"stco") + 12
    for place in range(int.from_bytes(moov[table - 4 : table], "big")):
        at = table + 4 * place
        moov[at : at + 4] = (int.from_bytes(moov[at : at + 4], "big") + len(moov)).to_bytes(4, "big")
    head = int.from_bytes(data[:4], "big")
    return data[:head] + bytes(moov) + data[head:index]


def test_a_transport_stream_in_which_another_stream_turns_up_is_read_to_its_end() -> None:
    data = media_file("transport stream")
    packets = [bytearray(data[start : start + 188]) for start in range(0, len(data), 188)]
    begun = [packet for packet in packets if packet[1:3] == b"\x41\x00"]  # a frame of the sound begins
    begun[-2][1:3] = b"\x5f\x00"
    samples, _ = read(b"".join(packets))
    assert abs(len(samples) / RATE - 2.0) < 0.15


def test_a_video_without_sound_is_refused_with_that_reason() -> None:
    with pytest.raises(BadAudio, match="the MP4 file holds no sound") as caught:
        read(silent_video())
    assert caught.value.code == "unsupported_audio"


def test_a_long_mp4_is_refused_by_its_index() -> None:
    with pytest.raises(BadAudio, match="cannot take 10") as caught:
        decode(media_file("voice memo", 10.0), max_seconds=9)
    assert caught.value.code == "audio_too_long"


def test_channels_of_a_recording_can_be_split() -> None:
    parts = [part for part in blocks(media_file("voice memo"), max_seconds=60, split=True) if part.size]
    assert {part.shape[1] for part in parts} == {1}


@pytest.mark.parametrize("tencent", [True, False])
def test_a_voice_message_of_wechat_is_read(tencent: bool) -> None:
    data = silk_file(75.0, tencent=tencent)
    samples = decode(data, max_seconds=100)
    assert len(samples) == 75 * RATE and abs(spectrum_peak_hz(samples) - 440) < 1
    notes = ClipNotes()
    assert 70 * RATE < len(decode(data[:-3], max_seconds=100, notes=notes)) < 75 * RATE and notes.truncated


def test_a_voice_message_is_read_without_the_packets_that_are_damaged_or_empty() -> None:
    data = silk_file(2.0)
    head, position, packets = data[:10], 10, []
    while position + 2 <= len(data):
        end = position + 2 + int.from_bytes(data[position : position + 2], "little")
        packets.append(data[position:end])
        position = end
    damaged = b"\1\0\0"
    for instead, missing in ((b"\0\0", False), (damaged, True)):
        samples, notes = read(head + b"".join([*packets[:50], instead, *packets[51:]]))
        assert 1.9 * RATE < len(samples) <= 2 * RATE and notes.truncated == missing
        assert abs(spectrum_peak_hz(samples) - 440) < 2
    samples, notes = read(head + b"".join([*packets[:50], b"\1\x08", *packets[50:]]))
    assert len(samples) == RATE and notes.truncated
    for body, because in ((b"\2\0\xff\xff" * 20, "its SILK is damaged"), (b"\1\x08", "a packet of 2049 bytes")):
        with pytest.raises(BadAudio, match=because) as caught:
            read(head + body)
        assert caught.value.code == "damaged_audio"


def test_without_the_extras_what_needs_them_is_named_and_the_rest_is_read(tmp_path: Path) -> None:
    """The libraries cannot be imported in a process whose path begins with others of their names."""
    hidden = without_extras(tmp_path / "none")
    files = {
        "opus.mp4": media_file("opus in mp4"),
        "chromium.mp4": media_file("chromium"),
        "vorbis.webm": vorbis_webm(spoken(10, "OGG", "VORBIS")),
        "mp3.wav": media_file("mp3 in wav"),
        "whole.flac": encoded_tone(2.0, "FLAC", "PCM_16"),
        "memo.m4a": media_file("voice memo"),
        "voice.3gp": media_file("3gp"),
        "voice.amr": media_file("amr"),
        "voice.aac": media_file("adts"),
        "old.wma": media_file("wma"),
        "alac.caf": media_file("alac in caf"),
        "flac.ogg": media_file("flac in ogg"),
        "pcm.mkv": media_file("pcm in matroska"),
        "voice.silk": silk_file(1.0),
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    done = subprocess.run(
        [sys.executable, "-c", READS, *files],
        env={**os.environ, "PYTHONPATH": f"{hidden}{os.pathsep}{ROOT / '.imports'}"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
    )
    answers = json.loads(done.stdout)
    seconds = {name: round(answers.pop(name)) for name in list(files)[:5]}
    assert seconds == {"opus.mp4": 2, "chromium.mp4": 2, "vorbis.webm": 10, "mp3.wav": 2, "whole.flac": 2}
    assert {code for code, _ in answers.values()} == {"unsupported_audio"}
    named = {
        "memo.m4a": "MP4 with AAC", "voice.3gp": "3GP with AMR", "voice.amr": "AMR", "voice.aac": "AAC",
        "old.wma": "WMA", "alac.caf": "CAF with alac", "flac.ogg": "FLAC in OGG", "pcm.mkv": "A_PCM/INT/LIT",
        "voice.silk": "SILK",
    }  # fmt: skip
    for name, what in named.items():
        extra = "modelward[silk]" if name == "voice.silk" else "modelward[media]"
        assert what in answers[name][1] and extra in answers[name][1], answers[name]


def test_the_packets_of_opus_are_found_in_mp4_as_in_ogg() -> None:
    from modelward.worker.audio.mp4 import ogg_parts

    for name in ("opus in mp4", "chromium"):
        notes = ClipNotes()
        rewrapped = b"".join(ogg_parts(media_file(name), notes))
        assert abs(len(decode(rewrapped, max_seconds=60)) / RATE - 2.0) < 0.05 and not notes.truncated
        cut = media_file(name, 10.0)
        if name == "chromium":  # the index comes first
            half = b"".join(ogg_parts(cut[: len(cut) // 2], notes))
            assert 2.0 < len(decode(half, max_seconds=60)) / RATE < 8.0 and notes.truncated
        else:
            with pytest.raises(BadAudio, match="its index") as caught:
                b"".join(ogg_parts(cut[: len(cut) // 2], notes))
            assert caught.value.code == "truncated_audio"
