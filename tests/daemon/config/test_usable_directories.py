"""Every directory that the daemon's user cannot make or write is named at once, with what helps."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support import PATIENCE_SECONDS, modules

from modelward.daemon.cli import main
from modelward.daemon.config.load import Config, parse
from modelward.daemon.config.own_directories import require_own
from modelward.daemon.config.usable_directories import prevent_start, unusable
from modelward.daemon.errors import ModelwardError

STRANGER = 61_003
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")


def text(root: Path, **directories: str) -> str:
    place = {name: directories.get(name, name) for name in ("run", "state", "cache", "log")}
    return f"""
    [models]
    root = "{root}/models"
    [control]
    runtime_dir = "{root}/{place["run"]}"
    state_dir = "{root}/{place["state"]}"
    cache_dir = "{root}/{place["cache"]}"
    [logs]
    dir = "{root}/{place["log"]}"
    """


def config(root: Path, **directories: str) -> Config:
    return parse(text(root, **directories), "here")


def test_directories_that_can_be_made_are_no_problem(tmp_path: Path) -> None:
    assert unusable(config(tmp_path, state="a/b/c"), os.geteuid()) == []


def test_all_are_named_at_once_by_check_config_and_at_the_start(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "lost").symlink_to("nowhere")
    file = tmp_path / "modelward.toml"
    file.write_text(text(tmp_path, run="file/run", state="file", cache="lost", log="file/x"))
    assert main(["check-config", str(file)]) == 2
    checked = capsys.readouterr().err.splitlines()
    with pytest.raises(ModelwardError) as refused:
        require_own(config(tmp_path, run="file/run", state="file", cache="lost", log="file/x"))
    started = str(refused.value).splitlines()
    assert checked[0] == f"cannot use {file}: 5 mistakes"
    assert started[0] == "cannot start: 5 directories cannot be used"
    assert [line.strip() for line in checked[1:]] == started[1:]
    keys = ["control.runtime_dir", "control.state_dir", "control.cache_dir", "logs.dir", "models.root"]
    assert [line.partition(":")[0] for line in started[1:]] == keys
    assert started[1].endswith(
        f"cannot be made: {tmp_path}/file is no directory; name another directory, or move that away"
    )
    assert "lost: No such file or directory" in started[3]


def test_logs_alone_that_cannot_be_written_prevent_no_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (sentence,) = require_own(config(tmp_path, log="file"))
    assert sentence.startswith(f"logs.dir: {tmp_path}/file cannot be written: ")


@as_root
def test_another_users_rights_are_those_of_owner_group_and_mode(tmp_path: Path) -> None:
    for name in ("run", "state", "cache", "log"):
        (tmp_path / name).mkdir(mode=0o750)
    os.chown(tmp_path / "run", STRANGER, -1)
    (tmp_path / "state").chmod(0o707)
    (tmp_path / "log").rmdir()  # may be made for it
    (found,) = unusable(config(tmp_path), STRANGER)
    assert (found.key, prevent_start([found])) == ("control.cache_dir", True)
    assert f"cannot be written by {STRANGER}; as root: chown {STRANGER} {tmp_path}/cache" in found.sentence


@as_root
def test_a_start_by_a_user_without_rights_names_each_and_ends_without_a_traceback(tmp_path: Path) -> None:
    for above in (tmp_path, *tmp_path.parents):
        if not above.stat().st_mode & 0o001:
            above.chmod(above.stat().st_mode | 0o011)
    file = tmp_path / "modelward.toml"
    file.write_text(text(tmp_path))
    code = (
        "import encodings.utf_8_sig, os, sys, modelward.daemon.cli.program, modelward.daemon.cli.run\n"
        f"os.setgroups([]); os.setgid({STRANGER}); os.setuid({STRANGER})\n"
        "sys.exit(modelward.daemon.cli.main(['run', '--config', sys.argv[1]]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(file)],
        env={**os.environ, "PYTHONPATH": modules()},
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
    )
    lines = done.stderr.splitlines()
    assert (done.returncode, len(lines)) == (1, 6), done.stderr
    assert all(f"{STRANGER} may not write {tmp_path}; as root: install -d -o" in line for line in lines[1:5])
