"""The newcomer's first minute, for real: build, start, answer, and leave nothing behind."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from tests.daemon.cli.conftest import Call, processes_that_name
from tests.support import PATIENCE_SECONDS, ended_after, eventually

from modelward.daemon.cli.client import Client

pytestmark = pytest.mark.system


@contextmanager
def demo(*argv: str, tmp: Path) -> Iterator[subprocess.Popen[str]]:
    """A demo in a process of its own, interrupted at the end if it still runs; if that does not help, killed."""
    tmp.mkdir(exist_ok=True)
    code = "import sys; from modelward.daemon.cli import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, "demo", *argv]
    environ = {**os.environ, "TMPDIR": str(tmp)}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with ended_after(subprocess.Popen(command, **pipes, text=True, env=environ)) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
                with suppress(subprocess.TimeoutExpired):
                    process.communicate(timeout=PATIENCE_SECONDS)


def test_answers_once_and_cleans_up_when_it_is_only_checked(short_path: Path) -> None:
    with demo("--check", tmp=short_path / "t") as process:
        out, err = process.communicate(timeout=PATIENCE_SECONDS)
    assert (process.returncode, err) == (0, "")
    assert out.splitlines()[-1] == "5551234"
    assert list((short_path / "t").iterdir()) == []
    assert processes_that_name(str(short_path)) == []


def _dies_and_is_back(process: subprocess.Popen[str], client: Client) -> None:
    """Kills the demo's daemon: the demo reports it, and a new daemon has the workers that served on."""
    before = client.get("/v1/status").data["pid"]
    workers = {w["pid"] for w in client.get("/v1/workers").data["workers"]}
    os.kill(before, signal.SIGKILL)
    assert process.stdout is not None
    said = process.stdout.readline()
    assert "the daemon ended with status -9" in said and "its workers serve on; starting it again" in said
    assert process.stdout.readline().startswith("the daemon is back, with the workers that serve on")
    assert client.get("/v1/status").data["pid"] != before
    assert {w["pid"] for w in client.get("/v1/workers").data["workers"]} == workers


def test_what_it_says_to_paste_works_a_killed_daemon_is_started_again_and_an_interrupt_ends_everything(
    short_path: Path, call: Call
) -> None:
    root = short_path / "d"
    with demo("--dir", str(root), tmp=short_path / "t") as process:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line.strip())
            if line.startswith("Ctrl-C"):
                break
        assert lines[-1].startswith("Ctrl-C"), process.communicate()
        url = re.findall(r"http://127\.0\.0\.1:\d+", "\n".join(lines))[0]
        socket_path, clip = str(root / "run" / "api.sock"), str(root / "clips" / "5551234.wav")
        copies = [shlex.split(line) for line in lines if line.startswith("cp -r")]

        subprocess.run(copies[0], check=True, timeout=PATIENCE_SECONDS)
        eventually(lambda: Client(socket_path).get("/v1/status").data["live"] == "dtmf-v1.1")
        eventually(lambda: call("transcribe", "--url", url, clip).out == "five five five one two three four\n")

        subprocess.run(copies[1], check=True, timeout=PATIENCE_SECONDS)
        eventually(lambda: "rejected" in call("versions", "--socket", socket_path).out)

        back = call("rollback", "--socket", socket_path)
        assert (back.status, back.out) == (0, "serving dtmf-v1.0\n")
        assert call("transcribe", "--url", url, clip).out == "5551234\n"
        assert "rolled back from dtmf-v1.1" in call("history", "--socket", socket_path).out

        _dies_and_is_back(process, Client(socket_path))
        assert call("transcribe", "--url", url, clip).out == "5551234\n"

        process.send_signal(signal.SIGINT)
        _out, err = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 0 and "Traceback" not in err, err
    assert (root / "logs" / "modelward.log").stat().st_size > 0
    assert processes_that_name(str(short_path)) == []


def test_a_daemon_that_cannot_come_back_takes_its_workers_with_it_and_its_logs_stay(short_path: Path) -> None:
    with demo(tmp=short_path / "t") as process:
        assert process.stdout is not None
        assert any(line.startswith("Ctrl-C") for line in process.stdout)
        (root,) = (short_path / "t").iterdir()
        pid = Client(str(root / "run" / "api.sock")).get("/v1/status").data["pid"]
        (root / "modelward.toml").write_text("this is no configuration")
        os.kill(pid, signal.SIGKILL)
        out, err = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 1
    assert "cannot start the demo: the daemon ended with status" in err
    assert f"{root} stays, with the logs in it" in out
    assert (root / "logs" / "modelward.log").stat().st_size > 0
    assert processes_that_name(str(short_path)) == []


def test_an_interrupt_while_it_builds_ends_it_too(short_path: Path) -> None:
    with demo(tmp=short_path / "t") as process:
        assert process.stdout is not None
        assert any("building" in line for line in process.stdout)
        process.send_signal(signal.SIGQUIT)
        _out, err = process.communicate(timeout=PATIENCE_SECONDS)
    assert (process.returncode, err) == (130, "")
    assert list((short_path / "t").iterdir()) == []
    assert processes_that_name(str(short_path)) == []


@pytest.mark.parametrize("port", ["0", "-1", "65536"])
def test_a_port_that_there_cannot_be_is_a_mistake_of_the_call(call: Call, port: str) -> None:
    outcome = call("demo", "--port", port)
    assert (outcome.status, outcome.err) == (2, f"cannot listen on port {port}: 1 to 65535\n")
