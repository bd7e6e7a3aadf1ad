"""A first version, its compiled form and the next version: how long each takes, and what compiling costs who asks.

One daemon with the defaults. Prints, all from one run: from the rename of the version to the first answer, over a bare
load and one 5 s run of ONNX Runtime; p95 at half load with the compiler off and while it works; from the rename of the
next version (the same graph) to its first answer. The aims: 5 times, 1.1 times, 8 times.

    python tests/bench/compiling_bench.py VERSION_DIR [--seconds 60] [--kill]
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # so that it runs as a script too

import onnxruntime as ort
from tests.bench.clips import as_wav
from tests.bench.tones import clip
from tests.forms import compilers
from tests.house import House
from tests.support import eventually
from tests.system.marks import at

from modelward.worker.sensevoice.pipeline import Recognizer

CLIP_SECONDS = 5.0
LONGEST_SECONDS = 3600.0
SHARE = 0.5


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("version", type=Path)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--kill", action="store_true", help="kill or stop the compiler at ten moments first")
    args = parser.parse_args()
    sound = sound_of()
    with tempfile.TemporaryDirectory(prefix="compiling-", dir="/var/tmp") as room:
        house = House(
            Path(room), {"validation": {"compile": "off"}, "workers": {"count": 0}, "rollout": {"bake": "1s"}}
        )
        house.configure()
        try:
            house.start()
            bare = _bare(args.version)
            print(f"bare ONNX Runtime {ort.__version__}: load and one {CLIP_SECONDS:g} s run {bare:.2f} s")
            took = _arrives(house, args.version, "v1.0", sound)
            print(f"first version: {took:.2f} s from the rename to the first answer, {took / bare:.1f} times (aim 5)")
            _compiling(house, sound, args.seconds, kill=args.kill)
            bare = _bare(args.version)
            took = _arrives(house, args.version, "v1.1", sound)
            print(f"next version, known graph: {took:.2f} s, {took / bare:.1f} times (aim 8)")
            print(f"  in the form {house.version('v1.1')['compiled'].get('form')}")
            bad = [e["kind"] for e in house.history() if e["kind"] in ("rejected", "rollout-failed", "worker-ended")]
            print(f"rejected, failed or ended: {bad or 'none'}")
        finally:
            house.close()
    return 0


def _bare(version: Path) -> float:
    """Seconds that a process of our own needs for what a server can't do without: loading and one answer."""
    began = time.monotonic()
    model = next(p.name for p in version.iterdir() if p.suffix == ".onnx")
    recognizer = Recognizer.load(version, model=model, threads=1, providers=("CPUExecutionProvider",))
    recognizer.transcribe(clip(CLIP_SECONDS, 1)[0])
    return time.monotonic() - began


def _arrives(house: House, version: Path, name: str, sound: bytes) -> float:
    """Seconds from the rename of a copy to the first answer of that version."""
    aside = house.root / "aside" / name
    shutil.copytree(version, aside)
    if house.status()["live"]:  # other bytes, the same graph
        (aside / "NOTE.md").write_text(name)
    began, wall = time.monotonic(), time.time()
    aside.rename(house.models / name)
    eventually(lambda: house.transcribe(sound, timeout=300)[2] == name, LONGEST_SECONDS)
    took = time.monotonic() - began
    events = [e for e in house.events() if e.get("version") == name]
    print("  " + ", ".join(f"{e['event']} {at(e) - wall:.1f} s" for e in events))
    gates = (house.version(name)["verdict"] or {}).get("gates", ())
    print("  " + ", ".join(f"{gate['gate']} {gate['seconds']:.2f} s" for gate in gates))
    return took


def _compiling(house: House, sound: bytes, seconds: float, *, kill: bool) -> None:
    alone = statistics.median(_timed(house, sound) for _ in range(5))
    workers = len(house.workers())
    before = _p95(house, sound, alone, workers, seconds, lambda: False)
    began = time.monotonic()
    house.configure(validation={"compile": "exact"})
    assert house.process is not None
    house.process.send_signal(signal.SIGHUP)
    eventually(lambda: compilers(house), 60)
    if kill:
        _kill(house)
    during = _p95(house, sound, alone, workers, 4 * seconds, lambda: not compilers(house))
    print(f"at half load: p95 {before * 1000:.0f} ms without, {during * 1000:.0f} ms with a compiler at work")
    print(f"  {during / before:.2f} times (aim 1.1)")
    eventually(lambda: _settled(house), LONGEST_SECONDS)
    told = house.version("v1.0")["compiled"]
    print(f"form {told.get('form')} after {time.monotonic() - began:.0f} s: {told}")


def _settled(house: House) -> bool:
    return not compilers(house) and house.status()["rollout"] is None


def _kill(house: House) -> None:
    """At ten moments of the compiler's life, by turns killed and stopped; a killed one is started again."""
    for moment in range(10):
        [pid, *_] = eventually(lambda: compilers(house), 2000)
        time.sleep(0.5 * moment)
        os.kill(pid, signal.SIGSTOP if moment % 2 else signal.SIGKILL)
        print(f"  {'stopped' if moment % 2 else 'killed'} after {0.5 * moment:g} s")
        status, answer, version = house.transcribe(sound_of(), timeout=300)
        assert (status, version) == (200, "v1.0"), answer


def sound_of() -> bytes:
    return as_wav(clip(CLIP_SECONDS, 1)[0])


def _timed(house: House, sound: bytes) -> float:
    began = time.monotonic()
    status, answer, _ = house.transcribe(sound, timeout=300)
    assert status == 200, answer
    return time.monotonic() - began


def _p95(house: House, sound: bytes, alone: float, clients: int, seconds: float, over: Callable[[], bool]) -> float:
    """95 % of the answers took at most so long, at a load of SHARE: each client asks every `alone` / SHARE seconds."""
    took: list[float] = []
    end = time.monotonic() + seconds

    def ask() -> None:
        due = time.monotonic()
        while time.monotonic() < end and not (len(took) > 20 and over()):
            took.append(_timed(house, sound))
            due = max(due + alone / SHARE, time.monotonic() - alone)
            time.sleep(max(0.0, due - time.monotonic()))

    threads = [threading.Thread(target=ask) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return statistics.quantiles(took, n=20)[18]


if __name__ == "__main__":
    sys.exit(main())
