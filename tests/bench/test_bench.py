"""The bench itself runs: the small model, a few requests, nothing installed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.bench import page, render
from tests.bench.precision import FILE, SECTION
from tests.support import PATIENCE_SECONDS, ended_after

pytestmark = [pytest.mark.system, pytest.mark.bench]
ROOT = Path(__file__).resolve().parents[2]


def measured(tmp_path: Path, *sections: str) -> dict[str, Any]:
    """The figures of a quick run, which are of one kind; the page is made of them."""
    command = [sys.executable, "-m", "tests.bench", "--quick", "--only", ",".join(sections)]
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
            _, errors = bench.communicate(timeout=2 * PATIENCE_SECONDS)  # servers start in it, one after the other
        except subprocess.TimeoutExpired:
            bench.terminate()  # it ends the daemon and the servers that it started
            _, errors = bench.communicate(timeout=PATIENCE_SECONDS)
    assert bench.returncode == 0, errors
    results = page.load(tmp_path / "docs")
    assert (tmp_path / "docs" / page.PAGE).read_text(encoding="utf-8") == render.page(results)
    (found,) = results.values()
    assert set(found) == set(sections)
    return found


def test_a_quick_run_measures_everybody_who_is_there_and_writes_the_page(tmp_path: Path) -> None:
    results = measured(tmp_path, "serving-fp32", "sharing", "silence", "rotation")
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


def test_a_quick_run_follows_a_version_from_its_rename_to_the_form_of_the_next(tmp_path: Path) -> None:
    results = measured(tmp_path, "compiling", "forms", "sweep")
    arrived = results["compiling"]["arrivals"]
    assert results["compiling"]["bad"] == []
    assert results["compiling"]["compiled"]["form"] != "plain"
    assert arrived["next"]["form"] != "plain"
    assert all(found["bare_seconds"] > 0 and found["seconds"] > 0 for found in arrived.values())
    assert all(results["compiling"][phase]["requests"] > 0 for phase in ("before", "during"))
    made = results["forms"]["compile"]
    assert set(made) == {"mapped", "exact", "known", "fast"}
    kept = {stage for stage, found in made.items() if found["form"] != "plain"}
    assert "mapped" in kept
    assert set(results["forms"]["cpu"]) == {"original", *kept} - {"known"}
    (swept,) = results["sweep"]["rounds"]
    assert swept["ours"]["left"] == swept["find"]["left"] == results["sweep"]["files"] / 2


def test_a_quick_run_sends_every_format_and_the_same_recordings_as_jobs(tmp_path: Path) -> None:
    results = measured(tmp_path, "formats", "jobs", "attacks")
    systems = results["formats"]["systems"]
    assert set(systems) == {"wav", "flac", "opus", "mp3", "m4a"}
    for name, system in systems.items():
        (turn,) = system["rounds"]
        assert (turn["failed"], system.get("missing")) == (0, None), name
        assert turn["error_rate"] < 0.05, name
    (jobs,) = results["jobs"]["rounds"]
    assert all(jobs[way]["error_rate"] < 0.1 for way in ("jobs", "direct"))
    (attack,) = results["attacks"]["attacks"].values()
    assert set(attack["good"]) == {"WAV", "Opus"}
    assert all(set(good["statuses"]) == {"200"} for good in attack["good"].values())


def test_a_quick_run_says_what_it_cannot_measure_and_measures_the_rest(tmp_path: Path) -> None:
    results = measured(tmp_path, "front-ends", "image", "small-machine", "fleet")
    assert "missing" in results["front-ends"]
    assert "missing" in results["image"]
    small, fleet = results["small-machine"], results["fleet"]
    assert "missing" in small or (small["live"] and not small["failures"] and not small["oom_kills"])
    assert "missing" in fleet or all(r["ours_seconds"] > 0 for r in fleet["rounds"])
