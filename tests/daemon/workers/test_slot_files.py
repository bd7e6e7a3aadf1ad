from __future__ import annotations

import os
from pathlib import Path

from modelward.daemon.workers import slot_files
from modelward.worker.protocol import SLOT_FILES


def sizes(directory: Path) -> list[int]:
    return [(directory / name).stat().st_size for name in SLOT_FILES]


def test_the_files_are_as_large_as_there_are_slots_and_stay_the_same_files(tmp_path: Path) -> None:
    slot_files.keep(tmp_path, 2)
    assert sizes(tmp_path) == [2] * len(SLOT_FILES)
    before = [os.stat(tmp_path / name).st_ino for name in SLOT_FILES]
    for count in (2, 5, 1):
        slot_files.keep(tmp_path, count)
        assert sizes(tmp_path) == [count] * len(SLOT_FILES)
    assert [os.stat(tmp_path / name).st_ino for name in SLOT_FILES] == before


def test_one_that_was_removed_is_made_again(tmp_path: Path) -> None:
    slot_files.keep(tmp_path, 3)
    (tmp_path / SLOT_FILES[0]).unlink()
    slot_files.keep(tmp_path, 3)
    assert sizes(tmp_path) == [3] * len(SLOT_FILES)
    assert (tmp_path / SLOT_FILES[0]).stat().st_mode & 0o777 == 0o600


def test_what_is_in_the_way_is_left_alone_and_stops_nothing(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_bytes(b"contents")
    (tmp_path / SLOT_FILES[0]).symlink_to(other)
    slot_files.keep(tmp_path, 2)
    slot_files.keep(tmp_path / "nowhere", 2)
    assert other.read_bytes() == b"contents"
