"""A record and its files come through a directory and through https alike, from any byte on, within limits."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.fakes.certificates import server_context
from tests.fakes.https_site import Fault, HttpsSite, served
from tests.support import PATIENCE_SECONDS, soon

from modelward.daemon.fleet.engine import EngineAway, NotOffered, RecordEngine
from modelward.daemon.fleet.file_engine import FileEngine
from modelward.daemon.fleet.https_engine import HttpsEngine
from modelward.daemon.fleet.signature import MAX_SIGNED_BYTES

MODEL = os.urandom(300_000)


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, Path]:
    return server_context(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def stick(tmp_path: Path) -> Path:
    (tmp_path / "models/v 2/golden").mkdir(parents=True)
    (tmp_path / "record.json").write_bytes(b"the record")
    (tmp_path / "models/v 2/model.onnx").write_bytes(MODEL)
    (tmp_path / "models/v 2/golden/a.txt").write_bytes(b"text")
    return tmp_path


@pytest.fixture(params=["file", "https", "https without ranges"])
def engine(request: pytest.FixtureRequest, stick: Path, tls: tuple[ssl.SSLContext, Path]) -> Iterator[RecordEngine]:
    if request.param == "file":
        yield FileEngine(stick / "record.json")
        return
    with served(stick, tls[0], ranges=request.param == "https") as site:
        yield HttpsEngine(f"{site.url}record.json", ca_file=str(tls[1]))


def whole(engine: RecordEngine, source: str, name: str, offset: int = 0) -> bytes:
    async def read() -> bytes:
        return b"".join([data async for data in engine.file(source, name, offset)])

    return asyncio.run(read())


def test_the_record_and_each_file_come_whole_and_from_any_byte_on(engine: RecordEngine) -> None:
    assert asyncio.run(engine.record()) == b"the record"
    assert whole(engine, "models/v 2", "golden/a.txt") == b"text"
    for offset in (0, 1, 131_072, 200_001, len(MODEL) - 1, len(MODEL)):
        assert whole(engine, "models/v 2", "model.onnx", offset) == MODEL[offset:]
    with pytest.raises(NotOffered):
        whole(engine, "models/v 2", "missing")
    with pytest.raises(NotOffered):
        whole(engine, "object:models/v2", "model.onnx")
    asyncio.run(engine.close())


def test_a_record_that_is_too_large_is_not_read_to_its_end(engine: RecordEngine, stick: Path) -> None:
    (stick / "record.json").write_bytes(b"x" * (2 << 20))
    assert len(asyncio.run(engine.record())) == MAX_SIGNED_BYTES + 1


def test_a_link_on_a_stick_leads_nowhere_else(stick: Path, tmp_path: Path) -> None:
    (stick / "models/v 2/link").symlink_to("/etc/hostname")
    os.mkfifo(stick / "models/v 2/fifo")
    for name in ("link", "fifo"):
        with pytest.raises(EngineAway):
            whole(FileEngine(stick / "record.json"), "models/v 2", name)
    with pytest.raises(NotOffered):
        asyncio.run(FileEngine(tmp_path / "gone").record())


@pytest.fixture
def site(stick: Path, tls: tuple[ssl.SSLContext, Path]) -> Iterator[HttpsSite]:
    with served(stick, tls[0]) as found:
        yield found


def test_a_server_that_is_not_right_gives_a_reason(
    site: HttpsSite, tls: tuple[ssl.SSLContext, Path], tmp_path: Path
) -> None:
    url, ca_file = site.url, str(tls[1])
    for engine, because in (
        (HttpsEngine(f"{url}record.json"), "no trusted connection"),
        (HttpsEngine(f"{url}moved", ca_file=ca_file), "answered 302"),
        (HttpsEngine("https://127.0.0.1:1/record", ca_file=ca_file), "Connection refused"),
        (HttpsEngine(f"{url}record.json", ca_file=str(tmp_path / "missing")), "No such file"),
    ):
        with pytest.raises(EngineAway, match=because):
            asyncio.run(engine.record())


@pytest.mark.parametrize(
    ("fault", "because"),
    [("cut", "cut off|IncompleteRead"), ("error", "answered 500"), ("hangs", "TimeoutError")],
)
def test_an_answer_that_is_not_whole_is_none(
    site: HttpsSite, tls: tuple[ssl.SSLContext, Path], fault: Fault, because: str
) -> None:
    site.faults.append(fault)
    engine = HttpsEngine(f"{site.url}record.json", ca_file=str(tls[1]), silent_seconds=0.2)
    with pytest.raises(EngineAway, match=because):
        whole(engine, "models/v 2", "model.onnx")


def test_a_server_that_hangs_keeps_nobody_who_no_longer_wants_its_answer(
    site: HttpsSite, tls: tuple[ssl.SSLContext, Path]
) -> None:
    site.faults.append("hangs")
    engine = HttpsEngine(f"{site.url}record.json", ca_file=str(tls[1]), silent_seconds=3600.0)

    came = list[int]()

    async def cancelled() -> None:
        async def read() -> None:
            async for data in engine.file("models/v 2", "model.onnx", 0):
                came.append(len(data))

        reading = asyncio.create_task(read())
        await soon(lambda: sum(came) == len(MODEL) // 2)
        await asyncio.to_thread(len, came)  # by now a thread waits for the rest
        reading.cancel()
        await asyncio.wait_for(asyncio.gather(reading, return_exceptions=True), PATIENCE_SECONDS)

    asyncio.run(cancelled())


def test_a_token_goes_to_the_host_of_the_record_alone(
    site: HttpsSite, stick: Path, tls: tuple[ssl.SSLContext, Path], tmp_path: Path
) -> None:
    (tmp_path / "token").write_text("secret\n")
    engine = HttpsEngine(f"{site.url}record.json", token_file=str(tmp_path / "token"), ca_file=str(tls[1]))
    asyncio.run(engine.record())
    assert site.tokens == ["Bearer secret"]
    with served(stick, tls[0]) as other:
        whole(engine, f"{other.url}models/v 2".replace(" ", "%20"), "model.onnx")
        assert other.tokens == [""]
