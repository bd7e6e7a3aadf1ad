"""Replacing the model under load: requests at half of what the workers can do, steady and while versions are swapped.

python -m tests.bench.swap_bench MODEL_DIR [--seconds 20] [--swaps 6]: MODEL_DIR holds a version (compile_bench.py
writes one). Prints p50 and p95 of both phases, their ratio, failures, seconds of a swap, and the workers' memory.
"""

from __future__ import annotations

import argparse
import http.client
import json
import shutil
import statistics
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.house import House, clip

FILES = ("model_quant.onnx", "am.mvn", "tokens.json", "config.yaml")


@dataclass
class Arrivals:
    """Requests that come at a fixed pace, whoever is still waiting; seconds are counted from when each was due."""

    port: int
    pace_seconds: float
    seconds: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def run(self, until: float) -> None:
        due, threads = time.monotonic(), []
        while due < until:
            time.sleep(max(0.0, due - time.monotonic()))
            thread = threading.Thread(target=self._ask, args=(due,))
            thread.start()
            threads.append(thread)
            due += self.pace_seconds
        for thread in threads:
            thread.join(60)

    def _ask(self, due: float) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request("POST", "/api/predict", clip(), {"Content-Type": "audio/wav"})
            response = connection.getresponse()
            response.read()
            if response.status != 200:
                self.failures.append(str(response.status))
        except OSError as e:
            self.failures.append(repr(e))
        finally:
            connection.close()
        self.seconds.append(time.monotonic() - due)

    @property
    def p95(self) -> float:
        return statistics.quantiles(self.seconds, n=20)[-1]


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--swaps", type=int, default=6)
    given = parser.parse_args()
    with TemporaryDirectory(prefix="modelward-bench-") as scratch:
        house = House(Path(scratch), {"validation": {"compile": "exact", "timeout": 600, "golden": ""}})
        try:
            print(json.dumps(_measure(house, given.model, given.seconds, given.swaps), indent=1))
        finally:
            house.close()


def _measure(house: House, model: Path, seconds: float, swaps: int) -> dict[str, object]:
    for name in ("bench-v1", "bench-v2"):
        (house.models / name).mkdir()
        for file in FILES:
            shutil.copy(model / file, house.models / name)
    (house.models / "bench-v2" / "NOTE").write_text("another digest")
    house.start()
    house.await_state("bench-v1", "accepted", 900)
    house.await_state("bench-v2", "accepted", 900)
    house.await_serving("bench-v2", 120)
    alone = [_one(house) for _ in range(10)]
    pace = 2 * statistics.median(alone) / len(house.workers())
    steady = Arrivals(house.port, pace)
    steady.run(time.monotonic() + seconds)
    during, took = Arrivals(house.port, pace), []
    over = threading.Event()

    def swap() -> None:
        for i in range(swaps):
            began = time.monotonic()
            house.command("activate", version=("bench-v1", "bench-v2")[i % 2])
            took.append(time.monotonic() - began)
        over.set()

    swapper = threading.Thread(target=swap)
    swapper.start()
    while not over.is_set():
        during.run(time.monotonic() + 1.0)
    swapper.join()
    return {
        "request_alone_seconds": statistics.median(alone),
        "steady": {"requests": len(steady.seconds), "p50": statistics.median(steady.seconds), "p95": steady.p95},
        "swapping": {"requests": len(during.seconds), "p50": statistics.median(during.seconds), "p95": during.p95},
        "p95_ratio": during.p95 / steady.p95,
        "failures": steady.failures + during.failures,
        "swap_seconds": took,
        "compiled": house.version("bench-v1")["compiled"],
        "rss_bytes": [w["rss_bytes"] for w in house.workers()],
    }


def _one(house: House) -> float:
    began = time.monotonic()
    status, _, _ = house.transcribe()
    assert status == 200, status
    return time.monotonic() - began


if __name__ == "__main__":
    main()
