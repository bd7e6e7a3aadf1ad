"""What a release holds. The wheel: every module, what `modelward install` puts in place, what the pages send people to,
and the manual pages. The source distribution: all of the repository that its tests need.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
from tests.support import PATIENCE_SECONDS
from tests.system.systemd_box import REPOSITORY, wheel

from modelward.daemon.cli.install_files import CONFIG, FILES

RECIPES = (
    "examples/supervisord.conf",
    "examples/openrc/modelward",
    "examples/cron/modelward",
    "kubernetes/base/kustomization.yaml",
    "kubernetes/overlays/daemonset/modelward.toml",
)
"""What docs/without-systemd.md and docs/kubernetes.md send people to."""


@pytest.mark.system
def test_the_wheel_holds_every_module_and_every_file_that_is_installed(tmp_path: Path) -> None:
    names = set(zipfile.ZipFile(wheel(tmp_path)).namelist())
    for top in ("daemon", "worker"):
        for path in (REPOSITORY / top).rglob("*.py"):
            assert f"modelward/{path.relative_to(REPOSITORY)}" in names
    for source in (*FILES, CONFIG[0]):
        assert f"modelward/{source}" in names
    for named in ("prometheus-rules.yml", "grafana-dashboard.json", "examples/flask_attach.py", *RECIPES):
        assert f"modelward/etc/{named}" in names
    for page in ("man1/modelward.1", "man5/modelward.toml.5"):
        assert any(name.endswith(f".data/data/share/man/{page}") for name in names)


@pytest.mark.system
def test_the_source_distribution_holds_the_repository_and_its_tests_run(tmp_path: Path) -> None:
    if not (REPOSITORY / ".git").exists():
        pytest.skip("needs the repository, to know what belongs to it")
    source, out = tmp_path / "source", tmp_path / "out"
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    files = {name for name in listed.stdout.split("\0") if name and not name.startswith(".imports/")}
    for name in files:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPOSITORY / name, source / name, follow_symlinks=False)
    build = f"import setuptools.build_meta as b; b.build_sdist({str(out)!r})"
    run([sys.executable, "-c", build], source)
    [archive] = out.glob("modelward-*.tar.gz")
    with tarfile.open(archive) as tar:
        tar.extractall(tmp_path, filter="data")
    unpacked = tmp_path / archive.name.removesuffix(".tar.gz")
    made = {"PKG-INFO", "setup.cfg"}
    names = {str(path.relative_to(unpacked)) for path in unpacked.rglob("*") if not path.is_dir()}
    assert {name for name in names - made if "egg-info" not in name} == files
    run(["make", ".imports/modelward/daemon", ".imports/modelward/worker"], unpacked)
    tests = ["tests/daemon/test_units.py", "tests/daemon/state/test_async_store.py", "tests/test_package.py"]
    run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not system", *tests], unpacked)


def run(command: list[str], directory: Path) -> None:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    done = subprocess.run(command, cwd=directory, env=environ, capture_output=True, text=True, timeout=PATIENCE_SECONDS)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"


def test_every_package_is_listed() -> None:
    listed = set(tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    for top in ("daemon", "worker"):
        for path in (REPOSITORY / top).rglob("__init__.py"):
            assert "modelward." + ".".join(path.parent.relative_to(REPOSITORY).parts) in listed
