"""What a release holds. The wheel: every module, what `modelward install` puts in place, what the pages send people to,
and the manual pages. The source distribution: all of the repository that its tests need.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import zipfile
from collections.abc import Iterator
from email import message_from_bytes
from itertools import chain
from pathlib import Path

import pytest
from tests.support import PATIENCE_SECONDS
from tests.system.systemd_box import REPOSITORY, wheel

from modelward.daemon.cli.install_files import CONFIG, FILES

PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
VERSION = PROJECT["version"]
MAX_WHEEL_BYTES = 2 << 20
RECIPES = (
    "examples/supervisord.conf",
    "examples/openrc/modelward",
    "examples/cron/modelward",
    "kubernetes/base/kustomization.yaml",
    "kubernetes/overlays/daemonset/modelward.toml",
)
"""What docs/without-systemd.md and docs/kubernetes.md send people to."""


PAGES = ("share/man/man1/modelward.1", "share/man/man5/modelward.toml.5")
READ_BY_OTHERS = (
    "daemon/panel/static/index.html",
    "daemon/panel/static/i18n/zh.json",
    "worker/http/static/index.html",
    "worker/shared/catalogue/zh.json",
    "daemon/py.typed",
    "worker/py.typed",
)
"""What pages and commands read from the package, and the marks for type checkers."""


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[zipfile.ZipFile]:
    with zipfile.ZipFile(wheel(tmp_path_factory.mktemp("wheel"))) as file:
        yield file


@pytest.mark.system
def test_the_wheel_holds_every_module_and_every_file_that_is_installed(packed: zipfile.ZipFile) -> None:
    names = set(packed.namelist())
    for top in ("daemon", "worker"):
        for path in (REPOSITORY / top).rglob("*.py"):
            assert f"modelward/{path.relative_to(REPOSITORY)}" in names
    for source in (*FILES, CONFIG[0], *READ_BY_OTHERS):
        assert f"modelward/{source}" in names
    for named in ("prometheus-rules.yml", "grafana-dashboard.json", "examples/flask_attach.py", *RECIPES):
        assert f"modelward/etc/{named}" in names


@pytest.mark.system
def test_the_wheel_holds_nothing_else(packed: zipfile.ZipFile) -> None:
    release = f"modelward-{VERSION}"
    outside = {name for name in packed.namelist() if not name.startswith("modelward/")}
    assert {name for name in outside if not name.startswith(f"{release}.dist-info/")} == {
        f"{release}.data/data/{page}" for page in PAGES
    }
    kept = {path.split("/", 2)[1] for path in packed.namelist() if path.startswith("modelward/")}
    assert kept == {"daemon", "worker", "systemd", "etc"}
    assert not [name for name in packed.namelist() if name.endswith((".pyc", ".onnx", ".wav", ".npz"))]
    assert sum(file.compress_size for file in packed.infolist()) < MAX_WHEEL_BYTES


@pytest.mark.system
def test_the_record_of_the_package_has_all_that_an_index_shows(packed: zipfile.ZipFile) -> None:
    record = message_from_bytes(packed.read(f"modelward-{VERSION}.dist-info/METADATA"))
    assert record["Version"] == VERSION
    assert (record["License-Expression"], record["License-File"]) == ("MIT", "LICENSE")
    assert record["Description-Content-Type"] == "text/markdown"
    assert str(record.get_payload()).startswith("# modelward\n")
    wanted = {line.split(";")[0].split("#")[0].strip() for line in record.get_all("Requires-Dist", [])}
    assert wanted == {*PROJECT["dependencies"], *chain(*PROJECT["optional-dependencies"].values())}
    assert set(record.get_all("Provides-Extra", [])) == set(PROJECT["optional-dependencies"])


@pytest.mark.system
def test_the_wheel_works_where_there_is_no_repository(packed: zipfile.ZipFile, tmp_path: Path) -> None:
    place = tmp_path / "venv"
    run([sys.executable, "-m", "venv", "--without-pip", str(place)], tmp_path)
    python, command = str(place / "bin" / "python"), str(place / "bin" / "modelward")
    site = next((place / "lib").glob("python*/site-packages"))
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")  # no index is read
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "-q", "--no-deps", "--no-index"]
    run([*pip, str(packed.filename)], tmp_path)
    assert run([command, "--version"], tmp_path) == f"modelward {VERSION}\n"
    assert "--home" in run([command, "serve", "--help"], tmp_path)
    assert run([command, "--language=zh", "--help"], tmp_path).startswith("用法")
    assert all((place / page).is_file() for page in PAGES)
    where = run(
        [python, "-c", "import modelward.daemon as d, modelward.worker as w; print(d.__file__, w.__file__)"], tmp_path
    )
    assert where.count(str(site)) == 2


def test_one_number_stands_wherever_the_release_is_named() -> None:
    named = {}
    for path in ("docs/man/modelward.1", "docs/man/modelward.toml.5"):
        named[path] = re.findall(r'"modelward ([\d.]+)"', (REPOSITORY / path).read_text())
    for path in sorted((REPOSITORY / "etc" / "kubernetes").rglob("kustomization.yaml")):
        named[str(path)] = re.findall(r'newTag: "([\d.]+)"', path.read_text()) or [VERSION]
    named["CHANGELOG.md"] = re.findall(r"^## ([\d.]+) ", (REPOSITORY / "CHANGELOG.md").read_text(), re.M)[:1]
    assert {path: found for path, found in named.items() if found != [VERSION]} == {}


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


def run(command: list[str], directory: Path) -> str:
    """What it prints; it must succeed."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "PYTHONPATH"))}
    done = subprocess.run(command, cwd=directory, env=environ, capture_output=True, text=True, timeout=PATIENCE_SECONDS)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


def test_every_package_is_listed() -> None:
    listed = set(tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    for top in ("daemon", "worker"):
        for path in (REPOSITORY / top).rglob("__init__.py"):
            assert "modelward." + ".".join(path.parent.relative_to(REPOSITORY).parts) in listed
