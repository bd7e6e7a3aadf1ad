"""Long recordings: seconds of audio transcribed a second through the queue of jobs, beside direct requests.

The same recordings, turn by turn: as jobs, all sent at once and asked about until the last is done; and directly, from
as many clients as there are workers, each of which holds its connection.
"""

from __future__ import annotations

import http.client
import json
import sys
import threading
import time
from typing import Any

from tests.bench import load
from tests.bench.clips import FORM_TYPE, Clip, error_rate
from tests.bench.ours import Modelward
from tests.bench.peers.peer import CORES
from tests.bench.plan import Plan

CLIP_SECONDS, COUNT, ROUNDS = 120.0, 6, 3
QUICK_CLIP_SECONDS, QUICK_COUNT = 40.0, 2
ASK_SECONDS, LONGEST_SECONDS = 0.2, 900.0


def measure(plan: Plan) -> dict[str, Any]:
    """{"clip_seconds", "count", "rounds": [{"jobs", "direct": seconds of audio a second, and error rates}]}."""
    seconds, count = (QUICK_CLIP_SECONDS, QUICK_COUNT) if plan.quick else (CLIP_SECONDS, COUNT)
    clips = [Clip(seconds, number) for number in range(count)]
    ours = plan.modelward()
    rounds = []
    try:
        ours.start(clips[0])
        for _ in range(1 if plan.quick else ROUNDS):
            rounds.append({"jobs": _as_jobs(ours, clips), "direct": _directly(ours, clips)})
            print(f"jobs: {rounds[-1]}", file=sys.stderr, flush=True)
    finally:
        ours.stop()
    return {"clip_seconds": seconds, "count": count, "rounds": rounds}


def _directly(ours: Modelward, clips: list[Clip]) -> dict[str, float]:
    made = load.closed(ours.ask, clips, CORES, len(clips))
    if made.failures:
        raise RuntimeError(f"cannot measure: {made.failures[0]}")
    errors = sum(made.error_rates) / len(made.error_rates)
    return {"audio_seconds_a_second": _audio(clips) / made.wall_seconds, "error_rate": errors}


def _as_jobs(ours: Modelward, clips: list[Clip]) -> dict[str, float]:
    bodies = [clip.form.replace(b'name="audio"', b'name="file"', 1) for clip in clips]
    began = time.monotonic()
    jobs = [json.loads(_asked(ours, "POST", "/v1/jobs", body))["id"] for body in bodies]
    states = [_ended(ours, job, began + LONGEST_SECONDS) for job in jobs]
    took = time.monotonic() - began
    errors = [error_rate(state["text"], clip.dialled) for state, clip in zip(states, clips, strict=True)]
    for job in jobs:
        _asked(ours, "DELETE", f"/v1/jobs/{job}")
    return {"audio_seconds_a_second": _audio(clips) / took, "error_rate": sum(errors) / len(errors)}


def _ended(ours: Modelward, job: str, until: float) -> dict[str, Any]:
    rest = threading.Event()
    while time.monotonic() < until:
        found: dict[str, Any] = json.loads(_asked(ours, "GET", f"/v1/jobs/{job}"))
        if found["state"] == "done":
            return found
        if found["state"] in ("failed", "cancelled"):
            raise RuntimeError(f"cannot measure: {found.get('error')}")
        rest.wait(ASK_SECONDS)
    raise RuntimeError(f"cannot measure: {job} was not done within {LONGEST_SECONDS:.0f} s")


def _audio(clips: list[Clip]) -> float:
    return sum(clip.seconds for clip in clips)


def _asked(ours: Modelward, verb: str, path: str, body: bytes | None = None) -> bytes:
    connection = http.client.HTTPConnection("127.0.0.1", ours.house.port, timeout=60)
    try:
        connection.request(verb, path, body, {"Content-Type": FORM_TYPE} if body else {})
        answer = connection.getresponse()
        data = answer.read()
    finally:
        connection.close()
    if answer.status not in (200, 202, 204):
        raise RuntimeError(f"cannot measure: {verb} {path}: {answer.status} {data[:200]!r}")
    return data
