"""The compiler as a process: what it leaves of a version, what it takes over, and what it may not touch."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path

import pytest
from tests.worker.compile.making import compiled, masked_artifact, masked_forms, run_compiler

from modelward.daemon.models import form_files
from modelward.daemon.models.artifacts import is_whole
from modelward.worker.shared.artifact import read_artifact


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    """An artifact that gains from compiling, in a root of its own."""
    shutil.copytree(masked_artifact(), copy := tmp_path / "root" / masked_artifact().name)
    return copy


def test_leaves_whole_forms_beside_the_artifact_that_hold_its_files_as_links() -> None:
    artifact, outcome = masked_forms()
    assert (outcome.status, outcome.done) == (0, True), outcome.errors
    assert {*outcome.made, *outcome.refused} == {"mapped", "rewritten"}
    assert "rewritten" in outcome.made, outcome.refused
    assert sorted(p.name[:5] for p in artifact.parent.iterdir() if not p.name.startswith(".")).count(
        "dtmf-"
    ) == 1 + len(outcome.made)
    before = read_artifact(artifact)
    for message in outcome.made.values():
        form = read_artifact(Path(message.artifact))
        assert (form.version, form.digest, form.model) == (before.version, before.digest, before.model)
        assert form.form == message.form and form.compiled_model.startswith("compiled/")
        assert form.compiled["load_bytes_original"] == before.load_bytes
        for name, file in before.files.items():
            assert form.files[name] == file
            assert os.path.samefile(artifact / name, Path(message.artifact) / name)
        assert is_whole(message.artifact)
    found = form_files.read_forms(artifact.parent, "exact", [before.digest])
    assert {f.form for f in found.forms if f.usable} == {"plain", *(m.form for m in outcome.made.values())}
    assert {f.key for f in found.forms if f.key} <= set(found.keys[before.digest].values())


def test_what_was_made_under_another_name_of_the_same_bytes_is_taken_over(tmp_path: Path) -> None:
    compiled_before, first = masked_forms()
    assert "rewritten" in first.made, first
    shutil.copytree(compiled_before.parent, tmp_path / "root")
    artifact = tmp_path / "root" / compiled_before.name
    other = artifact.with_name(artifact.name.replace("v1.0", "v2.0"))
    shutil.copytree(artifact, other)
    described = json.loads((other / "artifact.json").read_text())
    (other / "artifact.json").chmod(0o600)
    (other / "artifact.json").write_text(json.dumps({**described, "version": "dtmf-v2.0"}))
    (other / "artifact.json").chmod(0o440)
    second = compiled(other, stages=("rewritten",), lone_threads=2).made["rewritten"]
    assert "reused from dtmf-v1.0" in second.because
    one, two = artifact.with_name(Path(first.made["rewritten"].artifact).name), Path(second.artifact)
    assert read_artifact(two).version == "dtmf-v2.0"
    assert os.path.samefile(one / "compiled" / "model.onnx", two / "compiled" / "model.onnx")


def test_of_a_known_graph_the_better_form_is_made_at_once_and_the_other_not_at_all(artifact: Path) -> None:
    learned = masked_forms()[1].learned
    assert learned
    outcome = compiled(artifact, learned=learned)
    assert outcome.done and list(outcome.made) == ["rewritten"], outcome


def test_an_artifact_of_an_earlier_release_with_a_directory_of_that_name_has_no_form(artifact: Path) -> None:
    (artifact / "compiled").mkdir(mode=0o750)
    (artifact / "compiled" / "notes.txt").write_text("mine")
    (artifact / "compiled" / "notes.txt").chmod(0o440)
    described = json.loads((artifact / "artifact.json").read_text())
    described["files"]["compiled/notes.txt"] = {"bytes": 4, "sha256": hashlib.sha256(b"mine").hexdigest()}
    (artifact / "artifact.json").chmod(0o600)
    (artifact / "artifact.json").write_text(json.dumps(described))
    (artifact / "artifact.json").chmod(0o440)
    outcome = compiled(artifact)
    assert outcome.done and not outcome.made, outcome.errors
    assert "it has its own directory 'compiled'" in outcome.refused["mapped"].because


def test_too_little_memory_or_processor_time_leaves_no_form_and_no_harm(artifact: Path) -> None:
    before = {p.relative_to(artifact): p.stat().st_mtime_ns for p in artifact.rglob("*") if p.is_file()}
    for more in ({"memory_bytes": 24 << 20}, {"cpu_seconds": 1}):
        outcome = compiled(artifact, **more)
        assert "rewritten" not in outcome.made
        left = [p.name for p in artifact.parent.iterdir() if not p.name.startswith(".tmp-form-")]
        assert all(is_whole(str(artifact.parent / name)) for name in left)
    assert {p.relative_to(artifact): p.stat().st_mtime_ns for p in artifact.rglob("*") if p.is_file()} == before


@pytest.mark.parametrize("stdin", [b"", b"{}", b"[]", b'{"artifact": "/nonexistent", "root": "/nonexistent"}'])
def test_a_request_that_cannot_be_used_is_refused_with_the_reason(stdin: bytes) -> None:
    done = run_compiler(stdin)
    assert done.returncode == 1 and done.stdout == b""
    assert done.stderr.startswith(b"cannot compile: ")
