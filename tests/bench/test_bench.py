"""The bench itself runs: the small model, a few requests, nothing installed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.bench import page, render
from tests.bench.precision import FILE, SECTION
from tests.support import PATIENCE_SECONDS, ended_after

pytestmark = [pytest.mark.system, pytest.mark.bench]
ROOT = Path(__file__).resolve().parents[2]


def test_a_quick_run_measures_everybody_who_is_there_and_writes_the_page(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.bench", "--quick", "--only", "serving-fp32,sharing,silence,rotation"]
    bench = subprocess.Popen(
        [*command, "--dir", str(tmp_path / "kept"), "--docs", str(tmp_path / "docs")],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / ".imports")))},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    with ended_after(bench):
        try:
            _, errors = bench.communicate(timeout=2 * PATIENCE_SECONDS)  # four servers start in it, one after the other
        except subprocess.TimeoutExpired:
            bench.terminate()  # it ends the daemon and the servers that it started
            _, errors = bench.communicate(timeout=PATIENCE_SECONDS)
    assert bench.returncode == 0, errors
    results = page.load(tmp_path / "docs")
    assert (tmp_path / "docs" / page.PAGE).read_text(encoding="utf-8") == render.page(results)
    served = results[SECTION["fp32"]]
    for one in served["cells"]:
        for name in ("modelward", "flask", "bare"):
            (turn,) = one["systems"][name]
            assert turn["failed"] == 0, name
            assert turn["error_rate"] < 0.05, name
    assert "missing" in served["systems"]["sherpa"]
    for precision, house in (("int8", "small-house"), ("fp32", "small-house-fp32")):
        graphs = {path.name for path in (tmp_path / "kept" / house / "models").rglob("*.onnx")}
        assert graphs == {FILE[precision]}, "there is one file to serve"
    (shared,) = results["sharing"]["loads"].values()
    assert sum(shared["runs"].values()) == len(shared["trace"]) == 8
    assert 0 < shared["work_seconds"] <= 2 * max(ended for *_, ended in shared["trace"])
    for share in results["silence"]["shares"]:
        (turn,) = share["rounds"]
        assert set(turn) == {"off", "silence"}
    rotated = results["rotation"]["systems"]
    for name in ("modelward-reopen", "modelward-collapse"):
        assert sum(r["lost"] + r["doubled_or_torn"] for r in rotated[name]["rounds"]) == 0, name
