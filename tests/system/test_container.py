"""In a container: PID 1, a read-only root, no rights, variables alone. No end of a daemon loses a request.

What the image itself holds is tested by `make image` (tests/container).
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.house import Load, clip
from tests.support import eventually
from tests.system.container_box import ContainerBox, container, why_not
from tests.versions import good_version

WHY_NOT = why_not()
pytestmark = [pytest.mark.system, pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT or "it can be made")]
VERSION = "dtmf-v1.0"
MILLISECOND = timedelta(milliseconds=1)  # what a line's time is rounded to
KEYS = {
    "MODELWARD_WORKERS__COUNT": "2",
    "MODELWARD_VALIDATION__COMPILE": "off",
    "MODELWARD_ROLLOUT__BAKE": "0",
    "MODELWARD_MODELS__SETTLE": "300ms",
    "MODELWARD_PANEL__LISTEN": "127.0.0.1:0",
}


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ContainerBox]:
    place = tmp_path_factory.mktemp("container")
    (place / "data" / "models").mkdir(parents=True)
    good_version(place / "data" / "models", VERSION)
    with container(place, **KEYS) as made:
        made.await_serving(VERSION)
        yield made


def load(box: ContainerBox, *, keep_alive: bool = True) -> Load:
    return Load(box.port, 4, keep_alive, clip, 0.05)


def test_it_serves_from_a_read_only_root_and_confines_its_workers_as_anywhere(box: ContainerBox) -> None:
    status = box.status()
    assert status["config"]["path"] == ""
    assert "workers.count" in status["config"]["environment"]
    for worker in box.api.get("/v1/workers").data["workers"]:
        assert worker["confinement"].startswith("no new privileges, landlock, seccomp")
    mounts = Path(f"/proc/{box.init}/mountinfo").read_text().splitlines()
    [root] = [line for line in mounts if line.split()[4] == "/"]
    assert root.split()[5].startswith("ro")
    assert (box.data / "state" / "panel.token").stat().st_uid == 12345
    assert any(line.get("worker") == "daemon" for line in box.lines())


def test_commands_in_it_need_no_option_and_a_reload_keeps_the_variables(box: ContainerBox) -> None:
    health = box.run("health")
    assert (health.returncode, health.stdout) == (0, "ready\n")
    reload = box.run("reload")
    assert (reload.returncode, reload.stdout) == (0, "nothing changed\n"), reload.stderr


@pytest.mark.parametrize("number", [signal.SIGQUIT, signal.SIGKILL])
def test_the_next_daemon_takes_the_workers_back_and_no_request_fails(box: ContainerBox, number: signal.Signals) -> None:
    before = {w["pid"] for w in box.api.get("/v1/workers").data["workers"]}
    daemon, clients = box.status()["pid"], load(box)
    clients.begin()
    os.kill(box.init if number is signal.SIGQUIT else box.ours(daemon), number)
    eventually(lambda: box.status().get("pid", daemon) != daemon)
    box.await_serving(VERSION)
    clients.end()
    assert clients.failures == []
    assert {w["pid"] for w in box.api.get("/v1/workers").data["workers"]} == before


def test_the_end_answers_every_request_that_a_worker_took(box: ContainerBox) -> None:
    """The last one: it ends the container. The kernel resets what comes at the moment in which the port closes."""
    began, both = datetime.now(UTC), [load(box), load(box, keep_alive=False)]
    for clients in both:
        clients.begin()
        eventually(lambda: len(clients.seconds) > 20)  # noqa: B023 - called before the next one
    assert box.stop() == 0
    for clients in both:
        clients.end()
        assert clients.refused == {}  # no answer but 200
    # By their times: a line about a request of before may be written after the answer was read.
    after = [line for line in box.lines() if datetime.fromisoformat(line["time"]) >= began - MILLISECOND]
    taken = [line["status"] for line in after if line.get("path") == "/api/predict"]
    assert taken == [200] * sum(sum(clients.answers.values()) for clients in both) and len(taken) > 40
    ends = [line for line in after if line.get("event") == "worker ends"]
    assert len(ends) == 2 and all(line["cut"] == 0 for line in ends)
