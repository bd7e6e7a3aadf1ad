"""Where `serve` keeps its files follows from the environment, and its configuration is one that the daemon takes."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelward.daemon.cli.serve_home import ServeHome, config_text, home_of
from modelward.daemon.config.load import parse

LONG = "/run/" + "x" * 80
SHARE = "/u/.local/share/modelward"


@pytest.mark.parametrize(
    ("environ", "given", "home", "runtime_dir"),
    [
        ({}, None, SHARE, f"{SHARE}/run"),
        ({"XDG_RUNTIME_DIR": "/run/user/7"}, None, SHARE, "/run/user/7/modelward"),
        ({"XDG_DATA_HOME": "/data", "XDG_RUNTIME_DIR": "/run/7"}, None, "/data/modelward", "/run/7/modelward"),
        ({"XDG_DATA_HOME": "data", "XDG_RUNTIME_DIR": "run"}, None, SHARE, f"{SHARE}/run"),
        ({"XDG_RUNTIME_DIR": LONG}, None, SHARE, f"{SHARE}/run"),
        ({"XDG_RUNTIME_DIR": "/run/user/7"}, "/h", "/h", "/h/run"),
    ],
)  # fmt: skip
def test_the_places(environ: dict[str, str], given: str | None, home: str, runtime_dir: str) -> None:
    found = home_of(environ, "/u", Path(given) if given else None)
    assert found == ServeHome(Path(home), Path(runtime_dir))


def test_the_configuration_is_taken_and_names_nothing_outside(tmp_path: Path) -> None:
    home = ServeHome(Path('/h/of "me" 模型'), Path("/r"))
    config = parse(config_text(home, home.models, 7860, 5000), "here")
    assert config.models.root == home.models and config.models.keep == 3
    assert {config.control.state_dir.parent, config.control.cache_dir.parent} == {home.home}
    assert config.control.runtime_dir == Path("/r") and config.logs.dir == home.home / "logs"
    assert [entry.path.parent for entry in config.disk.class_] == [home.home]


def test_a_root_of_the_users_own_loses_no_version() -> None:
    home = ServeHome(Path("/h"), Path("/r"))
    assert parse(config_text(home, Path("/models"), 1, 2), "here").models.keep == 10_000
