"""A log disk that does not answer holds up neither the service nor its daemon, and is an alert."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.frozen_disk import freezing_disk
from tests.support import PATIENCE_SECONDS, eventually
from tests.system.conftest import Build
from tests.versions import good_version

pytestmark = pytest.mark.system


def test_versions_are_judged_and_served_and_workers_started_while_the_log_disk_does_not_answer(
    build: Build, tmp_path: Path
) -> None:
    with freezing_disk(tmp_path) as disk:
        logs = disk.place / "logs"
        house = build(logs={"dir": str(logs)})
        good_version(house.models, "dtmf-v1.0")
        house.start("dtmf-v1.0")
        with disk.frozen(), house.load(clients=2) as load:
            good_version(house.models, "dtmf-v1.1", words=True)
            house.await_serving("dtmf-v1.1")
            house.configure(workers={"count": 3})
            assert house.cli("reload").returncode == 0
            eventually(lambda: len(house.workers()) == 3 and house.serves("dtmf-v1.1"))
            eventually(lambda: any("has not answered" in alert["message"] for alert in house.status()["alerts"]))
        assert load.failures == [] and load.mixed == []
        eventually(lambda: not any("has not answered" in alert["message"] for alert in house.status()["alerts"]))
        events = [json.loads(line) for line in (logs / "modelward.log").read_text().splitlines()]
        assert [e for e in events if e["event"] == "serving" and e["version"] == "dtmf-v1.1"]
        assert house.stop() == 0


def test_a_daemon_starts_and_ends_while_the_log_disk_does_not_answer(build: Build, tmp_path: Path) -> None:
    with freezing_disk(tmp_path) as disk:
        house = build(logs={"dir": str(disk.place / "logs")})
        good_version(house.models, "dtmf-v1.0")
        with disk.frozen():
            house.start("dtmf-v1.0")
            process = house.process
            assert process is not None
            process.terminate()
            # Its main thread is gone; the kernel keeps the one that writes until the disk answers.
            eventually(lambda: "Z (zombie)" in Path(f"/proc/{process.pid}/status").read_text())
        assert process.wait(PATIENCE_SECONDS) == 0
