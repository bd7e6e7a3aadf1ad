"""ONNX Runtime alone, in a loop: the limit that no server can pass. One process for each core, nothing in between.

`session` runs the model on features that are ready; `pipeline` also makes the features and the text, as a worker does,
but reads no request. Started as a child: the directory, then one JSON order a line, one JSON answer each.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = {"MALLOC_MMAP_THRESHOLD_": "131072", "ORT_DISABLE_TELEMETRY": "1", "OPENBLAS_NUM_THREADS": "1"}


def child(directory: Path, mapped: bool) -> None:
    import numpy as np
    from tests.bench.clips import pool

    from modelward.worker import ort_session
    from modelward.worker.sensevoice.pipeline import Recognizer
    from modelward.worker.shared.artifact import read_artifact

    began, cpu = time.perf_counter(), time.process_time()
    if mapped:
        recognizer = Recognizer.load(directory, model=read_artifact(directory).compiled_model, mapped=True)
    else:
        recognizer = Recognizer.load(directory)
    loaded, used = time.perf_counter() - began, time.process_time() - cpu
    recognizer.warm()
    ready = time.perf_counter() - began
    print(json.dumps({"load_seconds": loaded, "load_cpu_seconds": used, "ready_seconds": ready}), flush=True)
    known = recognizer.description
    names = [known.answer_output, *([known.length_output] if known.length_output else [])]

    def alone(prepared: list[dict[str, Any]]) -> None:
        for feeds in prepared:
            answer = ort_session.run(recognizer._session, names, feeds)[0]
            if not known.answers_ids:
                np.argmax(answer, axis=-1)

    for line in sys.stdin:
        order = json.loads(line)
        clips = pool(order["seconds"])[order["first"] :: order["step"]] or pool(order["seconds"])
        ready = [[recognizer.feeds(recognizer.features(c.samples[s.start : s.end])) for s in recognizer.cut(c.samples)]
                 for c in clips] if order["mode"] == "session" else []  # fmt: skip
        took, began, cpu = [], time.perf_counter(), time.process_time()
        for number in range(order["count"]):
            start = time.perf_counter()
            if ready:
                alone(ready[number % len(ready)])
            else:
                recognizer.transcribe(clips[number % len(clips)].samples)
            took.append(time.perf_counter() - start)
        done = {"wall_seconds": time.perf_counter() - began, "cpu_seconds": time.process_time() - cpu}
        print(json.dumps({**done, "seconds": [round(value, 5) for value in took]}), flush=True)


@dataclass
class Bare:
    """So many processes on one form of the model: an artifact of modelward's, or a version as it came."""

    directory: Path
    mapped: bool
    mode: str
    processes: int
    load_seconds: list[float] = field(default_factory=list)
    ready_seconds: list[float] = field(default_factory=list)  # loaded and run once
    _children: list[subprocess.Popen[str]] = field(default_factory=list)

    def start(self) -> Bare:
        path = os.pathsep.join((str(ROOT), str(ROOT / ".imports")))
        for _ in range(self.processes):
            self._children.append(
                subprocess.Popen(
                    [sys.executable, "-m", "tests.bench.bare", str(self.directory), str(int(self.mapped))],
                    env={**os.environ, **ENVIRONMENT, "PYTHONPATH": path},
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
            heard = self._hear(self._children[-1])
            self.load_seconds.append(heard["load_seconds"])
            self.ready_seconds.append(heard["ready_seconds"])
        return self

    def turn(self, seconds: float, clients: int, requests: int) -> dict[str, Any]:
        """The figures of a `load.Turn`, and `cpu_seconds` a clip; as many processes work as there are clients."""
        at_work = self._children[: min(clients, len(self._children))]
        count = -(-requests // len(at_work))
        for number, process in enumerate(at_work):
            order = {"mode": self.mode, "seconds": seconds, "count": count, "first": number, "step": len(at_work)}
            assert process.stdin is not None
            process.stdin.write(json.dumps(order) + "\n")
            process.stdin.flush()
        heard = [self._hear(process) for process in at_work]
        done = count * len(at_work)
        return {
            "requests": done,
            "failed": 0,
            "clips_per_second": sum(count / h["wall_seconds"] for h in heard),
            "seconds": [value for h in heard for value in h["seconds"]],
            "cpu_seconds": sum(h["cpu_seconds"] for h in heard) / done,
            "error_rate": 0.0,
        }

    def stop(self) -> None:
        for process in self._children:
            assert process.stdin is not None
            process.stdin.close()
            process.wait(20)
        self._children.clear()

    def _hear(self, process: subprocess.Popen[str]) -> dict[str, Any]:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise RuntimeError("cannot measure: the bare loop ended early")
        return dict(json.loads(line))


if __name__ == "__main__":
    child(Path(sys.argv[1]), sys.argv[2] == "1")
