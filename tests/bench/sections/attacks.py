"""Good clips while a service is attacked: how much longer they take, what /ready answers, which alert comes when.

One daemon with two workers and the limits of the defaults, and the demo's version, whose answers are quick: what an
attack costs is seen best beside them. Good clips, one as WAV and one compressed, are sent one after the other, first
alone, then during each attack; so is a small tensor where the attack is one on tensors. The aims: at most twice the
usual time; /ready is 200 while they are answered; an alert within 30 s where any of them is refused.
"""

from __future__ import annotations

import http.client
import io
import json
import multiprocessing
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import soundfile
from tests.bench.attack_senders import ATTACKS, send
from tests.bench.clips import pool
from tests.bench.plan import Plan
from tests.bench.tones import RATE
from tests.house import House, free_port
from tests.support import eventually
from tests.versions import good_version, tensor_version

CLIP_SECONDS = 5.0
SECONDS, QUICK_SECONDS = 8.0, 1.0  # of each attack
QUICK = ("S4",)
REST_SECONDS = 0.1
START_SECONDS = 3.0
WATCH_SECONDS = 0.25
TENSOR = json.dumps({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 3], "data": [1, 2, 3]}]}).encode()

Good = dict[str, Callable[[int], tuple[int, float]]]
"""By the name of what is sent: sends it to the port; the status and how long it took."""


def measure(plan: Plan) -> dict[str, Any]:
    """{"attacks": {name: {"what", "good": {what: {usual and during seconds, statuses}}, "ready", "alerts"}}}."""
    attacks: dict[str, Any] = {}
    for kind in ("speech", "tensor"):
        names = [name for name in (QUICK if plan.quick else ATTACKS) if ATTACKS[name][1] == kind]
        if names:
            with tempfile.TemporaryDirectory(prefix="bench-", dir="/var/tmp") as room:
                attacks |= _attacked(plan, Path(room), kind, names)
    return {"attacks": attacks}


def _attacked(plan: Plan, room: Path, kind: str, names: list[str]) -> dict[str, Any]:
    panel, seconds = free_port(), QUICK_SECONDS if plan.quick else SECONDS
    settings: dict[str, dict[str, object]] = {"panel": {"listen": f"127.0.0.1:{panel}"}}
    if kind == "tensor":
        settings["models"] = {"kind": "tensor"}
    house = House(room, settings, python=plan.python)
    try:
        version = tensor_version(house.models, "m-v1.0") if kind == "tensor" else good_version(house.models)
        house.start()
        house.await_serving(version.name, 1200)
        good = _good(kind)
        _answers(house.port, good, seconds / 3)  # decoders begin
        usual = _answers(house.port, good, seconds)
        return {name: _one(house, panel, name, good, usual, seconds) for name in names}
    finally:
        house.close()


def _good(kind: str) -> Good:
    if kind == "tensor":
        return {"tensor": lambda port: _posted(port, "/v2/models/m/infer", TENSOR, "application/json")}
    clip, packed = pool(CLIP_SECONDS)[0], io.BytesIO()
    soundfile.write(packed, clip.samples, RATE, format="OGG", subtype="OPUS")
    wav, opus = clip.wav, packed.getvalue()
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
    end, rest = time.monotonic() + seconds, threading.Event()
    while time.monotonic() < end:
        for name, sent in good.items():
            found[name].append(sent(port))
            rest.wait(REST_SECONDS)
    return found


def _one(
    house: House, panel: int, attack: str, good: Good, usual: dict[str, list[tuple[int, float]]], seconds: float
) -> dict[str, Any]:
    spawn = multiprocessing.get_context("spawn")
    over, stop = spawn.Event(), threading.Event()
    sender = spawn.Process(target=send, args=(attack, house.port, panel, over), daemon=True)
    before = {alert["name"] for alert in _firing(house)}
    ready: Counter[int] = Counter()
    alerts: dict[str, float] = {}
    sender.start()
    watch = threading.Thread(target=_watch, args=(house, stop, before, ready, alerts))
    watch.start()
    threading.Event().wait(START_SECONDS)  # the attack's own start
    during = _answers(house.port, good, seconds)
    over.set()
    stop.set()
    watch.join()
    sender.join(10)
    sender.kill()
    eventually(lambda: all(worker["inflight"] == 0 for worker in house.workers()), 600)
    what = (ATTACKS[attack][0].__doc__ or "").partition(": ")[2].rstrip(".")
    compared = {name: _compared(usual[name], during[name]) for name in good}
    print(f"attacks {attack}: {compared}", file=sys.stderr, flush=True)
    told = {name: round(after, 1) for name, after in alerts.items()}
    statuses = {str(status): count for status, count in ready.items()}
    return {"what": what, "good": compared, "ready": statuses, "alerts": told}


def _compared(usual: list[tuple[int, float]], during: list[tuple[int, float]]) -> dict[str, Any]:
    statuses = Counter(str(status) for status, _ in during)
    seconds = {"usual_seconds": usual, "during_seconds": during}
    return {**{name: [round(t, 4) for _, t in found] for name, found in seconds.items()}, "statuses": dict(statuses)}


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
