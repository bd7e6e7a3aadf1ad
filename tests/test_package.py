"""What a release holds: every module, everything that `modelward install` puts in place, and the manual pages."""

from __future__ import annotations

import tomllib
import zipfile
from pathlib import Path

import pytest
from tests.system.systemd_box import REPOSITORY, wheel

from modelward.daemon.cli.places import CONFIG, FILES


@pytest.mark.system
def test_the_wheel_holds_every_module_and_every_file_that_is_installed(tmp_path: Path) -> None:
    names = set(zipfile.ZipFile(wheel(tmp_path)).namelist())
    for top in ("daemon", "worker"):
        for path in (REPOSITORY / top).rglob("*.py"):
            assert f"modelward/{path.relative_to(REPOSITORY)}" in names
    for source in (*FILES, CONFIG[0]):
        assert f"modelward/{source}" in names
    for page in ("man1/modelward.1", "man5/modelward.toml.5"):
        assert any(name.endswith(f".data/data/share/man/{page}") for name in names)


def test_every_package_is_listed() -> None:
    listed = set(tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    for top in ("daemon", "worker"):
        for path in (REPOSITORY / top).rglob("__init__.py"):
            assert "modelward." + ".".join(path.parent.relative_to(REPOSITORY).parts) in listed
