"""Three instances behind the HAProxy of docs/proxies.md: each is restarted and updated in turn, and nothing is lost."""

from __future__ import annotations

import threading
from functools import partial
from pathlib import Path

import pytest
from tests import asking
from tests.house import House
from tests.proxies import PROGRAMS, front
from tests.support import eventually
from tests.system.conftest import Build
from tests.versions import tensor_version
from tests.worker.running import Load

pytestmark = pytest.mark.system

OLD, NEW = "adder-v1", "adder-v2"
CLIENTS, PAUSE_SECONDS = 5, 0.1
"""Together at most 50 requests a second."""
QUESTION = {"inputs": [{"name": "x", "shape": [1, 3], "datatype": "FP32", "data": [0.0, 0.0, 0.0]}]}


@pytest.fixture
def instances(build: Build) -> list[House]:
    if PROGRAMS["haproxy"] is None:
        pytest.skip("no haproxy here: apt-get install haproxy")
    houses = [build(models={"kind": "tensor"}, workers={"count": 1, "drain_notice": 2}) for _ in range(3)]
    for house in houses:
        tensor_version(house.models, OLD, number=1.0)
        house.start()
    for house in houses:
        house.await_serving(OLD)
    return houses


def _takes_part(house: House) -> bool:
    """The balancer sends requests there."""
    return any(worker["requests"] > 0 for worker in house.workers())


def test_a_rolling_restart_and_a_rolling_update_lose_nothing(instances: list[House], tmp_path: Path) -> None:
    changes = {f"10.0.0.{n}:7860": f"127.0.0.1:{house.port}" for n, house in enumerate(instances, 1)}
    changes["inter 1s"] = "inter 200ms"
    pause = threading.Event()
    with front("haproxy", tmp_path / "haproxy", changes, block=1) as port, asking.client() as client:

        def ask() -> float:
            answer = client.post(f"http://127.0.0.1:{port}/v2/models/adder/infer", json=QUESTION)
            assert answer.status_code == 200, f"{answer.status_code} {answer.text}"
            pause.wait(PAUSE_SECONDS)
            return float(answer.json()["outputs"][0]["data"][1])

        with Load(CLIENTS, ask) as load:
            for house in instances:
                eventually(partial(_takes_part, house))
            for house in instances:
                assert house.stop() == 0
                load.more(20)
                house.start(OLD)
                eventually(partial(_takes_part, house))
            assert set(load.answers) == {1.0}
            for house in instances:
                tensor_version(house.models, NEW, number=2.0)
                house.await_serving(NEW)
                load.more(20)
            eventually(lambda: load.failures or load.answers[-20:] == [2.0] * 20)
        assert load.failures == []
        print(f"{len(load.answers)} requests, {len(load.failures)} failed")
        assert set(load.answers) == {1.0, 2.0}
