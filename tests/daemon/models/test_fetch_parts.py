"""Hidden directories of fetches: one process fills one, and what nobody continues goes."""

from __future__ import annotations

import os
from pathlib import Path

from modelward.daemon.models import fetch_parts
from modelward.daemon.models.fetch_parts import ABANDONED_SECONDS, PREFIX, part_name
from modelward.daemon.names import is_version_name

NOW = 1e9


def part(root: Path, name: str, age_seconds: float, mode: int = 0o700) -> Path:
    path = root / name
    path.mkdir()
    path.chmod(mode)
    (path / "files").mkdir(mode=0o700)
    os.utime(path, (NOW - age_seconds, NOW - age_seconds))
    return path


def test_what_nobody_continues_goes_and_the_rest_stays(tmp_path: Path) -> None:
    old, young = ABANDONED_SECONDS + 1, ABANDONED_SECONDS - 1
    part(tmp_path, part_name("v1"), old)
    part(tmp_path, part_name("v2"), young)
    part(tmp_path, part_name("v3"), old, mode=0o755)  # not ours alone
    part(tmp_path, "v4", old)
    (tmp_path / f"{PREFIX}v5").symlink_to(tmp_path / "v4")
    assert fetch_parts.remove_abandoned(tmp_path, NOW) == ["v1"]
    assert sorted(os.listdir(tmp_path)) == [part_name("v2"), part_name("v3"), f"{PREFIX}v5", "v4"]


def test_what_a_process_fills_stays_however_old_it_is(tmp_path: Path) -> None:
    path = part(tmp_path, part_name("v1"), ABANDONED_SECONDS + 1)
    root = os.open(tmp_path, os.O_RDONLY)
    fd = fetch_parts.open_part(root, path.name)
    assert fetch_parts.locked(root, path.name, fd)
    other = fetch_parts.open_part(root, path.name)
    assert not fetch_parts.locked(root, path.name, other)
    assert fetch_parts.remove_abandoned(tmp_path, NOW) == []
    os.close(fd)
    assert fetch_parts.remove_abandoned(tmp_path, NOW) == ["v1"]
    assert not fetch_parts.locked(root, path.name, other)  # it is no longer there
    os.close(other)
    os.close(root)


def test_every_version_has_a_directory_that_is_none(tmp_path: Path) -> None:
    for version in ("v1", "模型v2.0", "x" * 255, "模" * 85):
        (tmp_path / part_name(version)).mkdir()
        assert not is_version_name(part_name(version))
