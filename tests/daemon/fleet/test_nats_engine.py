"""What machines, keepers and operators can do with a real server and the shipped rights, and what they cannot."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from tests.fakes.certificates import server_context
from tests.fleet_house import NatsServer, nats_server, newest_nats_server

from modelward.daemon.errors import Refused
from modelward.daemon.fleet import nats_publisher
from modelward.daemon.fleet.engine import EngineAway, NoRight, NotOffered
from modelward.daemon.fleet.keeper import Keeper
from modelward.daemon.fleet.nats_answers import ServerAnswer
from modelward.daemon.fleet.nats_connection import NatsAccess
from modelward.daemon.fleet.nats_engine import NatsEngine
from modelward.daemon.fleet.nats_names import FLEET, MODELS, PROGRESS, RECORD, REPORTS
from modelward.daemon.fleet.reports import MachineReport, encode_report
from modelward.daemon.fleet.waves import WaveProgress
from modelward.daemon.system.clock import SystemClock

from .records import record

DATA = os.urandom(1_000_003)
SOURCE = f"object:{MODELS}/v2-1"


class Clients:
    """One connection for each name; all of them end with the block."""

    def __init__(self, server: NatsServer) -> None:
        self._server, self._made = server, dict[str, NatsEngine]()

    def __getitem__(self, name: str) -> NatsEngine:
        if name not in self._made:
            seed = str(self._server.directory / f"{name}.nk")
            self._made[name] = NatsEngine(NatsAccess((self._server.url,), name, seed), SystemClock())
        return self._made[name]

    async def close(self) -> None:
        for engine in self._made.values():
            await engine.close()


@pytest.fixture(scope="module", params=["the system's", "the newest"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    program = newest_nats_server() if request.param == "the newest" else nats_server()
    server = NatsServer(tmp_path_factory.mktemp("nats"), program=program)
    for name in ("shop-1", "shop-2"):
        server.admit(name)
    for name in ("keeper-1", "keeper-2"):
        server.admit(name, "keeper")
    server.admit("operator", "operator")
    server.start()

    async def prepare(clients: Clients) -> None:
        with pytest.raises(NotOffered, match="modelward fleet publish"):
            await clients["operator"].record()
        assert len(await nats_publisher.prepare(clients["operator"].connection)) == 3
        assert await nats_publisher.prepare(clients["operator"].connection) == []
        await clients["operator"].keep_record(b"the record", 0)

    try:
        on(server, prepare)
        yield server
    finally:
        server.stop()


def on(server: NatsServer, work: Callable[[Clients], Awaitable[None]]) -> None:
    async def run() -> None:
        clients = Clients(server)
        try:
            await work(clients)
        finally:
            await clients.close()

    asyncio.run(run())


def test_a_machine_writes_its_own_report_and_nothing_else(server: NatsServer) -> None:
    async def work(clients: Clients) -> None:
        machine, other = clients["shop-1"], clients["shop-2"]
        await machine.put_report(MachineReport("shop-1", outcome="serving"))
        await other.put_report(MachineReport("shop-2", outcome="serving"))
        assert await machine.record() == b"the record"
        for forbidden in (
            machine.put_report(MachineReport("shop-2", outcome="failed")),
            machine.keep_record(b"another record", 1),
            machine.keep_progress(WaveProgress(9, 9), 0),
            machine.lease("shop-1", 1.0),
            machine.reports(),
            machine.drop_report("shop-2"),
            nats_publisher.prepare(machine.connection),
            clients["keeper-1"].keep_record(b"another record", 1),
            clients["keeper-1"].drop_report("shop-2"),
        ):
            with pytest.raises(NoRight, match="no right"):
                await forbidden
        reports = {received.report.name: received.report.outcome for received in await clients["keeper-1"].reports()}
        assert reports == {"shop-1": "serving", "shop-2": "serving"}

    on(server, work)


@pytest.mark.parametrize(
    ("name", "helps"),
    [("shop-3", "modelward fleet admit shop-3"), ("operator", "modelward fleet admit operator --role operator")],
)
def test_credentials_of_another_name_are_refused_with_the_command_that_helps(
    server: NatsServer, name: str, helps: str
) -> None:
    async def work(clients: Clients) -> None:
        engine = NatsEngine(NatsAccess((server.url,), name, str(server.directory / "shop-1.nk")), SystemClock())
        try:
            for request in (engine.record, engine.kept_progress, engine.record):
                with pytest.raises(NoRight, match=helps):
                    await request()
        finally:
            await engine.close()

    on(server, work)


def test_no_answer_that_a_machine_sends_elsewhere_changes_anything(server: NatsServer) -> None:
    """The server answers to any subject that a client names: in the account of the streams that would be a write."""

    async def work(clients: Clients) -> None:
        client = await clients["shop-1"].connection.client()
        kept = await clients["keeper-1"].kept_progress()
        own = encode_report(MachineReport("shop-1", outcome="waiting"))
        for place in (PROGRESS, RECORD, f"$KV.{REPORTS}.shop-2"):
            await client.publish(f"$KV.{REPORTS}.shop-1", own, reply=place)
            query = json.dumps({"last_by_subj": RECORD}).encode()
            await client.publish(f"$JS.API.DIRECT.GET.KV_{FLEET}", query, reply=place)
        await client.publish(f"$KV.{REPORTS}.shop-1", own, headers={"Nats-Rollup": "all"})
        await client.flush()
        await clients["shop-1"].put_report(MachineReport("shop-1", outcome="serving"))  # after all of these
        assert await clients["keeper-1"].kept_progress() == kept
        assert await clients["shop-2"].record() == b"the record"
        assert len(await clients["keeper-1"].reports()) == 2

    on(server, work)


def test_a_report_that_cannot_be_read_is_passed_over(server: NatsServer) -> None:
    async def work(clients: Clients) -> None:
        connection = clients["shop-2"].connection
        await connection.request(f"$KV.{REPORTS}.shop-2", b"{")
        assert {each.report.name for each in await clients["keeper-1"].reports()} == {"shop-1"}
        await connection.request(f"$KV.{REPORTS}.shop-2", encode_report(MachineReport("shop-1", outcome="failed")))
        assert [each.report.outcome for each in await clients["keeper-1"].reports()] == ["serving"]
        await clients["shop-2"].put_report(MachineReport("shop-2"))
        for name in ("*", "shop-*", "shop-9", ">"):
            assert not await clients["operator"].drop_report(name)
        assert await clients["operator"].drop_report("shop-2")
        assert [each.report.name for each in await clients["keeper-1"].reports()] == ["shop-1"]

    on(server, work)


def test_two_keepers_act_one_at_a_time_and_keep_one_step(server: NatsServer) -> None:
    async def work(clients: Clients) -> None:
        one, other = clients["keeper-1"], clients["keeper-2"]
        first, second = Keeper(one, "keeper-1"), Keeper(other, "keeper-2")
        wanted = record(not_before="")
        step = await first.step(wanted)
        assert step is not None and step.changed and step.step.progress.open == 1
        assert await second.step(wanted) is None
        assert await other.lease("keeper-2", 0.0) is not None  # that of the first one was not renewed for so long
        assert await first.step(wanted) is None
        kept = await other.kept_progress()
        assert await other.keep_progress(WaveProgress(wanted.sequence, 2), kept.revision)
        assert not await one.keep_progress(WaveProgress(wanted.sequence, 1), kept.revision)
        assert (await one.kept_progress()).progress.open == 2
        assert await second.step(record(sequence=wanted.sequence - 1)) is None

    on(server, work)


@pytest.mark.parametrize("beside", [True, False])
def test_a_file_is_read_from_any_byte(server: NatsServer, tmp_path: Path, beside: bool) -> None:
    (tmp_path / "a").write_bytes(DATA)
    (tmp_path / "b").write_bytes(DATA[::-1])

    async def work(clients: Clients) -> None:
        connection, into = clients["operator"].connection, f"v2-{int(beside)}"
        sent = list[str]()
        if beside:
            await nats_publisher.upload(connection, tmp_path, ["a"], into, sent.append)
            await nats_publisher.upload(connection, tmp_path, ["a"], into, sent.append)
        else:  # two at once: the chunks of one lie between those of the other
            await asyncio.gather(
                *(nats_publisher.upload(connection, tmp_path, [name], into, sent.append) for name in "ab")
            )
        assert sorted(sent) == (["a"] if beside else ["a", "b"])
        machine, source = clients["shop-1"], f"object:{MODELS}/{into}"
        for offset in (0, 1, 131_071, 131_072, 400_000, len(DATA) - 1):
            assert b"".join([data async for data in machine.file(source, "a", offset)]) == DATA[offset:]
        assert [data async for data in machine.file(source, "a", len(DATA))] == []
        with pytest.raises(NotOffered):
            await anext(aiter(machine.file(source, "c", 0)))

    on(server, work)


def test_a_new_record_wakes_a_machine(server: NatsServer) -> None:
    async def work(clients: Clients) -> None:
        machine = clients["shop-1"]
        await machine.record()
        operator = clients["operator"]
        kept = await operator.kept_record()
        assert await operator.keep_record(b"a newer record", kept.revision)
        assert not await operator.keep_record(b"a record of another command", kept.revision)
        await asyncio.wait_for(machine.wake(), 60)
        assert await machine.record() == b"a newer record"
        assert (await clients["operator"].records())[-2:] == [b"the record", b"a newer record"]

    on(server, work)


def test_streams_in_which_machines_could_harm_one_another_are_refused(tmp_path: Path) -> None:
    server = NatsServer(tmp_path / "nats")
    server.admit("operator", "operator")
    server.start()

    async def work(clients: Clients) -> None:
        connection = clients["operator"].connection
        config = {"name": f"KV_{REPORTS}", "subjects": [f"$KV.{REPORTS}.*"], "allow_direct": True, "storage": "file"}
        await connection.api(f"STREAM.CREATE.KV_{REPORTS}", config | {"allow_rollup_hdrs": True}, ServerAnswer)
        with pytest.raises(Refused, match="could remove the reports of all"):
            await nats_publisher.prepare(connection)
        await connection.api(f"STREAM.DELETE.KV_{REPORTS}", None, ServerAnswer)
        await connection.api(
            f"STREAM.CREATE.KV_{REPORTS}", config | {"duplicate_window": 120_000_000_000}, ServerAnswer
        )
        with pytest.raises(Refused, match="could fill the server's memory"):
            await nats_publisher.prepare(connection)

    try:
        on(server, work)
    finally:
        server.stop()


def test_a_server_whose_certificate_is_not_trusted_is_away_with_the_reason(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    _, authority = server_context(tmp_path)
    server = NatsServer(tmp_path / "nats", certificate=tmp_path / "server.pem")
    seed = server.admit("operator", "operator")
    server.start()

    async def run() -> None:
        trusting = NatsEngine(NatsAccess((server.url,), "operator", str(seed), str(authority)), SystemClock())
        await nats_publisher.prepare(trusting.connection)
        await trusting.keep_record(b"the record", 0)
        assert await trusting.record() == b"the record"
        await trusting.close()
        strange = NatsEngine(NatsAccess((server.url,), "operator", str(seed)), SystemClock())
        with pytest.raises(EngineAway, match="no connection to tls://.*certificate"):
            await strange.record()
        await strange.close()

    try:
        asyncio.run(run())
    finally:
        server.stop()
    assert "eof_received" not in caplog.text  # asyncio remarks it at the end of each such connection


def test_a_server_without_tls_gets_no_secret_of_one_that_requires_it(server: NatsServer, tmp_path: Path) -> None:
    _, authority = server_context(tmp_path)
    url, secret = server.url.replace("nats:", "tls:"), tmp_path / "secret"
    secret.write_text("shop-1:a password")

    async def run() -> None:
        for access in (
            NatsAccess((url,), "shop-1", str(secret)),
            NatsAccess((server.url,), "shop-1", "", str(authority)),
        ):
            with pytest.raises(EngineAway, match="offers no TLS"):
                await NatsEngine(access, SystemClock()).record()

    asyncio.run(run())


def test_a_server_that_is_not_there_is_away_with_the_reason(tmp_path: Path) -> None:
    async def run() -> None:
        engine = NatsEngine(NatsAccess(("nats://127.0.0.1:1",), "shop-1"), SystemClock())
        with pytest.raises(EngineAway, match="no connection to nats://127.0.0.1:1: Connection refused$"):
            await engine.record()
        seed = tmp_path / "shop-1.nk"
        seed.write_text("nothing of the kind")
        engine = NatsEngine(NatsAccess(("nats://127.0.0.1:1",), "shop-1", str(seed)), SystemClock())
        with pytest.raises(EngineAway, match="no credentials"):
            await engine.record()

    asyncio.run(run())
