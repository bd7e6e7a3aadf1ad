"""A validator or compiler that a model took over changes nothing in the cache but the directory that it was given."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support import PATIENCE_SECONDS
from tests.worker.sandbox.test_landlock import landlock_abi
from tests.worker.validate.judging import ROOT

VALIDATOR = """
from modelward.worker.shared.progress import Allowance
from modelward.worker.child_protocol import Candidate
from modelward.worker.validate import __main__ as child
candidate = Candidate("/nonexistent", "v1", kind="tensor", directory=str(given), live_artifact=str(other))
child._sandboxed(candidate, Allowance(60.0, 60.0))
own = given
"""
COMPILER = """
from modelward.worker.shared.artifact import read_artifact
from modelward.worker.compile import __main__ as child
from modelward.worker.child_protocol import FormRequest
request = FormRequest(str(other), str(root), str(given), stages=("mapped",))
directories = child._directories(request, read_artifact(other), lambda message: None)
child._confined(request, directories)
own = directories["mapped"].compiled
"""
ATTEMPTS = """
attempts = {
    "rename another's": lambda: other.rename(root / ".tmp-gone"),
    "rename another's over the own": lambda: other.rename(given),
    "remove another's": lambda: (root / "empty").rmdir(),
    "put the own in another's place": lambda: given.rename(root / "empty"),
    "give the own a name": lambda: given.rename(root / "v9-0123456789abcdef"),
    "give a part of the own a name": lambda: (own / "part").rename(root / "v9-0123456789abcdef"),
    "make a directory": lambda: (root / "made").mkdir(),
    "make a file": lambda: (root / "made").write_text("x"),
    "write into another's": lambda: (other / "model.onnx").write_text("bad"),
    "add to another's": lambda: (other / "added").write_text("bad"),
    "remove another's file": lambda: (other / "model.onnx").unlink(),
    "replace another's file": lambda: os.replace(own / "file", other / "model.onnx"),
    "link another's file": lambda: os.link(other / "model.onnx", own / "linked"),
    "see what there is": lambda: os.listdir(root),
}
(own / "part").mkdir()
(own / "file").write_text("mine")
for what, attempt in attempts.items():
    try:
        attempt()
        print(what)
    except OSError:
        pass
"""
PRELUDE = "import os, sys\nfrom pathlib import Path\nroot, other, given = map(Path, sys.argv[1:])\n"


@pytest.mark.parametrize("child", [VALIDATOR, COMPILER], ids=["validator", "compiler"])
def test_a_child_that_was_taken_over_renames_removes_and_replaces_nothing_else(child: str, tmp_path: Path) -> None:
    if landlock_abi() < 2:
        pytest.skip("this kernel's Landlock does not bound what is renamed where")
    root = tmp_path / "compiled"
    other, given = root / "v1-abababababababab", root / ".tmp-given"
    for directory in (other, given, root / "empty"):
        directory.mkdir(parents=True, mode=0o750)
    (other / "model.onnx").write_text("good")
    files = {"model.onnx": {"bytes": 4, "sha256": "ab" * 32}}
    described = {"version": "v1", "digest": "ab" * 32, "kind": "tensor", "model": "model.onnx", "files": files}
    (other / "artifact.json").write_text(json.dumps({**described, "onnxruntime": "1"}))
    os.chmod(other / "model.onnx", 0o440)
    done = subprocess.run(
        [sys.executable, "-c", PRELUDE + child + ATTEMPTS, str(root), str(other), str(given)],
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / ".imports"), "OPENBLAS_NUM_THREADS": "1"},
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert sorted(os.listdir(root)) == [".tmp-given", "empty", "v1-abababababababab"]
    assert (other / "model.onnx").read_text() == "good"
    assert sorted(os.listdir(other)) == ["artifact.json", "model.onnx"]
