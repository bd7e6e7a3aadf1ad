"""The demo's configuration is valid and stays in its directory; what it says to paste is safe to paste."""

from __future__ import annotations

import shlex
import socket
from pathlib import Path

import pytest
from tests.daemon.cli.conftest import Call

from modelward.daemon.cli.demo_steps import (
    Scratch,
    config_text,
    directories,
    next_steps,
)
from modelward.daemon.config.load import parse


@pytest.mark.parametrize("root", ["/tmp/demo", '/tmp/it\'s "odd" 模型'])
def test_the_demo_touches_nothing_outside_its_directory(root: str) -> None:
    scratch = Scratch(Path(root), 7861, 5001)
    config = parse(config_text(scratch), "demo")
    places = [config.models.root, config.control.runtime_dir, config.control.state_dir, config.control.cache_dir]
    places += [config.logs.dir, *(entry.path for entry in config.disk.class_)]
    assert all(place.is_relative_to(root) for place in places)
    assert set(places) == set(directories(scratch))
    assert config.workers.listen == "127.0.0.1:7861"
    assert config.panel.listen == "127.0.0.1:5001"
    assert config.workers.count == 2
    assert config.control.runtime_dir / "api.sock" == scratch.socket


def test_the_lines_to_paste_survive_odd_paths() -> None:
    scratch = Scratch(Path("/tmp/it's odd"), 7861, 5001)
    text = next_steps(scratch, "modelward", "http://127.0.0.1:5001/#login=code")
    lines = [line.strip() for line in text.splitlines() if line.startswith("   ")]
    assert any(line.startswith("cp -r ") for line in lines)
    for line in lines:
        words = shlex.split(line)
        assert any("/tmp/it's odd/" in word for word in words)


def test_a_directory_that_is_not_empty_is_left_alone(call: Call, tmp_path: Path) -> None:
    (tmp_path / "mine").touch()
    outcome = call("demo", "--dir", str(tmp_path))
    assert (outcome.status, outcome.err) == (1, f"cannot use {tmp_path}: it is not empty; name a new directory\n")
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_a_port_that_was_asked_for_must_be_free(call: Call, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        outcome = call("demo", "--dir", str(tmp_path / "demo"), "--port", str(port))
    assert outcome.status == 1
    assert outcome.err.startswith(f"cannot listen on port {port}: it is taken")


def test_a_directory_too_deep_for_a_socket_is_refused_before_anything_is_built(call: Call, tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 100)
    outcome = call("demo", "--dir", str(deep))
    assert outcome.status == 2
    assert "control.runtime_dir: is too long for the sockets in it" in outcome.err
    assert list(deep.iterdir()) == []
