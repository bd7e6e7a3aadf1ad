"""What is done is on the disk; half a line is nothing, and is written over."""

from __future__ import annotations

from pathlib import Path

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from modelward.worker.jobs.piece_file import PieceDone, Plan, append_line, parse_pieces, read_pieces
from modelward.worker.sensevoice.transcript import Piece

PLAN = Plan(48000, ((0, 16000), (16000, 32000), (33000, 48000)))


def piece(text: str, version: str = "v1") -> PieceDone:
    return PieceDone(version, version * 4, Piece(text, "en", tokens=(text,), times=(0.1,)))


def written(path: Path, *pieces: PieceDone) -> int:
    at = append_line(path, PLAN, 0)
    for entry in pieces:
        at = append_line(path, entry, at)
    return at


def test_what_was_written_is_read_again(tmp_path: Path) -> None:
    size = written(tmp_path / "p", piece("one"), piece("two", "v2"))
    done = read_pieces(tmp_path / "p")
    assert done.plan == PLAN and done.pieces == (piece("one"), piece("two", "v2")) and done.whole_bytes == size
    progress = done.progress()
    assert (progress.text, progress.done, progress.duration) == ("one two", 2.062, 3.0)
    assert [(v.version, v.start, v.end) for v in progress.versions] == [("v1", 0.0, 1.0), ("v2", 1.0, 2.0)]


def test_after_the_last_piece_all_is_done(tmp_path: Path) -> None:
    written(tmp_path / "p", piece("a"), piece("b"), piece("c"))
    assert read_pieces(tmp_path / "p").progress().done == 3.0


def test_no_file_is_no_progress(tmp_path: Path) -> None:
    assert read_pieces(tmp_path / "none").plan is None


def test_every_cut_of_a_file_gives_the_whole_lines_before_it_and_goes_on_from_there(tmp_path: Path) -> None:
    path = tmp_path / "p"
    written(path, piece("one"), piece("two"))
    data = path.read_bytes()
    for cut in range(len(data)):
        done = parse_pieces(data[:cut])
        assert done.whole_bytes == data[:cut].rfind(b"\n") + 1
        assert len(done.pieces) + (done.plan is not None) == data[:cut].count(b"\n")
        path.write_bytes(data[:cut])
        if done.plan is not None:
            append_line(path, piece("again"), done.whole_bytes)
            assert read_pieces(path).pieces == (*done.pieces, piece("again"))


@given(st.binary(max_size=300))
def test_garbage_is_nothing(garbage: bytes) -> None:
    done = parse_pieces(garbage)
    assert done.plan is None or isinstance(done.plan, Plan)
    whole = msgspec.json.encode(PLAN) + b"\n"
    assert parse_pieces(whole + garbage).plan == PLAN
