"""`logs.dir = "-"`: one stream of JSON lines of the daemon and its workers, as a container wants it, and no files."""

from __future__ import annotations

import json
from http.client import HTTPConnection

import pytest
from tests.support import PATIENCE_SECONDS, eventually
from tests.system.conftest import Build

pytestmark = pytest.mark.system


def test_daemon_and_workers_log_to_standard_output_and_whoever_asks_is_told_so(build: Build) -> None:
    house = build(logs={"dir": "-"}, workers={"count": 1}).start()
    eventually(lambda: len(house.workers()) == 1 and house.workers()[0]["pid"])

    def asked() -> int:
        connection = HTTPConnection("127.0.0.1", house.port, timeout=PATIENCE_SECONDS)
        connection.request("GET", "/health?found")
        status = connection.getresponse().status
        connection.close()
        return status

    assert asked() == 503
    out = house.root / "daemon.out"

    def lines() -> list[dict[str, object]]:
        return [json.loads(line) for line in out.read_text().splitlines() if line.startswith("{")]

    eventually(lambda: any(line.get("log") == "access" and line["worker"] == "w1" for line in lines()))
    assert any(line["worker"] == "daemon" for line in lines())
    answer = house.api.get("/v1/logs").data
    assert answer["logs"] == [] and answer["standard_output"] is True
    assert not house.api.post("/v1/rotate", {"force": True}).data["trouble"]
    shown = house.cli("logs")
    assert shown.returncode == 1 and "go to standard output" in shown.stderr
    assert not house.log_dir.exists()
    assert house.stop() == 0
