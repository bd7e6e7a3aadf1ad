"""A server that versions filled: a rollout is halted and taken back, machines report, and nothing lies for ever."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from tests.fleet_house import KEY, NatsServer, command, key_file, nats_server, newest_nats_server

from modelward.daemon.cli.fleet_server import FleetPlace, on_server
from modelward.daemon.fleet.engine import NotOffered
from modelward.daemon.fleet.manifest import sign_version
from modelward.daemon.fleet.nats_answers import ServerAnswer, StreamAnswer
from modelward.daemon.fleet.nats_connection import NatsAccess
from modelward.daemon.fleet.nats_engine import NatsEngine
from modelward.daemon.fleet.nats_names import MODELS
from modelward.daemon.fleet.nats_objects import ABANDONED_SECONDS, STREAM, chunks, server_time, tidy
from modelward.daemon.fleet.nats_publisher import prepare
from modelward.daemon.fleet.nats_room import LEAST_REST_BYTES, MOST_REST_BYTES, limit_versions, versions_limit
from modelward.daemon.fleet.reports import MachineReport
from modelward.daemon.fleet.waves import WaveProgress
from modelward.daemon.system.clock import SystemClock

GIB = 1 << 30


@pytest.mark.parametrize(
    ("account", "replicas", "versions"),
    [
        (-1, 1, 0),
        (0, 1, 0),
        (10 << 20, 1, 5 << 20),
        (32 << 20, 1, (32 << 20) - LEAST_REST_BYTES),
        (10 * GIB, 1, 9 * GIB),
        (500 * GIB, 1, 500 * GIB - MOST_REST_BYTES),
        (10 * GIB, 3, 3 * GIB),
    ],
)
def test_versions_leave_a_part_of_the_storage_to_records_and_reports(
    account: int, replicas: int, versions: int
) -> None:
    assert versions_limit(account, replicas) == versions


@pytest.fixture(params=["the system's", "the newest"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[NatsServer]:
    program = newest_nats_server() if request.param == "the newest" else nats_server()
    server = NatsServer(tmp_path / "nats", program=program, storage="32MB")
    server.admit("operator", "operator")
    server.admit("shop-1")
    server.start()
    yield server
    server.stop()


def version(place: Path, name: str, megabytes: int) -> Path:
    directory = place / name
    directory.mkdir(parents=True)
    (directory / "model.onnx").write_bytes(os.urandom(megabytes << 20))
    sign_version(directory, KEY, "timestamp:1")
    return directory


def operator(server: NatsServer, work: Callable[[NatsEngine], Awaitable[object]]) -> object:
    return on_server(FleetPlace(server.url, str(server.directory / "operator.nk")), work)


def test_a_full_server_takes_no_halt_no_way_back_and_no_report_away(server: NatsServer, tmp_path: Path) -> None:
    access = ("--to", server.url, "--credentials", server.directory / "operator.nk", "--key", key_file(tmp_path))

    def fleet(*words: object) -> tuple[int, str]:
        return command(*words, *access)

    for name in ("v1", "v2", "v3", "v4"):  # the fourth has room only without the first
        status, printed = fleet("publish", version(tmp_path / "site", name, 7))
        assert status == 0, printed
    assert "only what the present and the former record want stays" in printed
    status, printed = fleet("publish", version(tmp_path / "site", "v5", 20))
    assert status == 1 and "no room on the server: 20.1MiB are needed, and beside what the present and " in printed
    assert "record 4 wants v4" in fleet("status")[1]  # and it is whole:

    async def read(engine: NatsEngine) -> int:
        bytes_there = 0
        for name in ("v3", "v4"):
            record = next(r for r in reversed(await engine.records()) if f"{name}-".encode() in r)
            source = record.decode().partition("object:")[2].partition('\\"')[0]
            async for data in engine.file(f"object:{source}", "model.onnx", 0):
                bytes_there += len(data)
        return bytes_there

    assert operator(server, read) == 2 * (7 << 20)

    async def fill(engine: NatsEngine) -> None:
        client = await engine.connection.client()
        stream = client.jetstream(timeout=30)
        with pytest.raises(Exception, match="maximum bytes exceeded"):
            while True:
                await stream.publish(chunks("filler"), os.urandom(128 << 10))

    operator(server, fill)

    async def report() -> None:
        seed = str(server.directory / "shop-1.nk")
        engine = NatsEngine(NatsAccess((server.url,), "shop-1", seed), SystemClock())
        await engine.put_report(MachineReport("shop-1", outcome="serving"))
        await engine.close()

    asyncio.run(report())
    assert fleet("halt", "--why", "they fail")[0] == 0
    assert "the rollout is halted: they fail" in fleet("status")[1]
    assert "record 5 wants v3" in fleet("back")[1]


def test_what_a_killed_publish_left_goes_and_what_is_under_way_stays(server: NatsServer, tmp_path: Path) -> None:
    access = ("--to", server.url, "--credentials", server.directory / "operator.nk", "--key", key_file(tmp_path))
    assert command("publish", version(tmp_path / "site", "v1", 1), *access)[0] == 0

    async def work(engine: NatsEngine) -> None:
        connection = engine.connection
        client = await connection.client()
        for _ in range(3):
            await client.jetstream(timeout=30).publish(chunks("killed"), os.urandom(100_000))
        now = await server_time(connection)
        directory = (await connection.subjects(STREAM, f"$O.{MODELS}.M.*", 9), await engine.records())
        assert await tidy(connection, await kept(engine), now) == 0  # it may be under way
        assert await tidy(connection, await kept(engine), now + ABANDONED_SECONDS) == 1
        assert chunks("killed") not in await connection.subjects(STREAM, f"$O.{MODELS}.C.*", 9)
        assert directory == (await connection.subjects(STREAM, f"$O.{MODELS}.M.*", 9), await engine.records())
        (source,) = await kept(engine)
        assert len([data async for data in engine.file(f"object:{MODELS}/{source}", "model.onnx", 0)]) == 8
        assert await tidy(connection, [], now) == 3
        with pytest.raises(NotOffered):
            await anext(aiter(engine.file(f"object:{MODELS}/{source}", "model.onnx", 0)))

    async def kept(engine: NatsEngine) -> list[str]:
        text = (await engine.record()).decode()
        return [text.partition(f"object:{MODELS}/")[2].partition('\\"')[0]]

    operator(server, work)


def test_what_was_removed_no_longer_counts_for_the_account(server: NatsServer) -> None:
    async def work(engine: NatsEngine) -> None:
        connection = engine.connection
        await prepare(connection)
        stream = (await connection.client()).jetstream(timeout=30)
        now = await server_time(connection) + ABANDONED_SECONDS
        for _ in range(4):  # more than the account has, taken together
            for name in ("one", "other", "one", "one"):
                for _ in range(3):
                    await stream.publish(chunks(name), os.urandom(1_000_000))
            assert await tidy(connection, [], now + ABANDONED_SECONDS) == 2
        assert not await connection.subjects(STREAM, f"$O.{MODELS}.C.*", 9)

    operator(server, work)


def test_an_upload_that_just_ended_is_named_where_it_takes_the_room(server: NatsServer, tmp_path: Path) -> None:
    access = ("--to", server.url, "--credentials", server.directory / "operator.nk", "--key", key_file(tmp_path))
    assert command("publish", version(tmp_path / "site", "v1", 1), *access)[0] == 0

    async def work(engine: NatsEngine) -> None:
        stream = (await engine.connection.client()).jetstream(timeout=30)
        for _ in range(20):
            await stream.publish(chunks("killed"), os.urandom(1_000_000))

    operator(server, work)
    status, printed = command("publish", version(tmp_path / "site", "v2", 7), *access)
    assert status == 1 and "what it left is removed after 2m: try again then" in printed


def test_a_stream_of_an_earlier_release_gets_a_limit_and_keeps_what_it_has(server: NatsServer) -> None:
    async def work(engine: NatsEngine) -> None:
        connection = engine.connection
        config = {"name": STREAM, "subjects": [f"$O.{MODELS}.C.>", f"$O.{MODELS}.M.>"], "storage": "file",
                  "discard": "new", "allow_direct": True, "allow_rollup_hdrs": True}  # fmt: skip
        await connection.api(f"STREAM.CREATE.{STREAM}", config, ServerAnswer)
        client = await connection.client()
        for _ in range(26):  # more than versions may take now
            await client.jetstream(timeout=30).publish(chunks("old"), os.urandom(1_000_000))
        assert await limit_versions(connection)
        found = await connection.api(f"STREAM.INFO.{STREAM}", None, StreamAnswer)
        assert found.config.max_bytes == found.state.bytes > 26_000_000
        assert (await connection.last(STREAM, chunks("old"))) is not None
        await tidy(connection, [], await server_time_of(engine) + ABANDONED_SECONDS)
        assert await limit_versions(connection)
        found = await connection.api(f"STREAM.INFO.{STREAM}", None, StreamAnswer)
        assert (found.config.max_bytes, found.state.bytes) == (versions_limit(32 << 20), 0)

    async def server_time_of(engine: NatsEngine) -> float:
        await engine.connection.api(
            "STREAM.CREATE.KV_modelward_fleet",
            {"name": "KV_modelward_fleet", "subjects": ["$KV.modelward_fleet.*"], "allow_direct": True},
            ServerAnswer,
        )
        assert await engine.keep_progress(WaveProgress(), 0)
        return await server_time(engine.connection)

    operator(server, work)
