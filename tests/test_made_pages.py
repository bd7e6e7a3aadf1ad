"""What documents say of states, keys, commands, messages and limits is what the code says."""

from __future__ import annotations

import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
from tests.pages import configuration, protocol
from tests.pages.all import ROOT, made
from tests.pages.marks import filled
from tests.support import PATIENCE_SECONDS

from modelward.daemon.cli import VERBS
from modelward.daemon.config.load import Config
from modelward.daemon.config.messages import keys_of
from modelward.daemon.workers.pool_planner import Phase
from modelward.daemon.workers.rollout_planner import Stage

MANUALS = ("docs/man/modelward.1", "docs/man/modelward.toml.5")


@pytest.mark.parametrize("path", made())
def test_a_made_page_is_what_the_code_says(path: str) -> None:
    written = (ROOT / path).read_text(encoding="utf-8")
    assert written == made()[path], "write it anew: python -m tests.pages"


def test_every_key_of_the_configuration_has_its_line() -> None:
    told = {(section.title.strip("[]"), key.name) for section in configuration.sections() for key in section.keys}
    for name in Config.model_fields:
        for key in keys_of(type(getattr(Config(), name))):
            assert (name, key) in told or any(title == f"{name}.{key}" for title, _ in told), (name, key)


def test_every_kind_of_message_is_in_the_protocol_page() -> None:
    page = (ROOT / "docs/worker-protocol.md").read_text(encoding="utf-8")
    assert len(protocol.kinds()) == 16
    assert all(f"| `{kind}` |" in page for kind in protocol.kinds())


def test_every_stage_and_phase_of_a_worker_is_told() -> None:
    page = (ROOT / "docs/how-it-works.md").read_text(encoding="utf-8")
    assert all(f"`{word.value}`" in page for word in (*Stage, *Phase))


def test_every_command_is_in_the_manual() -> None:
    manual = (ROOT / MANUALS[0]).read_text(encoding="utf-8").replace("\\-", "-")
    assert all(f".SS \\fBmodelward {verb}\\fR" in manual for verb in VERBS)


def test_the_manual_pages_are_in_the_release() -> None:
    data = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]["data-files"]
    assert {path for paths in data.values() for path in paths} == set(MANUALS)


@pytest.mark.parametrize("path", MANUALS)
def test_groff_has_no_word_to_say_about_a_manual_page(path: str) -> None:
    program = shutil.which("mandoc") or shutil.which("groff")
    if program is None:
        pytest.skip("neither mandoc nor groff is installed")
    how = ["-Tlint", "-Wwarning"] if Path(program).name == "mandoc" else ["-Tutf8", "-man", "-ww", "-z"]
    done = subprocess.run([program, *how, ROOT / path], capture_output=True, text=True, timeout=PATIENCE_SECONDS)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_man_shows_a_manual_page() -> None:
    if shutil.which("man") is None:
        pytest.skip("man is not installed")
    done = subprocess.run(
        ["man", "-l", str(ROOT / MANUALS[0])],
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        env={"MANWIDTH": "120"},
    )
    if "unminimize" in done.stdout + done.stderr:
        pytest.skip("man is there in name only: this system was made without manual pages")
    assert done.returncode == 0
    assert "modelward activate VERSION" in done.stdout


def test_a_page_without_its_marks_is_no_page() -> None:
    with pytest.raises(ValueError, match="places"):
        filled("nothing here", {"a": "x"})
    assert filled("<!-- made: a -->\nold\n<!-- end: a -->", {"a": "new\n"}) == "<!-- made: a -->\nnew\n<!-- end: a -->"
