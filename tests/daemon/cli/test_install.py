"""Putting the service in place below a directory of one's own, and taking it away again."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from tests.daemon.cli.conftest import Call

from modelward.daemon.cli.install_files import COMMAND, FILES, LAUNCHER, PACKAGE
from modelward.daemon.config.load import load, parse


def test_everything_goes_below_the_prefix_and_a_second_run_changes_nothing(call: Call, tmp_path: Path) -> None:
    first = call("install", "--prefix", str(tmp_path))
    assert first.status == 0, first.err
    for target in FILES.values():
        path = tmp_path / target
        assert f"wrote: {path}" in first.out
        assert stat.S_IMODE(path.stat().st_mode) == 0o644
    load(tmp_path / "etc/modelward/modelward.toml")
    again = call("install", "--prefix", str(tmp_path))
    assert "wrote" not in again.out
    assert again.out.count("unchanged") == len(FILES) + 1  # the command


def test_a_configuration_is_never_written_over_and_units_always_are(call: Call, tmp_path: Path) -> None:
    call("install", "--prefix", str(tmp_path))
    config, unit = tmp_path / "etc/modelward/modelward.toml", tmp_path / "etc/systemd/system/modelward.service"
    for path in (config, unit):
        path.write_text("mine")
    said = call("install", "--prefix", str(tmp_path)).out
    assert f"kept: {config}" in said
    assert config.read_text() == "mine"
    assert "[Service]" in unit.read_text()


def test_the_units_name_the_program_where_it_is(call: Call, tmp_path: Path) -> None:
    call("install", "--prefix", str(tmp_path))
    text = (tmp_path / "etc/systemd/system/modelward.service").read_text()
    program = text.partition("ExecStart=")[2].split()[0]
    assert program == LAUNCHER or os.access(program, os.X_OK)


def test_uninstall_leaves_the_configuration_and_can_be_run_again(call: Call, tmp_path: Path) -> None:
    call("install", "--prefix", str(tmp_path))
    gone = call("uninstall", "--prefix", str(tmp_path))
    assert gone.status == 0
    assert gone.out.count("removed") == len(FILES) + 1
    assert [p.name for p in tmp_path.rglob("*") if p.is_file()] == ["modelward.toml"]
    assert "removed" not in call("uninstall", "--prefix", str(tmp_path)).out


def test_the_command_is_linked_onto_the_path_over_links_of_ours_alone(call: Call, tmp_path: Path) -> None:
    command = tmp_path / COMMAND
    command.parent.mkdir(parents=True)
    command.symlink_to("/opt/older/bin/modelward")
    said = call("install", "--prefix", str(tmp_path)).out
    assert f"linked: {command} to " in said and os.readlink(command) != "/opt/older/bin/modelward"
    assert f"removed: {command}" in call("uninstall", "--prefix", str(tmp_path)).out
    for other in ("a file", "a link"):
        if other == "a file":
            command.write_text("mine")
        else:
            command.unlink()
            command.symlink_to("/usr/bin/env")
        assert f"kept: {command} is no link of ours; the command is " in call("install", "--prefix", str(tmp_path)).out
        assert f"removed: {command}" not in call("uninstall", "--prefix", str(tmp_path)).out
        assert os.path.lexists(command)


def test_now_and_a_prefix_contradict_each_other(call: Call, tmp_path: Path) -> None:
    done = call("install", "--prefix", str(tmp_path), "--now")
    assert done.status == 1
    assert "--now" in done.err
    assert not any(tmp_path.iterdir())


def test_a_place_that_cannot_be_written_is_named(call: Call, tmp_path: Path) -> None:
    (tmp_path / "etc").write_text("a file")
    done = call("install", "--prefix", str(tmp_path))
    assert done.status == 1
    assert f"cannot write {tmp_path}/etc/systemd/system/modelward.service" in done.err


@pytest.mark.skipif(os.geteuid() == 0, reason="root may")
def test_without_root_it_says_what_to_do(call: Call) -> None:
    for verb in ("install", "uninstall"):
        done = call(verb)
        assert done.status == 1
        assert "--prefix" in done.err


def test_the_configuration_that_the_manual_shows_for_a_second_model_can_be_used() -> None:
    manual = (PACKAGE / "docs/operating.md").read_text(encoding="utf-8")
    config = parse(manual.partition("```toml\n")[2].partition("```")[0], "the manual")
    assert config.control.runtime_dir == Path("/run/modelward-7861")
