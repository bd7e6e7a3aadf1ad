"""A fake daemon and a way to call a command and see all it did."""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import NamedTuple

import pytest
from tests.fakes.admin import FakeAdmin, fake_admin

from modelward.daemon.cli import main
from modelward.daemon.cli.foreground import PANEL_PORT, SERVICE_PORT


class Outcome(NamedTuple):
    """What a command left."""

    status: int
    out: str
    err: str


Call = Callable[..., Outcome]


@pytest.fixture
def admin(tmp_path: Path) -> Iterator[FakeAdmin]:
    """A fake daemon."""
    with fake_admin(tmp_path / "api.sock") as fake:
        yield fake


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Call:
    """Runs a command in this process."""

    def run(*argv: str) -> Outcome:
        capsys.readouterr()
        status = main(argv)
        out, err = capsys.readouterr()
        return Outcome(status, out, err)

    return run


@pytest.fixture
def ask(call: Call, admin: FakeAdmin) -> Call:
    """Runs a command against the fake daemon."""

    def run(*argv: str) -> Outcome:
        return call(*argv, "--socket", str(admin.socket_path))

    return run


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A new directory; pytest's own grow too long for sockets below it."""
    with tempfile.TemporaryDirectory(prefix="md-", ignore_cleanup_errors=True) as name:
        yield Path(name)


def processes_that_name(text: str) -> list[str]:
    """The command lines, of all that runs, that hold a text."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes()
        except OSError:
            continue
        if text.encode() in line and int(path.parent.name) != os.getpid():
            found.append(line.decode(errors="replace"))
    return found


@pytest.fixture(scope="session", autouse=True)
def default_ports_are_taken() -> Iterator[None]:
    """The default ports belong to one process of a run: two demos that begin together would both find them free."""
    with ExitStack() as stack:
        for port in (SERVICE_PORT, PANEL_PORT):
            with suppress(OSError):  # another process of this run has it
                stack.enter_context(socket.create_server(("127.0.0.1", port)))
        yield
