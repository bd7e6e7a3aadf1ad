"""What compiling a version costs and gains: time to make each form, CPU time, loading, memory after many swaps.

Compiles as the daemon's child does: mapped, then rewritten, then once more with what was learned. Each form is measured
in fresh processes with a worker's environment. CPU time is taken turn by turn in one process on one thread.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.bench.bare import ENVIRONMENT, ROOT
from tests.bench.clips import pool
from tests.bench.precision import FILE

if TYPE_CHECKING:
    from tests.bench.plan import Plan

STAGES = {
    "mapped": "mapped",
    "exact": "rewritten",
    "known": "rewritten, graph known",
    "fast": "rewritten, level `fast`",
}
ORIGINAL = "original"
SECONDS, QUICK_SECONDS = (5.0, 10.0, 30.0), (1.0,)
ROUNDS, QUICK_ROUNDS = 9, 1
SWAPS = (2, 20)
LEARNED = "learned.json"
CHILD_SECONDS = 1800


def measure(plan: Plan) -> dict[str, Any]:
    """{"compile": {stage: cost, gain, steps}, "cpu": {form: {length: [s]}}, "load": {form}, "swaps": {form: {n}}}."""
    from tests.bench.ours import one_file

    directory = one_file(plan.scratch / "version", plan.model)
    made = {stage: _child(directory, "compile", stage) for stage in STAGES}
    forms = [ORIGINAL, *(stage for stage, of in made.items() if of["form"] != "plain" and stage != "known")]
    os.sync()  # what is not written back yet counts as private
    lengths = QUICK_SECONDS if plan.quick else SECONDS
    rounds = QUICK_ROUNDS if plan.quick else ROUNDS
    return {
        "compile": made,
        "cpu": _child(directory, "cpu", json.dumps({"forms": forms, "lengths": lengths, "rounds": rounds})),
        "load": {form: [_child(directory, "load", form) for _ in range(1 if plan.quick else 3)] for form in forms},
        "swaps": {form: _child(directory, "swaps", form) for form in forms},
    }


def _child(directory: Path, verb: str, told: str) -> dict[str, Any]:
    path = os.pathsep.join((str(ROOT), str(ROOT / ".imports")))
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.sections.forms", verb, str(directory), told],
        env={**os.environ, **ENVIRONMENT, "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        timeout=CHILD_SECONDS,
        check=True,
        text=True,
    )
    found = dict(json.loads(done.stdout.splitlines()[-1]))
    print(f"forms {verb} {told}: {done.stdout.strip()[-200:]}", file=sys.stderr, flush=True)
    return found


# the children: each prints one JSON object


def _feeds(seconds: float, seed: int = 0) -> dict[str, Any]:
    from tests.bench import tones

    return tones.feeds(tones.features(pool(seconds)[seed].samples))


def _opened(directory: Path, form: str) -> Any:
    """The form as a worker opens it."""
    from modelward.worker.compile import optimise

    if form == ORIGINAL:
        return optimise.open_model(directory / FILE["int8"], 1)
    return optimise.open_mapped(directory / form / optimise.MODEL, 1)


def _answer(session: Any, feeds: dict[str, Any]) -> None:
    first = session.run(None, feeds)[0]
    if first.ndim == 3:
        first.argmax(-1)


def _resident_mb() -> dict[str, float]:
    """Of this process; private without the clean pages of a mapped file, which belong to whoever maps it."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()[1:]
    fields = {line.split()[0].rstrip(":"): int(line.split()[1]) / 1024 for line in lines}
    return {"rss": fields["Rss"], "private": fields["Private_Dirty"]}


def _compile(directory: Path, stage: str) -> dict[str, Any]:
    """Makes one form; its gains, what it cost, and what was learned."""
    from modelward.worker.compile import compiler, recipe
    from modelward.worker.shared.machine_features import cpu_flags

    source, out = directory / FILE["int8"], directory / stage
    out.mkdir()
    probes = [_feeds(seconds, seed) for seed, seconds in enumerate((3.0, 5.0, 10.0, 30.0))]
    learned_file = directory / LEARNED
    known = None
    if stage == "known":
        if not learned_file.exists():
            return {"form": "plain", "because": "nothing was learned"}
        known = recipe.recipe_of(json.loads(learned_file.read_text()))
    peak, learned = Peak(), None
    began, cpu = time.perf_counter(), time.process_time()
    if stage == "mapped":
        made = compiler.compile_mapped(source, out, probe_inputs=probes)
    else:
        level: Any = "fast" if stage == "fast" else "exact"
        made, learned = compiler.compile_rewritten(
            source, out, level=level, probe_inputs=probes, flags=cpu_flags(), recipe=known
        )
    took = {"seconds": time.perf_counter() - began, "cpu_seconds": time.process_time() - cpu, "peak_mb": peak.end()}
    if learned is not None and stage == "exact":
        learned_file.write_text(json.dumps(learned.to_json()))
    steps = [{"name": step.name, "kept": step.kept, "because": step.because} for step in made.steps]
    gain = {f"{seconds:g}": value for seconds, value in made.gain.items()}
    return {"form": made.form, "because": made.because, "gain": gain, "steps": steps, **took}


class Peak:
    """The most memory that this process has for itself while it works, MB."""

    def __init__(self) -> None:
        self.most, self._ended = 0.0, threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def _look(self) -> None:
        while not self._ended.wait(0.02):
            status = Path("/proc/self/status").read_text()
            self.most = max(self.most, int(status.partition("RssAnon:")[2].split()[0]) / 1024)

    def end(self) -> float:
        self._ended.set()
        self._thread.join()
        return self.most


def _cpu(directory: Path, told: str) -> dict[str, Any]:
    """Form → clip length → CPU seconds of each round."""
    wanted = json.loads(told)
    sessions = {form: _opened(directory, form) for form in wanted["forms"]}
    table: dict[str, dict[str, list[float]]] = {form: {} for form in sessions}
    for seconds in wanted["lengths"]:
        feeds = _feeds(seconds)
        for form in sessions:
            table[form][f"{seconds:g}"] = []
        for turn in range(wanted["rounds"] + 1):
            for form, session in sessions.items():
                before = time.process_time()
                _answer(session, feeds)
                if turn:
                    table[form][f"{seconds:g}"].append(round(time.process_time() - before, 5))
    return table


def _load(directory: Path, form: str) -> dict[str, Any]:
    feeds = _feeds(1.0)
    before, cpu_before = time.perf_counter(), time.process_time()
    session = _opened(directory, form)
    wall, used = time.perf_counter() - before, time.process_time() - cpu_before
    _answer(session, feeds)
    return {"seconds": wall, "cpu_seconds": used, **_resident_mb()}


def _swaps(directory: Path, form: str) -> dict[str, Any]:
    """Memory after so many swaps, each loading beside the one that serves."""
    feeds = _feeds(SECONDS[0])
    session, after = _opened(directory, form), {}
    _answer(session, feeds)
    for number in range(1, max(SWAPS) + 1):
        beside = _opened(directory, form)
        _answer(beside, feeds)
        session = beside
        del beside
        if number in SWAPS:
            after[str(number)] = _resident_mb()
    _answer(session, feeds)
    return after


if __name__ == "__main__":
    done = {"compile": _compile, "cpu": _cpu, "load": _load, "swaps": _swaps}[sys.argv[1]](
        Path(sys.argv[2]), sys.argv[3]
    )
    print(json.dumps(done), flush=True)
