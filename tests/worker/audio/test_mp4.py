"""MP4 with Opus whose tables are damaged or made to cost much, read without the extra for media files."""

from __future__ import annotations

import struct

import pytest
from tests.media_files import media_file

from modelward.worker.audio.limits import BadAudio, ClipNotes
from modelward.worker.audio.mp4 import ogg_parts

MOST = 0xFFFFFFFF


def box(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body) + 8) + name + body


def table(name: bytes, *numbers: int) -> bytes:
    return box(name, struct.pack(f">{len(numbers) + 1}I", 0, *numbers))


def mp4(*tables: bytes, sound: bytes = b"") -> bytes:
    """The sound comes first, so that it begins at byte 8."""
    head = box(b"dOps", struct.pack(">BBHIhB", 0, 1, 0, 48_000, 0, 0))
    entry = struct.pack(">II", 0, 1) + box(b"Opus", bytes(28) + head)
    stbl = box(b"stbl", box(b"stsd", entry) + b"".join(tables))
    track = box(b"trak", box(b"mdia", box(b"hdlr", bytes(8) + b"soun" + bytes(12)) + box(b"minf", stbl)))
    return box(b"mdat", sound) + box(b"ftyp", b"isom\0\0\0\0") + box(b"moov", track)


def steps_and_notes(data: bytes) -> tuple[int, bytes, ClipNotes]:
    notes, steps, ogg = ClipNotes(), 0, b""
    for part in ogg_parts(data, notes):
        steps += 1
        ogg += part
        assert steps < 1000, "it goes on and on"
    return steps, ogg, notes


ONE_PACKET = b"\xf8\xff\xfe"  # silence of 20 ms


@pytest.mark.parametrize(
    "tables",
    [
        (table(b"stsc", MOST), table(b"stsz", 3, 1), table(b"stco", 1, 8)),
        (table(b"stsc", 1, 1, 0, 1), table(b"stsz", 3, 1), table(b"stco", MOST, 8)),
        (table(b"stsc", 1, 1, 0, 1), table(b"stsz", 3, 1), table(b"co64", MOST, 0, 8)),
    ],
    ids=["runs", "chunks", "long chunks"],
)
def test_a_table_is_believed_as_far_as_its_box_goes(tables: tuple[bytes, ...]) -> None:
    data = mp4(*tables, sound=ONE_PACKET)
    assert len(data) < 300
    with pytest.raises(BadAudio, match="no sound") as caught:
        steps_and_notes(data)
    assert caught.value.code == "empty_audio"


def test_a_table_that_claims_more_than_it_holds_gives_what_it_holds_and_a_note() -> None:
    chunk = (table(b"stsc", 1, 1, 9, 1), table(b"stco", 1, 8))
    _, whole, notes = steps_and_notes(mp4(*chunk, table(b"stsz", 0, 1, 3), sound=ONE_PACKET))
    assert not notes.truncated
    _, same, notes = steps_and_notes(mp4(*chunk, table(b"stsz", 0, MOST, 3), sound=ONE_PACKET))
    assert same == whole and notes.truncated


def test_samples_that_lie_on_one_another_are_refused() -> None:
    places = [8] * 1000
    data = mp4(table(b"stsc", 1, 1, 1, 1), table(b"stsz", 9000, 1000), table(b"stco", 1000, *places), sound=bytes(9000))
    with pytest.raises(BadAudio, match="lie on one another") as caught:
        steps_and_notes(data)
    assert caught.value.code == "damaged_audio"


@pytest.mark.parametrize("name", ["opus in mp4", "chromium"])
def test_a_recording_is_whole(name: str) -> None:
    _, ogg, notes = steps_and_notes(media_file(name))
    assert ogg.count(b"OggS") > 1 and not notes.truncated
