"""Nothing that may wait for a disk or a name server is called on an event loop, in the whole life of a service."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
from pathlib import Path

import pytest
from tests import loop_watch
from tests.house import House, clip, free_port
from tests.support import PATIENCE_SECONDS, eventually
from tests.system.conftest import Build
from tests.versions import good_version

pytestmark = pytest.mark.system

ALLOWED: dict[tuple[str, str], str] = {
    ("daemon.processes:spawn", "subprocess.Popen"): (
        "a child is started by fork and exec, which hold the process up on any thread; its program is in memory"
    ),
}
"""(function, call) → why it may stay on the loop."""


@pytest.fixture
def found(tmp_path: Path) -> Path:
    """Where daemon and workers report what they called."""
    return tmp_path / "found"


@pytest.fixture
def town(build: Build, tmp_path: Path, found: Path) -> House:
    """Two workers and a panel that ask for tokens, and uploads that are swept."""
    uploads = tmp_path / "uploads"
    uploads.mkdir()
    (uploads / "old").write_bytes(bytes(1000))
    tokens = tmp_path / "tokens"
    tokens.write_text("secret\n")
    house = build(
        disk={"min_age": 0, "class": [{"name": "uploads", "path": str(uploads), "max_bytes": 100}]},
        workers={"count": 2, "token_file": str(tokens)},
        panel={"listen": f"localhost:{free_port()}", "token_file": str(tokens)},
    )
    house.import_from = (loop_watch.site(tmp_path / "site", found),)
    return house


def _ask(port: int, method: str, path: str, token: str = "secret", body: bytes = b"") -> int:
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_SECONDS)) as connection:
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "audio/wav", "X-Modelward": "1"}
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        response.read()
        return response.status


def _whole_life(town: House) -> None:
    panel = int(str(town.settings["panel"]["listen"]).rpartition(":")[2])
    tokens = Path(str(town.settings["workers"]["token_file"]))
    good_version(town.models, "dtmf-v1.0")
    town.start("dtmf-v1.0")
    assert _ask(town.port, "POST", "/api/predict", body=clip()) == 200
    assert _ask(town.port, "GET", "/metrics") == 200
    assert _ask(town.port, "POST", "/v1/jobs", body=clip()) == 202
    (job,) = eventually(lambda: [path for path in (town.root / "state" / "jobs").iterdir() if path.name[0] != "."])
    assert _ask(town.port, "GET", f"/v1/jobs/{job.name}") == 200
    eventually((job / "outcome.json").exists)
    assert _ask(town.port, "GET", f"/v1/jobs/{job.name}/result") == 200
    assert _ask(town.port, "DELETE", f"/v1/jobs/{job.name}") == 200
    for path in ("/", "/v1/status", "/v1/history", "/v1/versions", "/metrics"):
        assert _ask(panel, "GET", path) in (200, 404), path
    good_version(town.models, "dtmf-v1.1", words=True)  # judged, rolled out, swapped
    town.await_serving("dtmf-v1.1")
    town.command("validate", version="dtmf-v1.1")
    town.command("rollback")
    town.await_serving("dtmf-v1.0")

    tokens.write_text("other\n")
    eventually(lambda: _ask(town.port, "GET", "/v1/models", token="other") == 200)
    eventually(lambda: _ask(panel, "GET", "/v1/status", token="other") == 200)
    assert _ask(town.port, "GET", "/v1/models") == 401
    assert _ask(town.port, "POST", "/api/reload-model", token="other") == 200
    text = town.config.read_text().replace("drain = 10", "drain = 9")
    town.config.write_text(text)
    assert town.process is not None
    os.kill(town.process.pid, signal.SIGHUP)
    eventually(lambda: any(e["kind"] == "config-reloaded" for e in town.history()))

    town.api.post("/v1/sweep", {"dry_run": False})
    town.api.post("/v1/rotate", {"force": True})
    town.api.get("/v1/logs")
    before = set(town.worker_pids())
    os.kill(next(iter(before)), signal.SIGKILL)
    eventually(lambda: len(set(town.worker_pids()) - before) == 1)
    town.await_serving("dtmf-v1.0")
    town.command("restart")
    town.stop()


def test_nothing_in_the_life_of_daemon_and_workers_may_wait_for_a_disk_on_an_event_loop(
    town: House, found: Path
) -> None:
    _whole_life(town)
    assert loop_watch.watched(found) == {"daemon", "worker"}
    calls = [call for call in loop_watch.blocking(found) if (call.by, call.what) not in ALLOWED]
    assert calls == [], "\n" + "\n".join(map(str, calls))
