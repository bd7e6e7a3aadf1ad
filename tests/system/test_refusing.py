"""A worker that would answer nobody is an alert of the daemon, soon and by itself."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from tests import asking
from tests.support import eventually
from tests.system.conftest import Build
from tests.versions import good_version

pytestmark = pytest.mark.system


def test_a_token_file_that_cannot_be_used_is_an_alert_though_nobody_asks_for_anything_and_ends_when_it_is_mended(
    build: Build, tmp_path: Path
) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text("good\n")
    house = build(workers={"token_file": str(tokens)})
    good_version(house.models, "dtmf-v1.0")
    house.start("dtmf-v1.0")
    url = f"http://127.0.0.1:{house.port}"

    def refusing() -> list[dict[str, Any]]:
        found = house.api.get("/v1/alerts").data["alerts"]
        return [alert for alert in found if alert["name"] == "worker_refusing" and alert["state"] == "firing"]

    assert not refusing() and asking.get(f"{url}/ready").status_code == 200
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "fifo").rename(tokens)
    # Nobody asks for anything meanwhile: a worker at rest tells how it is every 20 s.
    eventually(lambda: len(refusing()) == 2)
    assert all("no token is accepted" in alert["message"] for alert in refusing())
    assert asking.get(f"{url}/ready").status_code == 503
    (tmp_path / "mended").write_text("good\n")
    (tmp_path / "mended").rename(tokens)
    assert asking.get(f"{url}/ready").status_code == 200
    eventually(lambda: not refusing())
