"""A model is served from a terminal, for real: what is printed is true, and nothing is left when the terminal goes."""

from __future__ import annotations

import os
import pty
import re
import shlex
import signal
import socket
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from urllib.request import urlopen

import pytest
from tests.daemon.cli.conftest import Call, processes_that_name
from tests.support import PATIENCE_SECONDS, ended_after, eventually
from tests.versions import good_version

from modelward.daemon.cli.client import Client
from modelward.daemon.cli.foreground import free_port
from modelward.daemon.cli.serve_home import config_text, home_of
from modelward.daemon.config.load import load

pytestmark = pytest.mark.system

CODE = "import sys; from modelward.daemon.cli import main; sys.exit(main(sys.argv[1:]))"


@contextmanager
def served(*argv: str) -> Iterator[subprocess.Popen[str]]:
    """`serve` in a process of its own, interrupted at the end if it still runs."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen([sys.executable, "-c", CODE, "serve", *argv], **pipes, text=True)  # type: ignore[call-overload]
    with ended_after(process):
        try:
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
                with suppress(subprocess.TimeoutExpired):
                    process.communicate(timeout=PATIENCE_SECONDS)


def output(process: subprocess.Popen[str]) -> list[str]:
    """What it prints until its last line, which is a command."""
    assert process.stdout is not None
    lines: list[str] = []
    for line in process.stdout:
        lines.append(line.rstrip("\n"))
        if line.startswith("  "):
            return lines
    raise AssertionError(f"it ended: {lines} {process.communicate()}")


def cache(root: Path, version: Path) -> Path:
    """A repository in a cache of Hugging Face: the version's files are links to others."""
    snapshot = root / "models--org--dtmf" / "snapshots" / ("a" * 40)
    blobs = snapshot.parents[1] / "blobs"
    for path in [path for path in version.rglob("*") if path.is_file()]:
        name = path.relative_to(version)
        blob, place = blobs / str(name).encode().hex(), snapshot / name
        for directory in (blobs, place.parent):
            directory.mkdir(parents=True, exist_ok=True)
        path.rename(blob)
        place.symlink_to(os.path.relpath(blob, place.parent))
    return root


def quick(root: Path) -> str:
    """Writes a home's configuration as a user changes it: one worker, nothing compiled, nothing watched for a while."""
    home = home_of({}, "", root)
    home.home.mkdir()
    text = config_text(home, home.models, free_port(0), free_port(0))
    changed = text.replace('golden = ""', 'golden = ""\ncompile = "off"\n\n[rollout]\nbake = 0')
    changed = changed.replace("count = 0", "count = 1")
    home.config.write_text(changed)
    return changed


def test_a_cache_then_an_archive_then_a_model_root_is_served_and_nothing_is_left_when_the_terminal_goes(
    short_path: Path, call: Call
) -> None:
    home, words = short_path / "home", good_version(short_path, "dtmf-words", words=True)
    configuration = quick(home)
    hub = cache(short_path / "hub", good_version(short_path, "source"))
    with served(str(hub), "--home", str(home)) as process:
        lines = output(process)
        text = "\n".join(lines)
        assert re.match(rf"dtmf \(\S+\) is copied from \S+ to {home}/models\nvalidating dtmf\nok +sandbox ", text)
        assert [line.split()[1] for line in lines if line.startswith(("ok ", "warning "))][:3] == [
            "sandbox",
            "layout",
            "integrity",
        ]
        (address,) = re.findall(r"^service: (http://127\.0\.0\.1:\d+)$", text, re.MULTILINE)
        assert re.search(r"^live: dtmf, \d", text, re.MULTILINE)
        assert re.search(r"^panel: http://127\.0\.0\.1:\d+/#login=", text, re.MULTILINE)
        for line in (f"model root: {home}/models", f"logs: {home}/logs", f"configuration: {home}/modelward.toml"):
            assert line in lines
        command = shlex.split(lines[-1])[1:]
        assert command[0] == "transcribe" and command[-1].startswith(f"{home}/models/dtmf/golden/")
        assert call(*command, *([] if "--url" in command else ["--url", address])).status == 0

        second = call("serve", str(hub), "--home", str(home))
        assert second.status == 1
        assert f"a daemon of {home} runs already and answers on {address}; a version" in second.err
        assert re.search(r"; `kill \d+` ends it\n$", second.err)

        process.send_signal(signal.SIGHUP)
        _out, err = process.communicate(timeout=PATIENCE_SECONDS)
    assert (process.returncode, err) == (0, "")
    assert processes_that_name(str(short_path)) == []

    for name in ("model_quant.onnx", "model.pt"):
        (words / name).write_bytes((words / "model.onnx").read_bytes())
    archive = short_path / "dtmf.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(words, "dtmf-words")
    for given, said in (
        (archive, rf"dtmf-2 \(\S+\) is copied from {archive} to {home}/models"),
        (home / "models", f"{home}/models is a model root; it is used where it lies"),
    ):
        with served(str(given), "--home", str(home)) as process:
            lines = output(process)
            assert re.fullmatch(said, lines[0])
            assert any(line.startswith("live: dtmf-2, ") for line in lines)
            assert Client(str(home / "run" / "api.sock")).get("/v1/status").data["live"] == "dtmf-2"
            process.send_signal(signal.SIGINT)
            assert process.wait(PATIENCE_SECONDS) == 0
    assert processes_that_name(str(short_path)) == []
    assert (home / "modelward.toml").read_text() == configuration
    graphs = {path.name for path in (home / "models" / "dtmf-2").iterdir()} & {
        "model_quant.onnx",
        "model.onnx",
        "model.pt",
    }
    assert graphs == {"model_quant.onnx"}
    assert sorted(os.listdir(home / "models")) == ["current", "dtmf", "dtmf-2"]


def test_killed_it_keeps_its_port_and_workers_while_they_serve_and_else_takes_them_with_it(short_path: Path) -> None:
    home, version = short_path / "home", good_version(short_path, "v1")
    quick(home)
    api = Client(str(home / "run" / "api.sock"))
    with served(str(version), "--home", str(home)) as process:
        (address,) = (line for line in output(process) if line.startswith("service: "))
        eventually(lambda: api.get("/v1/status").data["live"] == "v1" and not api.get("/v1/status").data["rollout"])
        workers = {worker["pid"] for worker in api.get("/v1/workers").data["workers"]}
        process.send_signal(signal.SIGSTOP)  # so that it does not start another daemon
        os.kill(api.get("/v1/status").data["pid"], signal.SIGKILL)
        process.kill()
        process.wait()
    with (
        asked_on_and_on(address.removeprefix("service: ")) as statuses,
        served(str(version), "--home", str(home)) as on,
    ):
        assert address in output(on)
        assert {worker["pid"] for worker in api.get("/v1/workers").data["workers"]} == workers
        assert set(statuses) == {"200"}
        statuses.append("the end")
        on.kill()
        on.wait()
        eventually(lambda: processes_that_name(str(short_path)) == [])


@contextmanager
def asked_on_and_on(url: str) -> Iterator[list[str]]:
    """The statuses of requests to the service, one after another until one is not 200, or why there is none."""
    statuses: list[str] = []

    def ask() -> None:
        while set(statuses) <= {"200"}:
            try:
                with urlopen(f"{url}/health", timeout=PATIENCE_SECONDS) as answer:
                    statuses.append(str(answer.status))
            except OSError as e:
                statuses.append(repr(e))

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield statuses
    finally:
        statuses.append("the end")
        thread.join(PATIENCE_SECONDS)


def test_a_port_that_another_program_takes_while_it_begins_is_changed_once_more(short_path: Path) -> None:
    version = good_version(short_path, "v1")
    with ExitStack() as stack, served(str(version), "--home", str(short_path / "home")) as process:
        assert process.stdout is not None
        (port,) = re.findall(r"taken; port (\d+) is used instead", process.stdout.readline())
        with suppress(OSError):  # on a machine that is very busy it has the port by now
            stack.enter_context(socket.create_server(("127.0.0.1", int(port))))
            assert f"service: http://127.0.0.1:{port}" not in output(process)


def test_sigquit_ends_it_as_an_interrupt_does_also_before_it_is_live(short_path: Path) -> None:
    version = good_version(short_path, "v1")
    quick(short_path / "home")
    with served(str(version), "--home", str(short_path / "home")) as process:
        assert process.stdout is not None and "is copied" in process.stdout.readline()
        process.send_signal(signal.SIGQUIT)
        _out, err = process.communicate(timeout=PATIENCE_SECONDS)
    assert (process.returncode, err) == (130, "")
    assert processes_that_name(str(short_path)) == []


@pytest.mark.parametrize(
    ("old", "new", "because"),
    [
        ('root = "{home}/models"', 'root = "/proc/none"', "cannot make /proc/none: .* names it in"),
        ("127.0.0.1:7860", "127.0.0.1:{port}", "cannot listen on 127.0.0.1:{port}: .*; change workers.listen in"),
    ],
)  # fmt: skip
def test_a_changed_configuration_that_cannot_work_is_one_sentence(
    short_path: Path, call: Call, old: str, new: str, because: str
) -> None:
    home, version = home_of({}, "", short_path / "home"), good_version(short_path, "v1")
    home.home.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        words = {"home": str(home.home), "port": taken.getsockname()[1]}
        text = config_text(home, home.models, 7860, 5000).replace("count = 0", "count = 1")
        home.config.write_text(text.replace(old.format(**words), new.format(**words)))
        done = call("serve", str(version), "--home", str(home.home))
    assert done.status == 1 and re.match(because.format(**words), done.err) and done.err.count("\n") == 1


def test_the_runtime_directory_and_the_model_root_of_a_changed_configuration_are_used(short_path: Path) -> None:
    home, version = short_path / "home", good_version(short_path, "v1")
    changed = quick(home).replace(f"{home}/run", f"{short_path}/r").replace(f"{home}/models", f"{short_path}/m/n")
    (home / "modelward.toml").write_text(changed)
    with served(str(version), "--home", str(home)) as process:
        assert f"socket of the commands: {short_path}/r/api.sock" in output(process)
        assert Client(f"{short_path}/r/api.sock").get("/v1/status").data["ready"]
        assert (short_path / "m" / "n" / "v1").is_dir() and not (home / "run").exists()


def test_a_home_whose_sockets_would_have_too_long_paths_is_one_sentence(short_path: Path, call: Call) -> None:
    home = short_path / ("x" * 90)
    done = call("serve", str(good_version(short_path, "v1")), "--home", str(home))
    assert done.status == 1 and done.err.startswith(f"cannot use {home}/run: it has ") and not home.exists()


def test_a_version_that_is_refused_ends_it_with_the_reason(short_path: Path, call: Call) -> None:
    version = good_version(short_path, "broken")
    (version / "tokens.json").unlink()
    done = call("serve", str(version), "--home", str(short_path / "home"))
    assert done.status == 1
    assert "cannot serve broken: " in done.err and "neither tokens.json nor tokens.txt is there" in done.err
    assert re.search(r"^FAILED +\w+", done.out, re.MULTILINE) and "live:" not in done.out
    assert not (short_path / "home" / "models" / "broken").exists()
    assert processes_that_name(str(short_path)) == []


@pytest.mark.parametrize(
    ("made", "because"),
    [
        ("none", "there is no such file or directory"),
        ("empty/notes.txt", "there is no model in it"),
        ("torch/model.pt", "it has a model of PyTorch alone"),
    ],
)
def test_what_holds_no_model_is_said_before_anything_is_made(
    short_path: Path, call: Call, made: str, because: str
) -> None:
    if made != "none":
        (short_path / made).parent.mkdir()
        (short_path / made).write_text("x")
    done = call("serve", str(short_path / made.partition("/")[0]), "--home", str(short_path / "home"))
    assert (done.status, done.out) == (1, "") and because in done.err
    assert not (short_path / "home").exists()


def test_a_home_that_cannot_be_made_is_one_sentence(short_path: Path, call: Call) -> None:
    version = good_version(short_path, "v1")
    (short_path / "file").write_text("x")
    done = call("serve", str(version), "--home", str(short_path / "file" / "home"))
    assert done.status == 1
    assert done.err == f"cannot make {short_path}/file/home: Not a directory; --home DIR names another place\n"


def test_a_configuration_that_the_user_changed_is_kept_and_a_root_that_it_does_not_name_is_refused(
    short_path: Path, call: Call
) -> None:
    home = home_of({}, "", short_path / "home")
    home.home.mkdir()
    home.models.mkdir()
    changed = config_text(home, home.models, 7860, 5000).replace("count = 0", "count = 1")
    home.config.write_text(changed)
    good_version(short_path / "root", "v1")
    done = call("serve", str(short_path / "root"), "--home", str(home.home))
    assert done.status == 1
    assert f"{home.config} was changed by hand and has models.root = {home.models}" in done.err
    assert home.config.read_text() == changed


def test_run_prints_addresses_and_paths_on_a_terminal(short_path: Path) -> None:
    home = home_of({}, "", short_path)
    (home.models).mkdir()
    home.config.write_text(config_text(home, home.models, free_port(0), free_port(0)))
    listen = load(home.config).workers.listen
    ours, terminal = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", CODE, "run", "--config", str(home.config)], stdin=terminal, stdout=terminal
    )
    os.close(terminal)
    with ended_after(process):
        shown = b""
        while b"configuration: " not in shown:
            shown += os.read(ours, 4096)
        process.terminate()
        eventually(lambda: process.poll() is not None)
    os.close(ours)
    lines = shown.decode().replace("\r", "").splitlines()
    assert lines[0] == f"service: http://{listen}"
    assert lines[1].startswith("panel: http://127.0.0.1:") and "#login=" in lines[1]
    assert f"model root: {home.models}" in lines and f"logs: {short_path}/logs" in lines
