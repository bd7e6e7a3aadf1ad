"""A whole log: archives of every kind first, then the live file, in pieces; a rotation meanwhile costs no line."""

from __future__ import annotations

from pathlib import Path

from tests.daemon.upkeep.logs.test_follow import append, rotate

from modelward.daemon.upkeep.logs.follow import MAX_LINE_BYTES
from modelward.daemon.upkeep.logs.whole_log import PIECE_BYTES, WholeLog


def test_has_every_line_once_from_the_oldest_archive_on(tmp_path: Path) -> None:
    path, wanted = tmp_path / "a.log", []
    for turn, packed in enumerate(("gzip", "none", "gzip")):
        lines = [f"{turn}-{i:06d}" for i in range(40_000)]
        append(path, *lines)
        wanted += lines
        rotate(tmp_path, "rename", compress=packed)
    append(path, "live")
    log, pieces = WholeLog(str(path)), []
    while piece := log.piece():
        pieces.append(piece)
        if len(pieces) == 1:  # in the middle of it
            rotate(tmp_path, "rename", compress="gzip")
            append(path, "after a rotation")
    log.close()
    assert b"".join(pieces).decode().splitlines() == [*wanted, "live", "after a rotation"]
    assert max(map(len, pieces)) <= PIECE_BYTES + MAX_LINE_BYTES and len(pieces) > 4


def test_what_cannot_be_read_has_a_line_with_the_reason(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    append(path, "lost")
    rotate(tmp_path, "rename", compress="gzip")
    append(path, "live")
    [archive] = tmp_path.glob("a.log.*.gz")
    archive.write_bytes(archive.read_bytes()[:15])
    log = WholeLog(str(path))
    first, last = log.piece().decode().splitlines()
    assert first == "live" and str(archive) in last and last.startswith("[cannot read the rest of")
    assert log.piece() == b""
    log.close()
