"""The daemon trusts no directory that another user can change, and what it makes is closed to others."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from modelward.daemon.config.load import Config, parse
from modelward.daemon.config.own_directories import make, probable_user, problems, require_own
from modelward.daemon.errors import ModelwardError
from modelward.daemon.state.store import Store
from modelward.daemon.system.clock import SystemClock

STRANGER = 61_003
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")


@pytest.fixture
def config(tmp_path: Path) -> Config:
    for name in ("run", "state", "cache", "log"):
        (tmp_path / name).mkdir(mode=0o750)
    text = f"""
    [control]
    runtime_dir = "{tmp_path}/run"
    state_dir = "{tmp_path}/state"
    cache_dir = "{tmp_path}/cache"
    [logs]
    dir = "{tmp_path}/log"
    """
    return parse(text, "here")


def test_its_own_directories_and_those_to_come_are_fine(config: Config, tmp_path: Path) -> None:
    require_own(config)
    (tmp_path / "cache").rmdir()
    (tmp_path / "state").chmod(0o770)  # its own group
    require_own(config)
    assert probable_user(config) == os.geteuid()


def test_the_model_root_is_made_where_a_mount_would_be_there_already(config: Config, tmp_path: Path) -> None:
    config = parse(
        f'models.root = "{tmp_path}/models"\ncontrol.state_dir = "{tmp_path}/state"\n'
        f'control.cache_dir = "{tmp_path}/cache"\ncontrol.runtime_dir = "{tmp_path}/run"',
        "here",
    )
    assert make(config) == [] and not (tmp_path / "models").exists()
    assert make(config, model_root=True) == [] and (tmp_path / "models").is_dir()


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("run", "control.runtime_dir"),
        ("state", "control.state_dir"),
        ("cache", "control.cache_dir"),
        ("log", "logs.dir"),
    ],
)
def test_one_that_everybody_writes_is_refused_with_the_command_that_helps(
    config: Config, tmp_path: Path, name: str, key: str
) -> None:
    for mode in (0o777, 0o1777):
        (tmp_path / name).chmod(mode)
        with pytest.raises(ModelwardError) as refused:
            require_own(config)
        assert str(refused.value).startswith(f"cannot start: {key}: {tmp_path / name} can be written by every user; ")
        assert f"chmod o-w {tmp_path / name}" in str(refused.value)


@as_root
def test_one_of_another_user_or_group_is_refused(config: Config, tmp_path: Path) -> None:
    os.chown(tmp_path / "state", STRANGER, -1)
    os.chown(tmp_path / "log", -1, STRANGER)
    (tmp_path / "log").chmod(0o770)
    state, log = problems(config, 0)
    assert f"belongs to {STRANGER}" in state and f"chown root {tmp_path / 'state'}" in state
    assert f"group {STRANGER}" in log and f"chmod g-w {tmp_path / 'log'}" in log
    assert probable_user(config) == STRANGER
    assert [text for text in problems(config, STRANGER) if "belongs" in text] == []


@as_root
def test_a_link_that_another_user_can_change_is_refused(config: Config, tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    os.chown(theirs, STRANGER, -1)
    (theirs / "link").symlink_to(tmp_path / "log")
    control = config.control.model_copy(update={"cache_dir": theirs / "link"})
    (found,) = problems(config.model_copy(update={"control": control}), 0)
    assert found.startswith("control.cache_dir: ") and "is a link that uid" in found


def test_the_state_is_read_by_owner_and_group_alone(tmp_path: Path) -> None:
    path = tmp_path / "new" / "state.db"
    store = Store(path, SystemClock())
    try:
        store.record("daemon-started")
        assert stat.S_IMODE(path.parent.stat().st_mode) & 0o007 == 0
        assert {stat.S_IMODE(p.stat().st_mode) & ~0o640 for p in path.parent.iterdir()} == {0}
    finally:
        store.close()
    path.chmod(0o666)
    Store(path, SystemClock()).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
