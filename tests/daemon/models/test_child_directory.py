"""What a child gets to fill is new, empty, of one mode, and gone when nothing of it was kept."""

from __future__ import annotations

import asyncio
import os
import stat
from pathlib import Path

import pytest

from modelward.daemon.models.child_directory import (
    FOR_COMPILER,
    FOR_VALIDATOR,
    NoDirectory,
    child_directory,
)
from modelward.daemon.models.unfinished_artifacts import remove_unfinished


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_has_the_mode_that_a_child_expects_whatever_the_umask_is(umask: int, tmp_path: Path) -> None:
    async def mode() -> int:
        async with child_directory(tmp_path, FOR_VALIDATOR) as directory:
            assert os.listdir(directory) == []
            return stat.S_IMODE(directory.stat().st_mode)

    before = os.umask(umask)
    try:
        assert asyncio.run(mode()) == 0o750
    finally:
        os.umask(before)
    assert os.listdir(tmp_path) == []


def test_is_gone_after_an_error_and_stays_where_it_was_renamed_to(tmp_path: Path) -> None:
    async def fill(then: str) -> None:
        async with child_directory(tmp_path, FOR_COMPILER) as directory:
            (directory / "file").touch()
            if not then:
                raise RuntimeError("unexpected")
            directory.rename(tmp_path / then)

    with pytest.raises(RuntimeError, match="unexpected"):
        asyncio.run(fill(""))
    assert os.listdir(tmp_path) == []
    asyncio.run(fill("v1"))
    assert os.listdir(tmp_path / "v1") == ["file"]


@pytest.mark.parametrize(("prefix", "forms"), [(FOR_VALIDATOR, False), (FOR_COMPILER, True)])
def test_what_a_killed_daemon_leaves_is_known_for_what_it_is(prefix: str, forms: bool, tmp_path: Path) -> None:
    async def leave() -> str:
        async with child_directory(tmp_path / "a", prefix) as directory:
            (tmp_path / directory.name).mkdir()
            return directory.name

    name = asyncio.run(leave())
    assert remove_unfinished(tmp_path, forms=not forms) == []
    assert remove_unfinished(tmp_path, forms=forms) == [name]


def test_says_why_there_is_none(tmp_path: Path) -> None:
    async def make() -> None:
        async with child_directory(tmp_path / "file" / "compiled", FOR_VALIDATOR):
            pass

    (tmp_path / "file").touch()
    with pytest.raises(NoDirectory, match="cannot make the directory .*: Not a directory"):
        asyncio.run(make())
