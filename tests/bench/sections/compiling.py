"""A first version, its compiled form, and the next version: how long each takes, and what clients see meanwhile.

One daemon with the defaults. From the rename of a version to its first answer, over a load and a run alone: the first
when nothing is served and nothing is known of the graph, the next when the form of an equal graph was made. In between
p95 at half load, before the compiler works and while it does.
"""

from __future__ import annotations

import shutil
import signal
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.bench import load
from tests.bench.bare import Bare
from tests.bench.clips import Clip, pool
from tests.bench.ours import one_file
from tests.bench.plan import Plan
from tests.forms import compilers
from tests.house import House
from tests.support import eventually

CLIP_SECONDS, SECONDS, LONGEST_SECONDS = 5.0, 40.0, 3600.0
QUICK_CLIP_SECONDS, QUICK_SECONDS = 1.0, 2.0
SHARE = 0.5
LEAST = 20  # answers that a percentile is taken of
BAD = ("rejected", "rollout-failed", "worker-ended")


def measure(plan: Plan) -> dict[str, Any]:
    """{"arrivals": {"first", "next"}, "before", "during": p95, "compiled": seconds and form, "bad"}."""
    clip = pool(QUICK_CLIP_SECONDS if plan.quick else CLIP_SECONDS)[0]
    version = one_file(plan.scratch / "version", plan.model)
    settings: dict[str, dict[str, object]] = {
        "validation": {"compile": "off"},
        "workers": {"count": 0},
        "rollout": {"bake": "1s"},
    }
    with tempfile.TemporaryDirectory(prefix="bench-", dir="/var/tmp") as room:
        house = House(Path(room), settings, python=plan.python)
        try:
            house.start()
            arrivals = {"first": _arrives(house, version, "v1.0", clip)}
            before, during, compiled = _compiling(house, clip, QUICK_SECONDS if plan.quick else SECONDS)
            arrivals["next"] = _arrives(house, version, "v1.1", clip)
            arrivals["next"]["form"] = house.version("v1.1")["compiled"].get("form", "plain")
            bad = [entry["kind"] for entry in house.history() if entry["kind"] in BAD]
        finally:
            house.close()
    found = {"clip_seconds": clip.seconds, "load": SHARE, "arrivals": arrivals, "bad": bad}
    print(f"compiling: {found}, {compiled}", file=sys.stderr, flush=True)
    return {**found, "before": before, "during": during, "compiled": compiled}


def _arrives(house: House, version: Path, name: str, clip: Clip) -> dict[str, Any]:
    """Seconds from the rename of a copy to the first answer of that version, beside those of a load and a run alone."""
    alone = Bare(version, False, "session", 1).start()
    alone.stop()
    aside = house.root / "aside" / name
    shutil.copytree(version, aside)
    if house.status()["live"]:  # other bytes, the same graph
        (aside / "NOTE.md").write_text(name)
    began = time.monotonic()
    aside.rename(house.models / name)
    eventually(lambda: house.transcribe(clip.wav, timeout=300)[2] == name, LONGEST_SECONDS)
    took = time.monotonic() - began
    gates = {gate["gate"]: gate["seconds"] for gate in (house.version(name)["verdict"] or {}).get("gates", ())}
    return {"seconds": took, "bare_seconds": alone.ready_seconds[0], "gates_seconds": sum(gates.values())}


def _compiling(house: House, clip: Clip, seconds: float) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    alone = statistics.median(_timed(house, clip) for _ in range(5))
    before = _at_half_load(house, clip, alone, lambda: False, seconds)
    began = time.monotonic()
    house.configure(validation={"compile": "exact"})
    assert house.process is not None
    house.process.send_signal(signal.SIGHUP)
    eventually(lambda: compilers(house), 60)
    during = _at_half_load(house, clip, alone, lambda: not compilers(house), 4 * seconds)
    eventually(lambda: not compilers(house), LONGEST_SECONDS)
    made = time.monotonic() - began
    eventually(lambda: house.status()["rollout"] is None and "compiling" not in house.version("v1.0")["compiled"])
    return before, during, {"seconds": made, "form": house.version("v1.0")["compiled"].get("form", "plain")}


def _timed(house: House, clip: Clip) -> float:
    began = time.monotonic()
    status, answer, _ = house.transcribe(clip.wav, timeout=300)
    if status != 200:
        raise RuntimeError(f"cannot measure: {status} {answer}")
    return time.monotonic() - began


def _at_half_load(house: House, clip: Clip, alone: float, over: Callable[[], bool], seconds: float) -> dict[str, Any]:
    """Each worker has a client that asks every `alone` / SHARE seconds, for so long or until it is over."""
    took: list[float] = []
    end, rest = time.monotonic() + seconds, threading.Event()

    def ask() -> None:
        due = time.monotonic()
        while time.monotonic() < end and not (len(took) > LEAST and over()):
            took.append(_timed(house, clip))
            due = max(due + alone / SHARE, time.monotonic() - alone)
            rest.wait(max(0.0, due - time.monotonic()))

    threads = [threading.Thread(target=ask) for _ in house.workers()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if not took:
        raise RuntimeError("cannot measure: no answer at half load")
    return {"requests": len(took), **{f"p{p}_seconds": load.percentile(took, p) for p in (50, 95)}}
