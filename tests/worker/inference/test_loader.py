"""Which form of an artifact a worker loads: one that was made for another machine is served as it came."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from tests.worker.compile.making import masked_forms

from modelward.worker.inference.loader import loader
from modelward.worker.protocol import WorkerSettings


@pytest.fixture
def form() -> Path:
    return Path(masked_forms()[1].made["rewritten"].artifact)


def _loaded(artifact: Path) -> tuple[bool, list[str]]:
    """Whether the compiled form was mapped, and what was reported."""
    said: list[str] = []
    settings = WorkerSettings(name="w1", worker_socket="", api_socket="", listen_fd=-1)
    loaded = loader(settings, said.append)("dtmf-v1.0", str(artifact))
    loaded.model.warm()
    with open(f"/proc/{os.getpid()}/maps") as maps:
        return f"{artifact}/compiled/" in maps.read(), said


def test_a_form_made_for_this_machine_is_mapped(form: Path) -> None:
    assert _loaded(form) == (True, [])


@pytest.mark.parametrize("fault", ["another key", "no model"])
def test_a_form_that_is_not_good_here_is_served_as_it_came_and_reported(form: Path, tmp_path: Path, fault: str) -> None:
    copy = tmp_path / form.name
    shutil.copytree(form, copy)
    description = json.loads((copy / "artifact.json").read_text())
    (copy / "artifact.json").unlink()
    if fault == "another key":
        description["key"] = "0123456789abcdef"
    else:
        model = copy / description["compiled_model"]
        size = model.stat().st_size
        model.unlink()
        model.write_bytes(b"\0" * size)
        model.chmod(0o440)
    (copy / "artifact.json").write_text(json.dumps(description))
    (copy / "artifact.json").chmod(0o440)
    used, said = _loaded(copy)
    assert not used
    assert len(said) == 1 and "served as it came" in said[0]
