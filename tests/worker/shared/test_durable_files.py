"""Durable files: the old content or the new, never something between."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.small_disk import run_on_small_disk

from modelward.worker.shared.durable_files import replace_file, sync_directory


def test_a_file_is_made_and_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    replace_file(path, b"one")
    replace_file(path, b"two", 0o600)
    assert path.read_bytes() == b"two"
    assert path.stat().st_mode & 0o777 == 0o600
    assert os.listdir(tmp_path) == ["a.json"]


def test_who_has_the_old_file_open_keeps_reading_it(tmp_path: Path) -> None:
    path = tmp_path / "a"
    replace_file(path, b"one")
    with open(path, "rb") as f:
        replace_file(path, b"two")
        assert f.read() == b"one"


def test_what_a_crash_left_beside_is_swept_away(tmp_path: Path) -> None:
    path = tmp_path / "a"
    (tmp_path / ".a.tmp").write_bytes(b"half")
    replace_file(path, b"one")
    assert os.listdir(tmp_path) == ["a"]


def test_a_link_laid_where_it_writes_leads_nobody_astray(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    (tmp_path / ".a.tmp").symlink_to(victim)
    replace_file(tmp_path / "a", b"one")
    assert victim.read_bytes() == b"precious"
    (tmp_path / "b").symlink_to(victim)
    replace_file(tmp_path / "b", b"two")
    assert victim.read_bytes() == b"precious"
    assert not (tmp_path / "b").is_symlink()


def test_where_it_cannot_write_the_old_file_stays(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        replace_file(tmp_path / "gone" / "a", b"one")
    (tmp_path / "a").mkdir()
    with pytest.raises(OSError, match="directory"):
        replace_file(tmp_path / "a", b"one")
    assert os.listdir(tmp_path) == ["a"]
    with pytest.raises(NotADirectoryError):
        sync_directory(Path(__file__))


FULL = """
import os, sys
from pathlib import Path
from modelward.worker.shared.durable_files import replace_file
place = Path(sys.argv[1])
replace_file(place / "a", b"old" * 1000)
for size in (600, 700, 800):
    try:
        replace_file(place / "a", b"x" * (size << 10))
    except OSError as e:
        print(e.strerror, (place / "a").read_bytes() == b"old" * 1000, os.listdir(place))
replace_file(place / "a", b"new")
print((place / "a").read_bytes())
"""


def test_on_a_full_disk_the_old_file_stays_and_nothing_is_left_beside(tmp_path: Path) -> None:
    said = run_on_small_disk(tmp_path, FULL).splitlines()
    assert said == ["No space left on device True ['a']"] * 3 + ["b'new'"]
