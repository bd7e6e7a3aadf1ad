"""What compiling a version costs and gains: time to make each form, CPU time, loading, memory of one and three workers.

Makes a full-size SenseVoice-shaped int8 version (kept in DIR for the next run), compiles it as the daemon's child does
(mapped, then rewritten, then once more with what was learned), and measures each form in fresh processes with a
worker's environment. CPU time is taken turn by turn in one process on one thread; medians. Prints a table, and JSON to
`--json`. `--hide-cpu-flags` takes features from the compiler's steps; ONNX Runtime goes on using them.

    python tests/bench/compile_bench.py DIR [--small] [--json FILE] [--rounds N] [--hide-cpu-flags FLAG,FLAG]
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import msgspec

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / ".imports")]
STAGES = ("mapped", "exact", "known", "fast")  # known: exact, by what was learned
NO_VNNI = "avx512_vnni,avx_vnni,amx_int8"
SECONDS = (5.0, 10.0, 30.0)
SWAPS = (2, 20)
WORKERS = 3
LEARNED = "learned.json"
CHILD_SECONDS = 1800


def clip(seconds: float, seed: int = 7) -> dict[str, Any]:
    from tests.bench import tones

    return tones.feeds(tones.features(tones.clip(seconds, 10**6 + seed)[0]))


def opened(directory: Path, form: str) -> Any:
    """The form as a worker opens it."""
    from modelward.worker.compile import optimise

    if form == "original":
        return optimise.open_model(directory / "model_quant.onnx", 1)
    return optimise.open_mapped(directory / form / optimise.MODEL, 1)


def answer(session: Any, feeds: dict[str, Any]) -> None:
    first = session.run(None, feeds)[0]
    if first.ndim == 3:
        first.argmax(-1)


def rollup() -> dict[str, float]:
    """Resident, proportional and private memory of this process, MB."""
    fields = {}
    for line in Path("/proc/self/smaps_rollup").read_text().splitlines()[1:]:
        name, value, *_ = line.split()
        fields[name.rstrip(":")] = int(value) / 1024
    private = fields["Private_Dirty"]  # clean pages of a mapped file belong to the page cache, whoever maps it
    return {"rss": fields["Rss"], "pss": fields["Pss"], "private": private}


# children: each prints one JSON object


def compile_form(directory: Path, stage: str) -> dict[str, Any]:
    """Makes one form; its gains, what it cost, and what was learned."""
    from modelward.worker.compile import compiler, recipe
    from modelward.worker.shared.machine_features import cpu_flags

    source, out = directory / "model_quant.onnx", directory / stage
    out.mkdir()
    probes = [clip(seconds, seed) for seed, seconds in enumerate((3.0, 5.0, 10.0, 30.0))]
    known = recipe.recipe_of(json.loads((directory / LEARNED).read_text())) if stage == "known" else None
    peak = Peak()
    started, cpu = time.perf_counter(), time.process_time()
    if stage == "mapped":
        made, learned = compiler.compile_mapped(source, out, probe_inputs=probes), None
    else:
        level: Any = "fast" if stage == "fast" else "exact"
        made, learned = compiler.compile_rewritten(
            source, out, level=level, probe_inputs=probes, flags=cpu_flags(), recipe=known
        )
    took = {"seconds": time.perf_counter() - started, "cpu_seconds": time.process_time() - cpu, "peak_mb": peak.end()}
    if learned is not None and stage == "exact":
        (directory / LEARNED).write_text(json.dumps(learned.to_json()))
    return msgspec.to_builtins(made) | took


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


def cpu(directory: Path, rounds: int, forms: list[str]) -> dict[str, Any]:
    """Median CPU seconds: form → clip length → seconds."""
    sessions = {form: opened(directory, form) for form in forms}
    table: dict[str, dict[str, float]] = {form: {} for form in forms}
    for seconds in SECONDS:
        feeds = clip(seconds)
        taken: dict[str, list[float]] = {form: [] for form in forms}
        for turn in range(rounds + 1):
            for form, session in sessions.items():
                before = time.process_time()
                answer(session, feeds)
                if turn:
                    taken[form].append(time.process_time() - before)
        for form in forms:
            table[form][f"{seconds:.0f}"] = statistics.median(taken[form])
    return table


def load(directory: Path, form: str) -> dict[str, Any]:
    answer_feeds = clip(1.0)
    before, cpu_before = time.perf_counter(), time.process_time()
    session = opened(directory, form)
    wall, used = time.perf_counter() - before, time.process_time() - cpu_before
    answer(session, answer_feeds)
    return {"wall": wall, "cpu": used}


def hold(directory: Path, form: str) -> dict[str, Any]:
    """Load, answer a clip of 5 s and one of 30 s, report, wait for the others, report again."""
    short, long = clip(5.0), clip(30.0)
    empty = rollup()
    session = opened(directory, form)
    loaded = rollup()
    answer(session, short)
    answer(session, long)
    print(json.dumps({"ready": True}), flush=True)
    sys.stdin.readline()
    print(json.dumps({"empty": empty, "loaded": loaded, "serving": rollup()}), flush=True)
    sys.stdin.readline()  # a process that has gone shares no pages: none goes before all have reported
    return {}


def swaps(directory: Path, form: str) -> dict[str, Any]:
    """Resident MB after so many swaps, each loading beside the one that serves."""
    feeds = clip(5.0)
    session, after = opened(directory, form), {}
    answer(session, feeds)
    for number in range(1, max(SWAPS) + 1):
        beside = opened(directory, form)
        answer(beside, feeds)
        session = beside
        del beside
        if number in SWAPS:
            after[str(number)] = rollup()
    answer(session, feeds)
    return after


# the parent


def environment() -> dict[str, str]:
    """A worker's: without the threshold glibc keeps what a dropped session had."""
    return os.environ | {"MALLOC_MMAP_THRESHOLD_": "131072", "ORT_DISABLE_TELEMETRY": "1"}


def child(*arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, __file__, "--child", *arguments]
    return subprocess.Popen(command, env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def told(process: subprocess.Popen[str], line: str = "") -> dict[str, Any]:
    out, _ = process.communicate(line, timeout=CHILD_SECONDS)
    if process.returncode:
        raise SystemExit(f"cannot measure: {process.args!r} ended with {process.returncode}")
    return dict(json.loads(out.splitlines()[-1]))


def workers(directory: Path, form: str, count: int) -> list[dict[str, Any]]:
    """`count` processes serving at once; what each takes while all are there."""
    holding = [child("hold", str(directory), form) for _ in range(count)]
    for process in holding:
        said(process)
    measured = []
    for process in holding:
        proceed(process)
        measured.append(said(process))
    for process in holding:
        told(process, "\n")
    return measured


def said(process: subprocess.Popen[str]) -> dict[str, Any]:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise SystemExit(f"cannot measure: {process.args!r} ended early")
    return dict(json.loads(line))


def proceed(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def measure(directory: Path, rounds: int) -> dict[str, Any]:
    result: dict[str, Any] = {"compile": {}, "load": {}, "memory": {}, "swaps": {}}
    for stage in STAGES:
        shutil.rmtree(directory / stage, ignore_errors=True)
        if stage != "known" or (directory / LEARNED).exists():
            result["compile"][stage] = told(child("compile", str(directory), stage))
    made = [stage for stage, of in result["compile"].items() if of["form"] != "plain" and stage != "known"]
    forms = ["original", *made]
    os.sync()  # what is not written back yet counts as private
    result["cpu"] = told(child("cpu", str(directory), str(rounds), *forms))
    for form in forms:
        times = [told(child("load", str(directory), form)) for _ in range(3)]
        result["load"][form] = {key: min(t[key] for t in times) for key in ("wall", "cpu")}
        result["memory"][form] = {str(n): workers(directory, form, n) for n in (1, WORKERS)}
        result["swaps"][form] = told(child("swaps", str(directory), form))
    (directory / LEARNED).unlink(missing_ok=True)
    return result


def table(result: dict[str, Any]) -> str:
    lines = []
    pss_original = 0.0
    for form, cpu_seconds in result["cpu"].items():
        row = [f"{form:9}"]
        for seconds, value in cpu_seconds.items():
            ratio = value / result["cpu"]["original"][seconds]
            row.append(f"{seconds:>3} s: {value * 1e3:7.1f} ms ({ratio:.2f})")
        one, many = result["memory"][form]["1"][0], result["memory"][form][str(WORKERS)]
        private = max(w["serving"]["private"] - w["empty"]["private"] for w in (one, *many))
        pss = sum(w["serving"]["pss"] for w in many)
        pss_original = pss_original or pss
        row.append(f"load {result['load'][form]['wall']:.2f} s")
        row.append(f"private {private:.0f} MB")
        row.append(f"PSS of {WORKERS}: {pss:.0f} MB ({pss / pss_original:.2f})")
        row.append("RSS after " + ", ".join(f"{n}: {m['rss']:.0f} MB" for n, m in result["swaps"][form].items()))
        lines.append("  ".join(row))
    for stage, made in result["compile"].items():
        cost = f"{made['cpu_seconds']:.1f} s of CPU, {made['seconds']:.1f} s, peak {made['peak_mb']:.0f} MB"
        lines.append(f"\n{stage}: {made['form']} {made['because']} {cost}; gain {made['gain']}")
        lines += [f"  {'kept   ' if s['kept'] else 'refused'} {s['name']}: {s['because']}" for s in made["steps"]]
    return "\n".join(lines)


def main() -> None:
    if sys.argv[1:2] == ["--child"]:
        verb, directory, *rest = sys.argv[2:]
        what = {"compile": compile_form, "load": load, "hold": hold, "swaps": swaps}
        made = cpu(Path(directory), int(rest[0]), rest[1:]) if verb == "cpu" else what[verb](Path(directory), rest[0])
        print(json.dumps(made), flush=True)
        return
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("directory", type=Path)
    parser.add_argument("--small", action="store_true", help="the small shape: shows that the bench runs, no more")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--hide-cpu-flags", default="", metavar="FLAGS", help=f"for a machine without VNNI: {NO_VNNI}")
    options = parser.parse_args()
    os.environ["MODELWARD_HIDE_CPU_FLAGS"] = options.hide_cpu_flags
    if not (options.directory / "model_quant.onnx").exists():
        from tests.bench import shape

        shape.write_version(options.directory, shape.SMALL if options.small else shape.FULL)
    result = measure(options.directory, options.rounds)
    if options.json:
        options.json.write_text(json.dumps(result, indent=1))
    print(table(result))


if __name__ == "__main__":
    main()
