"""Good clips while a service is attacked: how much longer they take, what /ready says, which alert comes when.

One daemon with two workers and the limits of the defaults. Good clips of 5 s, one as WAV and one compressed, are sent
one after the other, first alone, then during each attack; so is a small tensor where the attack is one on tensors. The
aims: at most twice the usual time; /ready says 200 while they are answered and 503 while not; an alert within 30 s
where any of them is refused.

    python tests/bench/attacks_bench.py [ATTACK...] [--version DIR] [--seconds 15]
"""

from __future__ import annotations

import argparse
import http.client
import io
import json
import multiprocessing
import shutil
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # so that it runs as a script too

import soundfile
from tests.bench.attack_senders import ATTACKS, send
from tests.bench.clips import as_wav
from tests.bench.tones import clip
from tests.house import House, free_port
from tests.support import eventually
from tests.versions import good_version, tensor_version

CLIP_SECONDS = 5.0
REST_SECONDS = 0.1
AIM = 2.0
WATCH_SECONDS = 0.25
TENSOR = json.dumps({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 3], "data": [1, 2, 3]}]}).encode()

Good = dict[str, Callable[[int], tuple[int, float]]]
"""By the name of what is sent: sends it to the port; the status and how long it took."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("attack", nargs="*", default=list(ATTACKS), help=f"of {', '.join(ATTACKS)}; all by default")
    parser.add_argument("--version", type=Path, help="a speech version; the demo's by default")
    parser.add_argument("--seconds", type=float, default=15.0, help="of each attack")
    args = parser.parse_args()
    for kind in ("speech", "tensor"):
        names = [name for name in args.attack if ATTACKS[name][1] == kind]
        if names:
            with tempfile.TemporaryDirectory(prefix="attacks-", dir="/var/tmp") as room:
                _attacked(Path(room), kind, names, args.version, args.seconds)
    return 0


def _attacked(room: Path, kind: str, names: list[str], version: Path | None, seconds: float) -> None:
    panel = free_port()
    settings: dict[str, dict[str, object]] = {"panel": {"listen": f"127.0.0.1:{panel}"}}
    if kind == "tensor":
        settings["models"] = {"kind": "tensor"}
    house = House(room, settings)
    try:
        if kind == "tensor":
            name = tensor_version(house.models, "m-v1.0").name
        elif version is None:
            name = good_version(house.models).name
        else:
            name = shutil.copytree(version, house.models / "full-v1.0").name
        house.start()
        house.await_serving(name, 1200)
        good = _good(kind)
        _answers(house.port, good, seconds / 3)  # decoders begin
        usual = _answers(house.port, good, seconds)
        for attack in names:
            _one(house, panel, attack, good, usual, seconds)
    finally:
        house.close()


def _good(kind: str) -> Good:
    if kind == "tensor":
        return {"tensor": lambda port: _posted(port, "/v2/models/m/infer", TENSOR, "application/json")}
    samples = clip(CLIP_SECONDS, 1)[0]
    packed = io.BytesIO()
    soundfile.write(packed, samples, 16_000, format="OGG", subtype="OPUS")
    wav, opus = as_wav(samples), packed.getvalue()
    return {
        "WAV": lambda port: _posted(port, "/api/predict", wav, "audio/wav"),
        "Opus": lambda port: _posted(port, "/api/predict", opus, "audio/ogg"),
    }


def _posted(port: int, path: str, body: bytes, kind: str) -> tuple[int, float]:
    began = time.monotonic()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("POST", path, body, {"Content-Type": kind})
        answer = connection.getresponse()
        answer.read()
        return answer.status, time.monotonic() - began
    except (OSError, http.client.HTTPException):
        return 0, time.monotonic() - began
    finally:
        connection.close()


def _answers(port: int, good: Good, seconds: float) -> dict[str, list[tuple[int, float]]]:
    """What came of each of the good ones, sent in turn for so long."""
    found: dict[str, list[tuple[int, float]]] = {name: [] for name in good}
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for name, sent in good.items():
            found[name].append(sent(port))
            time.sleep(REST_SECONDS)
    return found


def _one(
    house: House, panel: int, attack: str, good: Good, usual: dict[str, list[tuple[int, float]]], seconds: float
) -> None:
    spawn = multiprocessing.get_context("spawn")
    over, stop = spawn.Event(), threading.Event()
    sender = spawn.Process(target=send, args=(attack, house.port, panel, over), daemon=True)
    before = {alert["name"] for alert in _firing(house)}
    ready: Counter[int] = Counter()
    alerts: dict[str, float] = {}
    sender.start()
    watch = threading.Thread(target=_watch, args=(house, stop, before, ready, alerts))
    watch.start()
    time.sleep(3)  # the attack's own start
    during = _answers(house.port, good, seconds)
    over.set()
    stop.set()
    watch.join()
    sender.join(10)
    sender.kill()
    print(ATTACKS[attack][0].__doc__)
    for name in good:
        print(f"  {name}: {_compared(usual[name], during[name])}")
    said = ", ".join(f"{name} after {after:.0f} s" for name, after in alerts.items()) or "none"
    print(f"  /ready {dict(ready)}; alerts: {said}", flush=True)
    eventually(lambda: all(worker["inflight"] == 0 for worker in house.workers()), 600)


def _compared(usual: list[tuple[int, float]], during: list[tuple[int, float]]) -> str:
    took, usually = ([t for _, t in found] for found in (during, usual))
    statuses = dict(Counter(status for status, _ in during))
    ratios = []
    text = ""
    for share, name in ((0.5, "median"), (0.95, "p95")):
        a, b = (_quantile(found, share) for found in (usually, took))
        ratios.append(b / a)
        text += f"{name} {a * 1000:.0f} -> {b * 1000:.0f} ms ({b / a:.1f} times); "
    return f"{text}statuses {statuses}{'' if ratios[0] <= AIM else f'; above {AIM:g} times'}"


def _quantile(values: list[float], share: float) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[round(100 * share) - 1] if values[1:] else values[0]


def _firing(house: House) -> list[dict[str, str]]:
    found: list[dict[str, str]] = house.api.get("/v1/alerts").data["alerts"]
    return [alert for alert in found if alert["state"] == "firing"]


def _watch(
    house: House, stop: threading.Event, before: set[str], ready: Counter[int], alerts: dict[str, float]
) -> None:
    began = time.monotonic()
    while not stop.wait(WATCH_SECONDS):
        for alert in _firing(house):
            if alert["name"] not in before:
                alerts.setdefault(alert["name"], time.monotonic() - began)
        connection = http.client.HTTPConnection("127.0.0.1", house.port, timeout=20)
        try:
            connection.request("GET", "/ready")
            ready[connection.getresponse().status] += 1
        except (OSError, http.client.HTTPException):
            ready[0] += 1
        finally:
            connection.close()


if __name__ == "__main__":
    sys.exit(main())
