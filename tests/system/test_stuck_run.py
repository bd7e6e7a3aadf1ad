"""Runs of ONNX Runtime that nothing ends, or that only the time of their requests ends: alerts, readiness, slots."""

from __future__ import annotations

import http.client
import json
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from tests.support import PATIENCE_SECONDS, eventually
from tests.system.conftest import Build
from tests.worker.tensor_models import save

from modelward.worker.scheduling.slot_file import Board

pytestmark = pytest.mark.system

TRIGGER = 7.0
BOXES = 3_000_000.0
"""None of them overlaps another, so each is compared with all before it: for hours."""


def _version(directory: Path) -> Path:
    """x → 7 at once; when x[0] is TRIGGER, one node runs for hours, and ONNX Runtime ends no run within a node."""

    def constant(name: str, value: object, kind: type = np.float32) -> Any:
        return helper.make_node("Constant", [], [name], value=numpy_helper.from_array(np.array(value, kind), name))

    make = helper.make_node
    long = [
        constant("zero", 0.0), constant("most", BOXES), constant("one", 1.0), constant("half", 0.5),
        constant("axes", [0, 2], np.int64), constant("row", [0, 1], np.int64),
        constant("all", [int(BOXES)], np.int64), constant("never", [0.9]),
        make("Range", ["zero", "most", "one"], ["left"]),
        make("Add", ["left", "half"], ["right"]),
        make("Mul", ["left", "zero"], ["bottom"]),
        make("Add", ["bottom", "one"], ["top"]),
        *(make("Unsqueeze", [name, "axes"], [f"{name}_"]) for name in ("left", "bottom", "right", "top")),
        make("Concat", ["left_", "bottom_", "right_", "top_"], ["boxes"], axis=2),
        make("Unsqueeze", ["right", "row"], ["scores"]),
        make("NonMaxSuppression", ["boxes", "scores", "all", "never"], ["chosen"]),
        make("Size", ["chosen"], ["size"]),
        make("Cast", ["size"], ["answer"], to=TensorProto.FLOAT),
    ]  # fmt: skip
    scalar = helper.make_tensor_value_info
    then = helper.make_graph(long, "then", [], [scalar("answer", TensorProto.FLOAT, [])])
    other = helper.make_graph([constant("at_once", TRIGGER)], "other", [], [scalar("at_once", TensorProto.FLOAT, [])])
    nodes = [
        constant("first", 0, np.int64),
        constant("trigger", TRIGGER),
        make("Gather", ["x", "first"], ["x0"], axis=0),
        make("Equal", ["x0", "trigger"], ["hit"]),
        make("If", ["hit"], ["y"], then_branch=then, else_branch=other),
    ]
    return save(directory, nodes, [scalar("x", TensorProto.FLOAT, ["n"])], [scalar("y", TensorProto.FLOAT, [])])


def _asked(port: int, value: float, timeout: float = PATIENCE_SECONDS) -> tuple[int, str]:
    """(status, body) of the answer to one run."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    body = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1], "data": [value]}]}
    try:
        connection.request("POST", "/v2/models/endless/infer", json.dumps(body), {"Content-Type": "application/json"})
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def _answered(port: int) -> None:
    status, body = _asked(port, 1.0)
    assert status == 200, body


def test_a_run_that_nothing_ends_is_an_alert_and_its_slot_is_free_again_while_others_are_answered(
    build: Build,
) -> None:
    house = build(models={"kind": "tensor"}, workers={"count": 2, "request_timeout": 5})
    _version(house.models / "endless-v1.0")
    house.start("endless-v1.0")
    before = {worker["name"]: worker["pid"] for worker in house.workers()}
    slots = Board(str(next((house.root / "run").glob("**/slots"))))
    try:
        statuses: list[int] = []
        client = threading.Thread(target=lambda: statuses.append(_asked(house.port, TRIGGER)[0]))
        client.start()
        eventually(lambda: slots.others_run(()))
        _answered(house.port)
        client.join()
        assert statuses == [504]
        assert slots.others_run(()), "the request was given up, its run goes on"

        def firing() -> list[dict[str, Any]]:
            found = house.api.get("/v1/alerts").data["alerts"]
            return [alert for alert in found if alert["name"] == "worker_stuck" and alert["state"] == "firing"]

        [alert] = eventually(firing)
        [name] = [name for name in before if f"{name}," in alert["message"]]

        def answered_until_it_is_replaced() -> bool:
            _answered(house.port)
            return before[name] not in house.worker_pids()

        eventually(answered_until_it_is_replaced)
        eventually(lambda: not slots.others_run(()))
        house.await_serving("endless-v1.0")
        assert name not in {worker["name"] for worker in house.workers()}
        _answered(house.port)
        assert firing(), "it stays while it is news"
    finally:
        slots.close()


def test_while_runs_that_go_on_and_on_hold_every_slot_nobody_is_ready_and_an_alert_says_so(build: Build) -> None:
    house = build(models={"kind": "tensor"}, workers={"count": 2, "request_timeout": 600, "drain": 1})
    _version(house.models / "endless-v1.0")
    house.start("endless-v1.0")
    # One worker may take several, and the other answers then without a slot: more than there are of both.
    for _ in range(4):
        threading.Thread(target=_given_up, args=(house.port, TRIGGER), daemon=True).start()
    eventually(lambda: sum(worker["inflight"] for worker in house.workers()) >= 4)
    ending = threading.Event()
    others = threading.Thread(target=_asking, args=(house.port, ending))
    others.start()
    try:

        def firing() -> bool:
            found = [a for a in house.api.get("/v1/alerts").data["alerts"] if a["name"] == "worker_refusing"]
            return sum("takes more than" in alert["message"] for alert in found if alert["state"] == "firing") == 2

        eventually(firing)
        status, body = _ready(house.port)
        assert status == 503
        assert "takes more than" in body["because"]
    finally:
        ending.set()
        others.join()


def _given_up(port: int, value: float) -> None:
    with suppress(OSError, http.client.HTTPException):
        _asked(port, value)


def _asking(port: int, ending: threading.Event) -> None:
    """Good requests, of clients that wait a second each."""
    while not ending.is_set():
        with suppress(OSError, http.client.HTTPException):
            _asked(port, 1.0, timeout=1.0)
        ending.wait(0.2)


def _ready(port: int) -> tuple[int, dict[str, Any]]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_SECONDS)
    try:
        connection.request("GET", "/ready")
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()
