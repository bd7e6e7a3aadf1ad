"""What an operator does with a server, by the command line alone: no machine and no keeper is there."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.fleet_house import KEY, OTHER_KEY, NatsServer, command, key_file
from tests.support import eventually

from modelward.daemon.fleet.engine import EngineAway
from modelward.daemon.fleet.manifest import sign_version
from modelward.daemon.fleet.nats_connection import NatsAccess
from modelward.daemon.fleet.nats_engine import NatsEngine
from modelward.daemon.system.clock import SystemClock
from modelward.worker.shared.minisign_keys import secret_file

Fleet = Callable[..., tuple[int, str]]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    server = NatsServer(tmp_path_factory.mktemp("nats"))
    server.admit("operator", "operator")
    server.start()
    yield server
    server.stop()


@pytest.fixture
def fleet(server: NatsServer, tmp_path: Path) -> Fleet:
    key = key_file(tmp_path)

    def run(word: str, *more: object) -> tuple[int, str]:
        seed = server.directory / "operator.nk"
        return command(word, *more, "--to", server.url, "--credentials", seed, "--key", key)

    return run


def version(place: Path, name: str) -> Path:
    directory = place / name
    directory.mkdir()
    (directory / "model.onnx").write_bytes(name.encode() * 1000)
    sign_version(directory, KEY, "timestamp:1")
    return directory


def progress(fleet: Fleet) -> dict[str, object]:
    found: dict[str, object] = json.loads(fleet("status", "--json")[1])["progress"]
    return found


def test_a_record_is_published_halted_resumed_and_taken_back(fleet: Fleet, tmp_path: Path) -> None:
    status, printed = fleet("status")
    assert status == 1 and printed.startswith("cannot find a fleet on the server, which answers: ")
    assert "`modelward fleet publish` makes it" in printed
    status, printed = fleet("publish", version(tmp_path, "v1"), "--waves", "5%,100%")
    assert status == 0 and "made the stream OBJ_modelward_models" in printed and "record 1 wants v1" in printed
    status, printed = fleet("back")
    assert (status, printed) == (
        1,
        'cannot go back: there is no record before the one that wants "v1"\n',
    )
    assert "record 2 wants v2" in fleet("publish", version(tmp_path, "v2"), "--waves", "canary,5%,100%")[1]
    assert fleet("halt", "--why", "clips from the north fail")[0] == 0
    shown = fleet("status")[1]
    assert "the rollout is halted: clips from the north fail" in shown and "canary" in shown and "5%" in shown
    assert fleet("resume")[0] == 0
    assert (progress(fleet).get("halted", ""), progress(fleet)["attempt"]) == ("", 2)
    assert "record 3 wants v1" in fleet("back")[1]
    status, printed = fleet("back")
    assert status == 1 and "the fleet goes back to it already" in printed
    assert "record 4 wants v2" in fleet("back", "v2")[1] and "record 5 wants v1" in fleet("back", "v1")[1]
    assert fleet("back", "v9") == (1, 'cannot go back: no earlier record wants "v9", or the present one wants it\n')
    assert fleet("drift") == (0, "all machines of open waves that were seen serve v1\n")
    for name in ("shop-3", "*", "shop-*"):
        status, printed = fleet("forget", name)
        assert status == 1 and "there is no report of it" in printed


def test_a_record_of_another_key_is_replaced_only_on_purpose(fleet: Fleet, tmp_path: Path) -> None:
    assert fleet("back")[0] == 1
    assert fleet("publish", version(tmp_path, "v1"), "--sequence", 7)[0] == 0
    status, printed = fleet("publish", tmp_path / "v1", "--sequence", 7)
    assert (status, "machines refuse number 7: leave --sequence out" in printed) == (1, True)
    (tmp_path / "fleet.key").write_bytes(secret_file(OTHER_KEY))
    status, printed = fleet("publish", tmp_path / "v1")
    assert status == 1 and "--sequence N replaces it" in printed
    assert "record 9 wants v1" in fleet("publish", tmp_path / "v1", "--sequence", 9)[1]


def test_what_cannot_be_is_refused_with_what_is_needed(fleet: Fleet, tmp_path: Path) -> None:
    assert fleet("publish")[0] == 2 and fleet("forget")[0] == 2
    assert command("admit", "no name")[0] == 2 and command("expel", "no name")[0] == 2
    for words in (("admit", "operator"), ("admit", "shop-1", "--role", "operator")):
        assert command(*words, "--dir", tmp_path) == (
            2, "cannot run modelward fleet admit: operator and --role operator belong together\n",
        )  # fmt: skip
    assert command("drift", "--to", tmp_path / "record.json")[0] == 2
    status, printed = command("status", "--to", "nats://127.0.0.1:1")
    assert status == 1 and printed.startswith("cannot reach the fleet: no connection to nats://127.0.0.1:1")
    (tmp_path / "machines.conf").write_text("accounts {}")
    status, printed = command("admit", "shop-1", "--dir", tmp_path)
    assert status == 1 and "was not written by" in printed and not (tmp_path / "shop-1.nk").exists()


def test_a_machine_that_is_expelled_reaches_nothing_and_its_name_may_be_admitted_again(
    server: NatsServer, fleet: Fleet, tmp_path: Path
) -> None:
    fleet("publish", version(tmp_path, "v1"), "--sequence", 100)
    assert server.process is not None
    stolen = tmp_path / "stolen.nk"
    stolen.write_bytes(server.admit("shop-1").read_bytes())
    server.signal(signal.SIGHUP)

    async def read(seed: Path) -> bytes:
        engine = NatsEngine(NatsAccess((server.url,), "shop-1", str(seed)), SystemClock())
        try:
            return await engine.record()
        except EngineAway:
            return b""
        finally:
            await engine.close()

    eventually(lambda: asyncio.run(read(stolen)))
    status, printed = command("status", "--to", server.url, "--credentials", stolen)
    assert status == 1 and printed.startswith("cannot do that on the server: the credentials are not those of an oper")
    status, printed = command("expel", "shop-1", "--dir", server.directory)
    assert status == 0 and "nats-server --signal reload" in printed and "modelward fleet forget shop-1" in printed
    server.signal(signal.SIGHUP)
    eventually(lambda: not asyncio.run(read(stolen)))
    status, printed = command("expel", "shop-1", "--dir", server.directory)
    assert status == 1 and "no file of users" in printed
    again = server.admit("shop-1")
    server.signal(signal.SIGHUP)
    eventually(lambda: asyncio.run(read(again)))
    assert not asyncio.run(read(stolen))
