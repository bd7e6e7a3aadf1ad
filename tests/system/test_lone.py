"""A client that is alone is answered with all processors, and told the same as one of many."""

from __future__ import annotations

import json
import os
import time

import pytest
from tests.balance import runs_in
from tests.forms import await_form
from tests.house import DIGITS, House
from tests.support import eventually
from tests.system.conftest import Build
from tests.versions import masked_version

pytestmark = [
    pytest.mark.system,
    pytest.mark.alone,
    pytest.mark.timeout(240),
    pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="there is one processor"),
]

OLD = "dtmf-v1.0"
WORKERS = 2


@pytest.fixture(scope="module")
def town(build_shared: Build) -> House:
    house = build_shared(
        workers={"count": WORKERS},
        logs={"level": "debug"},
        validation={"timeout": 90, "golden": "", "compile": "exact"},
    )
    masked_version(house.models, OLD)
    house.start()
    await_form(house, OLD)
    assert house.version(OLD)["compiled"]["lone_threads"] == WORKERS
    return house


def threads(house: House, since: float, count: int) -> list[int]:
    """With how many threads each run since then was made, once there are `count`."""

    def found() -> list[int] | None:
        said = [run.threads for run in runs_in(house.log_dir) if run.asked > since]
        return said if len(said) >= count else None

    return eventually(found) or []


def test_a_lone_client_gets_all_processors_and_the_same_answer(town: House) -> None:
    since = time.monotonic()

    def alone() -> bool:
        assert town.transcribe()[:2] == (200, {**town.transcribe()[1], "result": DIGITS[OLD]})
        return WORKERS in threads(town, since, 2)

    eventually(alone, 60)


def test_many_clients_get_one_each(town: House) -> None:
    since = time.monotonic()
    with town.load(8, pause_seconds=0) as load:
        eventually(lambda: len(load.seconds) >= 80, 60)
    assert load.failures == []
    found = threads(town, since, 80)
    assert found.count(1) > 0.9 * len(found)


def test_a_form_that_was_not_proved_so_runs_with_one_thread(town: House) -> None:
    artifact = await_form(town, OLD)
    description = artifact / "artifact.json"
    was = description.read_bytes()
    town.stop()
    description.write_text(json.dumps({**json.loads(was), "lone_threads": 0}))
    try:
        town.start()
        town.await_serving(OLD, 60)
        since = time.monotonic()
        for _ in range(20):
            assert town.transcribe()[1]["result"] == DIGITS[OLD]
        assert set(threads(town, since, 20)) == {1}
    finally:
        town.stop()
        description.write_bytes(was)
        town.start()
        town.await_serving(OLD, 60)
