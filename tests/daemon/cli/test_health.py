"""`modelward health` answers a container's health check by its status, and loads nothing that it does not need."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from tests.daemon.cli.conftest import Call
from tests.fakes.admin import FakeAdmin
from tests.support import PATIENCE_SECONDS, modules

from modelward.daemon.cli.socket_path import DEFAULT_SOCKET, socket_path


@pytest.mark.parametrize(
    ("words", "path", "answered", "status", "said"),
    [
        ((), "/ready", 200, 0, "ready\n"),
        ((), "/ready", 503, 1, "cannot take requests: no worker is ready; `modelward status` has the reason\n"),
        (("--alive",), "/health", 200, 0, "alive\n"),
        ((), "/ready", 404, 1, "cannot read the daemon's answer: status 404\n"),
    ],
)
def test_the_status_is_the_answer(
    ask: Call, admin: FakeAdmin, words: tuple[str, ...], path: str, answered: int, status: int, said: str
) -> None:
    admin.reply("GET", path, {"ready": answered == 200, "alive": True}, answered)
    outcome = ask("health", *words)
    assert (outcome.status, outcome.out + outcome.err) == (status, said)


def test_no_daemon_is_3_whatever_is_at_the_path(call: Call, tmp_path: Path) -> None:
    missing = call("health", "--socket", str(tmp_path / "x"))
    assert (missing.status, missing.err) == (3, f"cannot reach the daemon: {tmp_path}/x: No such file or directory\n")
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(tmp_path / "other"))
        other.listen()

        def greet() -> None:
            with other.accept()[0] as client:
                client.recv(4096)  # what is left unread would reset the connection
                client.sendall(b"hello\n")

        greeter = threading.Thread(target=greet)
        greeter.start()
        strange = call("health", "--socket", str(tmp_path / "other"))
        greeter.join(PATIENCE_SECONDS)
    assert strange.status == 3 and "answers in another language than HTTP" in strange.err


def test_it_loads_neither_http_nor_tls_nor_the_configuration() -> None:
    script = """
import sys
before = set(sys.modules)
from modelward.daemon.cli import main
main(["health", "--socket", "/x"])
loaded = [name for name in sys.modules.keys() - before if type(sys.modules[name]).__name__ != "LateModule"]
print(*loaded)
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": modules()},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        timeout=PATIENCE_SECONDS,
    )
    loaded = set(done.stdout.split())
    assert "modelward.daemon.cli.health" in loaded
    assert not loaded & {"http.client", "ssl", "asyncio", "msgspec", "modelward.daemon.config.schema"}


def test_the_socket_is_where_the_environment_puts_it() -> None:
    moved = {"MODELWARD_CONTROL__RUNTIME_DIR": "/tmp/run"}
    assert socket_path({}) == DEFAULT_SOCKET
    assert socket_path(moved) == "/tmp/run/api.sock"
    assert socket_path({**moved, "MODELWARD_SOCKET": "/x.sock"}) == "/x.sock"


@pytest.mark.system
def test_an_output_that_cannot_be_written_changes_no_status(admin: FakeAdmin) -> None:
    admin.reply("GET", "/ready", {"ready": True})
    with open("/dev/full", "w", encoding="utf-8") as full:
        done = subprocess.run(
            [sys.executable, "-m", "modelward.daemon", "health", "--socket", str(admin.socket_path)],
            env={**os.environ, "PYTHONPATH": modules()},
            stdout=full,
            stderr=subprocess.PIPE,
            timeout=PATIENCE_SECONDS,
        )
    assert (done.returncode, done.stderr) == (0, b"")
