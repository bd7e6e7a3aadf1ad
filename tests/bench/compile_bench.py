"""What compiling a version gains, measured: CPU time, load time, memory of one and three workers, memory after swaps.

Makes a full-size SenseVoice-shaped int8 version (kept in DIR for the next run), compiles it at both levels, and
measures each form in fresh processes with a worker's environment. CPU time is taken turn by turn in one process on one
thread; medians. Prints a table, and JSON to `--json`.

    python tests/bench/compile_bench.py DIR [--small] [--json FILE] [--rounds N]
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / ".imports")]
FORMS = ("original", "exact", "fast")
SECONDS = (5.0, 10.0, 30.0)
SWAPS = (2, 20)
WORKERS = 3
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


def compile_form(directory: Path, form: str) -> dict[str, Any]:
    from modelward.worker.compile.compiler import compile_model
    from modelward.worker.compile.key import flags_in

    flags = flags_in(Path("/proc/cpuinfo").read_text())
    probes = [clip(seconds, seed) for seed, seconds in enumerate((3.0, 5.0, 10.0, 30.0))]
    started, cpu = time.perf_counter(), time.process_time()
    out = directory / form
    out.mkdir()
    made = compile_model(
        directory / "model_quant.onnx",
        out,
        level=form,  # type: ignore[arg-type]
        probe_inputs=probes,
        flags=flags,
    )
    took = {"seconds": time.perf_counter() - started, "cpu_seconds": time.process_time() - cpu}
    return dataclasses.asdict(made) | took


def cpu(directory: Path, rounds: int) -> dict[str, Any]:
    """Median CPU seconds: form → clip length → seconds."""
    sessions = {form: opened(directory, form) for form in FORMS}
    table: dict[str, dict[str, float]] = {form: {} for form in FORMS}
    for seconds in SECONDS:
        feeds = clip(seconds)
        taken: dict[str, list[float]] = {form: [] for form in FORMS}
        for turn in range(rounds + 1):
            for form, session in sessions.items():
                before = time.process_time()
                answer(session, feeds)
                if turn:
                    taken[form].append(time.process_time() - before)
        for form in FORMS:
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
    for form in FORMS[1:]:
        told_before = directory / f"{form}.json"
        if not told_before.exists():
            told_before.write_text(json.dumps(told(child("compile", str(directory), form))))
        result["compile"][form] = json.loads(told_before.read_text())
    result["cpu"] = told(child("cpu", str(directory), str(rounds)))
    for form in FORMS:
        times = [told(child("load", str(directory), form)) for _ in range(3)]
        result["load"][form] = {key: min(t[key] for t in times) for key in ("wall", "cpu")}
        result["memory"][form] = {str(n): workers(directory, form, n) for n in (1, WORKERS)}
        result["swaps"][form] = told(child("swaps", str(directory), form))
    return result


def table(result: dict[str, Any]) -> str:
    lines = []
    for form in FORMS:
        row = [f"{form:9}"]
        for seconds, value in result["cpu"][form].items():
            ratio = value / result["cpu"]["original"][seconds]
            row.append(f"{seconds:>3} s: {value * 1e3:7.1f} ms ({ratio:.2f})")
        one, many = result["memory"][form]["1"][0], result["memory"][form][str(WORKERS)]
        private = max(w["serving"]["private"] - w["empty"]["private"] for w in (one, *many))
        row.append(f"load {result['load'][form]['wall']:.2f} s")
        row.append(f"private {private:.0f} MB")
        row.append(f"PSS of {WORKERS}: {sum(w['serving']['pss'] for w in many):.0f} MB")
        row.append("RSS after " + ", ".join(f"{n}: {m['rss']:.0f} MB" for n, m in result["swaps"][form].items()))
        lines.append("  ".join(row))
    for form, made in result["compile"].items():
        lines.append(f"\n{form}: {made['form']} {made['because']} made in {made['seconds']:.0f} s, gain {made['gain']}")
        lines += [f"  {'kept   ' if s['kept'] else 'refused'} {s['name']}: {s['because']}" for s in made["steps"]]
    return "\n".join(lines)


def main() -> None:
    if sys.argv[1:2] == ["--child"]:
        verb, directory, *rest = sys.argv[2:]
        what = {"compile": compile_form, "load": load, "hold": hold, "swaps": swaps}
        made = cpu(Path(directory), int(rest[0])) if verb == "cpu" else what[verb](Path(directory), rest[0])
        print(json.dumps(made), flush=True)
        return
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("directory", type=Path)
    parser.add_argument("--small", action="store_true", help="the small shape: shows that the bench runs, no more")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    if not (options.directory / "model_quant.onnx").exists():
        from tests.bench import shape

        shape.write_version(options.directory, shape.SMALL if options.small else shape.FULL)
    result = measure(options.directory, options.rounds)
    if options.json:
        options.json.write_text(json.dumps(result, indent=1))
    print(table(result))


if __name__ == "__main__":
    main()
