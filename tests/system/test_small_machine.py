"""A machine with half a processor and little memory serves like any other, only slower."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.control_groups import Group, group, missing
from tests.system.conftest import Build
from tests.versions import good_version

WHY_NOT = missing()
pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT or "control groups can be made"),
]


@pytest.fixture
def small() -> Iterator[Group]:
    with group("small", quota=0.5, memory_bytes=1 << 30) as made:
        yield made


def test_half_a_processor_gets_one_worker_that_serves_and_nothing_is_rejected_or_killed(
    small: Group, build: Build
) -> None:
    house = build(workers={"count": 0})
    house.prefix = small.prefix
    good_version(house.models, "dtmf-v1.0")
    house.start()
    try:
        house.await_serving("dtmf-v1.0")
        staff = house.status()["workers"]
        assert (staff["ready"], staff["wanted"]) == (1, 1)
        assert staff["because"].startswith("1 of ")
        assert "CPU quota 50 %" in staff["because"]
        assert "CPU quota 50 %" in house.cli("status").stdout
        with house.load(clients=2) as load:
            pass
        assert load.failures == []
        kinds = {entry["kind"] for entry in house.history()}
        assert not kinds & {"rejected", "not-judged", "rollout-failed", "worker-ended", "alert-firing"}
        assert small.oom_kills() == 0
    finally:
        house.close()
