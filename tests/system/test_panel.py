"""The panel of a whole daemon: the API as it describes itself, a flood of idle connections, many viewers."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from tests.examples import DEEP
from tests.house import House, free_port
from tests.support import PATIENCE_SECONDS, eventually
from tests.system.conftest import Build
from tests.versions import good_version

from modelward.daemon.state.store import MAX_HISTORY_ROWS, Store
from modelward.daemon.system.clock import SystemClock

pytestmark = pytest.mark.system
VIEWERS = 50
CORE_SHARE = 0.05
SLACK = 2.0
"""A core of a busy machine is slower than the one that the promise was measured on."""


class Panel:
    """A house with a panel, and its address."""

    def __init__(self, build: Build, **settings: dict[str, object]) -> None:
        self.port = free_port()
        self.house: House = build(panel={"listen": f"127.0.0.1:{self.port}"}, **settings)
        good_version(self.house.models, "dtmf-v1.0")

    def start(self) -> Panel:
        self.house.start("dtmf-v1.0")
        return self

    def get(self, path: str) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_SECONDS)
        with contextlib.closing(connection):
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read()

    @contextlib.contextmanager
    def viewers(self, count: int) -> Iterator[list[int]]:
        """So many readers of the live stream; the list counts the bytes that each has received."""
        received, sockets = [0] * count, []

        def read(number: int) -> None:
            with contextlib.suppress(OSError):
                while chunk := sockets[number].recv(65_536):
                    received[number] += len(chunk)

        for _ in range(count):
            viewer = socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE_SECONDS)
            viewer.sendall(b"GET /live HTTP/1.1\r\nHost: localhost\r\n\r\n")
            sockets.append(viewer)
        threads = [threading.Thread(target=read, args=(n,), daemon=True) for n in range(count)]
        for thread in threads:
            thread.start()
        try:
            yield received
        finally:
            for viewer in sockets:
                with contextlib.suppress(OSError):
                    viewer.shutdown(socket.SHUT_RDWR)
                viewer.close()
            for thread in threads:
                thread.join(PATIENCE_SECONDS)


def test_no_request_that_its_description_allows_makes_the_api_fail(build: Build) -> None:
    tool = shutil.which("schemathesis", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if tool is None:
        pytest.skip("schemathesis is not installed")
    panel = Panel(build, workers={"count": 1}).start()
    checks = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
    # With one worker: Python 3.11 can't parse its own source in two threads at a time (SystemError in ast.parse).
    done = subprocess.run(
        [
            tool, "run", f"http://127.0.0.1:{panel.port}/v1/openapi.json", "--header", "X-Modelward: 1",
            "--checks", checks, "--phases", "coverage,fuzzing", "--max-examples", "10" if DEEP else "3",
            "--workers", "1", "--request-timeout", "60", "--warnings", "off", "--no-color",
            *(("--max-time", "60") if DEEP else ()),  # fuzzing begins anew until it is over
        ],
        cwd=panel.house.root, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-1000:]
    panel.house.await_serving("dtmf-v1.0")


def test_a_thousand_idle_connections_do_not_disturb_the_daemon(build: Build) -> None:
    panel = Panel(build).start()
    assert panel.house.process is not None
    daemon = psutil.Process(panel.house.process.pid)
    before = daemon.num_fds()
    with contextlib.ExitStack() as stack:
        for _ in range(1000):
            stack.enter_context(socket.create_connection(("127.0.0.1", panel.port), timeout=PATIENCE_SECONDS))
        eventually(lambda: daemon.num_fds() < before + 300)
        assert panel.get("/v1/status")[0] == 200
        assert panel.house.status()["ready"] is True
        assert panel.house.transcribe()[0] == 200
    eventually(lambda: daemon.num_fds() < before + 20)


@pytest.mark.alone
def test_many_viewers_and_a_long_history_cost_little(build: Build) -> None:
    panel = Panel(build)
    path = panel.house.root / "state" / "state.db"
    Store(path, SystemClock()).close()
    rows = [(time.time(), "accepted", f"dtmf-v0.{n}", "all gates passed", "{}") for n in range(MAX_HISTORY_ROWS)]
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        db.executemany("INSERT INTO history (time, kind, version, because, detail) VALUES (?, ?, ?, ?, ?)", rows)
    panel.start()
    assert panel.house.process is not None
    daemon = psutil.Process(panel.house.process.pid)
    with panel.viewers(VIEWERS) as received, panel.house.load(2):
        eventually(lambda: min(received) > 1000)
        times, began = daemon.cpu_times(), time.monotonic()
        first = list(received)
        eventually(lambda: time.monotonic() - began > 5)
        later, seconds = daemon.cpu_times(), time.monotonic() - began
        used = (later.user + later.system - times.user - times.system) / seconds
        assert all(now > then for now, then in zip(received, first, strict=True))
    print(f"{VIEWERS} viewers, {MAX_HISTORY_ROWS} rows of history: {used:.1%} of a core")
    assert used < CORE_SHARE * SLACK
    status, body = panel.get("/v1/history?n=1000&before=5000")
    assert status == 200 and [e["id"] for e in json.loads(body)["history"]] == list(range(4999, 3999, -1))


def test_a_panel_that_cannot_be_opened_is_said_and_costs_the_service_nothing(build: Build) -> None:
    panel = Panel(build)
    with socket.create_server(("127.0.0.1", panel.port)):
        panel.start()
        assert "in use" in panel.house.status()["panel"]["problem"]
        assert panel.house.transcribe()[0] == 200
    eventually(lambda: not panel.house.status()["panel"]["problem"])
    assert panel.get("/")[0] == 200
