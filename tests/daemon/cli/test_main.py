"""The argument tree, the exit statuses and the cost of starting a command."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from tests.daemon.cli.conftest import Call
from tests.fakes.admin import FakeAdmin
from tests.support import PATIENCE_SECONDS, ended_after, eventually

from modelward.daemon.cli import VERBS

CLIENTS = {
    "status": [],
    "versions": [],
    "activate": ["v1"],
    "rollback": [],
    "hold": ["v1"],
    "release": ["v1"],
    "workers": [],
    "restart": [],
    "history": [],
    "reload": [],
}
HEAVY = (
    "starlette",
    "uvicorn",
    "msgspec",
    "structlog",
    "watchdog",
    "asyncio",
    "numpy",
    "onnxruntime",
    "onnx",
)


def test_every_verb_explains_itself(call: Call) -> None:
    listing = call("--help")
    assert listing.status == 0
    for verb in VERBS:
        assert verb in listing.out
        alone = call(verb, "--help")
        assert alone.status == 0
        assert f"modelward {verb}" in alone.out


@pytest.mark.parametrize(
    "argv",
    [
        [],
        ["nonsense"],
        ["status", "--nonsense"],
        ["activate"],
        ["activate", "a", "b"],
        ["history", "-n", "x"],
        ["history", "-n", "0"],
        ["--nonsense"],
        ["transcribe"],
        ["transcribe", "a.wav", "--url", "nowhere"],
        ["transcribe", "a.wav", "--timeout", "-1"],
        ["transcribe", "a.wav", "--url", "http://h:99999"],
    ],
)
def test_a_call_that_makes_no_sense_ends_with_2_and_a_sentence(call: Call, argv: list[str]) -> None:
    outcome = call(*argv)
    assert outcome.status == 2
    assert outcome.err.startswith("cannot ")
    assert outcome.out == ""


@pytest.mark.parametrize("verb", CLIENTS)
def test_without_a_daemon_every_command_ends_with_3_and_a_hint(call: Call, tmp_path: Path, verb: str) -> None:
    outcome = call(verb, *CLIENTS[verb], "--socket", str(tmp_path / "none.sock"))
    assert outcome.status == 3
    assert outcome.err.startswith(
        f"cannot reach the daemon at {tmp_path}/none.sock: there is no such socket; is it running?"
    )
    assert outcome.err.count("\n") == 1


@pytest.mark.parametrize("verb", CLIENTS)
def test_a_refusal_ends_with_1_and_the_daemons_words(ask: Call, verb: str) -> None:
    outcome = ask(verb, *CLIENTS[verb])
    assert outcome.status == 1
    assert outcome.err.startswith(f"cannot do that: nothing at /v1/{verb}")


def test_prints_its_version(call: Call) -> None:
    assert call("--version").out.startswith("modelward ")


@pytest.mark.system
@pytest.mark.parametrize("verb", [*CLIENTS, "transcribe"])
def test_a_client_command_imports_nothing_heavy(tmp_path: Path, verb: str) -> None:
    arguments = [str(tmp_path / "none.wav")] if verb == "transcribe" else [*CLIENTS[verb], "--socket", "/nonexistent"]
    code = (
        "import sys\n"
        "from modelward.daemon.cli import main\n"
        f"main({[verb, *arguments]!r})\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=True
    )
    assert done.stdout.strip() == "[]"


def start(*argv: str, stdout: int = subprocess.PIPE) -> AbstractContextManager[subprocess.Popen[bytes]]:
    code = (
        "import signal, sys; from modelward.daemon.cli import main\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in what a shell started with &\n"
        f"sys.exit(main({list(argv)!r}))"
    )
    return ended_after(subprocess.Popen([sys.executable, "-c", code], stdout=stdout, stderr=subprocess.PIPE))


@pytest.mark.system
def test_a_reader_that_has_enough_causes_no_complaint(admin: FakeAdmin) -> None:
    entries = [{"id": n, "time": "2026-01-01T00:00:00Z", "kind": "x", "because": "y" * 1000} for n in range(500)]
    admin.reply("GET", "/v1/history", {"history": entries})
    reading, writing = os.pipe()
    with start("history", "--socket", str(admin.socket_path), stdout=writing) as process:
        os.close(writing)
        os.read(reading, 10)
        os.close(reading)
        _out, err = process.communicate(timeout=PATIENCE_SECONDS)
    assert (process.returncode, err) == (130, b"")


@pytest.mark.system
def test_an_interrupt_ends_quietly(admin: FakeAdmin) -> None:
    admin.reply("GET", "/v1/status", {"ready": True})
    admin.reply("GET", "/v1/workers", {"workers": []})
    with start("status", "--watch", "--socket", str(admin.socket_path)) as process:
        eventually(lambda: len(admin.asked) >= 3)
        process.send_signal(signal.SIGINT)
        _out, err = process.communicate(timeout=PATIENCE_SECONDS)
    assert (process.returncode, err) == (130, b"")


@pytest.mark.parametrize("verb", ["activate", "hold", "release", "restart", "validate"])
def test_a_name_that_a_shell_left_empty_is_a_mistake_of_the_call_and_not_all_or_here(call: Call, verb: str) -> None:
    outcome = call(verb, "")
    assert outcome.status == 2
    assert outcome.err.startswith(f"cannot run modelward {verb}: argument ")
    assert "it is empty" in outcome.err


@pytest.mark.system
def test_a_signal_waits_until_the_daemon_has_loaded(tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text("=")
    code = (
        "import signal\n"
        "from modelward.daemon.cli import main\n"
        f"assert main(['run', '--config', {str(tmp_path / 'bad.toml')!r}]) == 2\n"
        "print(*sorted(number.name for number in signal.pthread_sigmask(signal.SIG_BLOCK, ())))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=True
    )
    assert done.stdout.split() == ["SIGHUP", "SIGINT", "SIGQUIT", "SIGTERM", "SIGUSR1", "SIGUSR2"]


@pytest.mark.system
def test_a_closed_standard_descriptor_is_no_other_file(tmp_path: Path) -> None:
    code = (
        "import os, pathlib\n"
        "from modelward.daemon.cli import main\n"
        "main(['--version'])\n"
        "places = [os.readlink(f'/proc/self/fd/{n}') for n in range(3)]\n"
        "given = [os.get_inheritable(n) for n in range(3)]\n"
        f"pathlib.Path({str(tmp_path / 'seen')!r}).write_text(repr((places, given)))"
    )
    closed = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", sys.executable, "-c", code]
    subprocess.run(closed, timeout=PATIENCE_SECONDS, check=True)
    assert (tmp_path / "seen").read_text() == repr((["/dev/null"] * 3, [True] * 3))


@pytest.mark.parametrize("option", ["--socket", "--json", "--socket=/run/x.sock"])
def test_an_option_before_its_command_is_told_where_it_belongs(call: Call, option: str) -> None:
    done = call(option, "/run/x.sock", "status")
    assert done.status == 2
    assert f"{option.partition('=')[0]} belongs behind the command: modelward status" in done.err


def test_options_of_all_commands_stand_before_them(call: Call) -> None:
    assert call("--lang", "en", "status", "--socket", "/nowhere").status == 3
