"""Which uploads are let in and which one makes room, as pure decisions and over real connections."""

from __future__ import annotations

import asyncio
import http.client
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest
from tests import asking
from tests.support import PATIENCE_SECONDS, eventually
from tests.worker.http.serving import (
    Asking,
    post,
    raw,
    serving,
    wav,
)
from tests.worker.running import clip, digits, worker

from modelward.worker.http.acceptor import LINGERING_PART
from modelward.worker.http.client import client_named
from modelward.worker.http.connection import ConnectionLimits
from modelward.worker.http.upload_limits import (
    AT_ONCE,
    PIECE_SECONDS,
    SLOW_RATE,
    SMALL_BYTES,
    Full,
    TooSlow,
    Upload,
    Uploads,
    slow_ones,
    slowest,
)
from modelward.worker.scheduling.refusal import LASTING_SECONDS, OLD_SECONDS, Refusing

CONNECTIONS = 40
BEGUN = b"POST /api/predict HTTP/1.1\r\nHost: x\r\nContent-Type: audio/wav\r\nContent-Length: %d\r\n\r\nRIFF"


def upload(client: str, moved: int, began: float = 0.0) -> Upload:
    return Upload(client, began, bytes=moved, moved=moved)


@pytest.mark.parametrize(
    ("uploads", "client", "large", "ended"),
    [
        ([upload("a", 100), upload("b", 50)], "c", (), 1),
        ([upload("a", 100), upload("b", 50, began=9.95)], "c", (), 0),  # too new to be judged
        ([upload("a", 10 << 20), upload("b", 10 << 20)], "c", (), None),  # nobody is slow
        ([upload("a", 10 << 20), upload("b", 20 << 20)], "c", ("b",), 1),  # one client has too much
        ([upload("a", 10 << 20), upload("b", 20 << 20)], "b", ("b",), None),  # its own share is no reason
        ([], "c", (), None),
    ],
)
def test_the_slowest_that_is_slow_or_of_a_greedy_client_makes_room(
    uploads: list[Upload], client: str, large: tuple[str, ...], ended: int | None
) -> None:
    found = slowest(uploads, 10.0, at_least_seconds=0.1, large=large.__contains__, client=client)
    assert found is (None if ended is None else uploads[ended])


def test_of_the_uploads_that_anybody_may_end_the_slowest_is_the_last() -> None:
    found = slow_ones(
        uploads := [upload("a", 300), upload("b", 10 * SLOW_RATE), upload("c", 50), upload("d", 5, began=9.95)],
        10.0,
        at_least_seconds=0.1,
    )
    assert found == [uploads[0], uploads[2]]


@pytest.mark.parametrize(
    ("address", "client"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("", ""),
    ],
)
def test_a_client_is_its_address_or_its_network(address: str, client: str) -> None:
    assert client_named(address) == client


def test_an_upload_below_the_least_rate_is_ended_after_its_grace_and_a_stopped_process_ends_none() -> None:
    async def work() -> None:
        now = [0.0]
        uploads = Uploads(places=4, most_bytes=1000, least_rate=10, monotonic=lambda: now[0])

        async def read(rate: int) -> None:
            with uploads.held("a") as upload:
                async with uploads.reading(upload) as count:
                    for _ in range(15):
                        count(rate)
                        now[0] += 0.5
                        uploads._look()
                        now[0] += 0.5
                        uploads._look()
                        await asyncio.sleep(0)

        await read(12)
        with pytest.raises(TooSlow, match="less than 10 bytes a second"):
            await read(8)
        assert uploads.bytes == 0 and len(uploads) == 0
        with uploads.held("a") as upload:
            async with uploads.reading(upload) as count:
                count(1)
                for _ in range(5):
                    now[0] += 600  # suspended, or stopped
                    uploads._look()
                    await asyncio.sleep(0)

    asyncio.run(work())


def test_large_uploads_leave_the_loop_to_other_requests_between_their_pieces() -> None:
    async def work() -> None:
        requests, loop = 2, asyncio.get_running_loop()
        uploads = Uploads(places=4, most_bytes=1 << 30, least_rate=0, monotonic=loop.time, requests=lambda: requests)
        with uploads.held("a") as one, uploads.held("a") as other:
            async with uploads.reading(one) as count, uploads.reading(other) as count_other:
                count(SMALL_BYTES + 1)
                began = loop.time()
                count_other(100)
                for _ in range(100):
                    await uploads.give_way(SMALL_BYTES)
                    await uploads.give_way(SMALL_BYTES + 1)
                assert loop.time() - began >= 100 * PIECE_SECONDS
                count_other(SMALL_BYTES)
                waits = asyncio.create_task(uploads.give_way(SMALL_BYTES + 1))
                await asyncio.sleep(0)
                assert waits.done(), "nobody has anything else"

    asyncio.run(work())


def test_places_and_bytes_are_bounded_however_many_come() -> None:
    async def work() -> None:
        now = [0.0]
        uploads = Uploads(places=4, most_bytes=10_000, least_rate=0, monotonic=lambda: now[0])
        refused = ended = 0
        go = asyncio.Event()

        async def read(number: int) -> None:
            nonlocal refused, ended
            try:
                with uploads.held(f"client {number % 7}") as upload:
                    async with uploads.reading(upload) as count:
                        count(100)
                        await go.wait()
            except Full:
                refused += 1
            except TooSlow:
                ended += 1

        tasks = []
        for number in range(2 * AT_ONCE):
            tasks.append(asyncio.create_task(read(number)))
            await asyncio.sleep(0)
            assert len(uploads) <= AT_ONCE and uploads.bytes <= 10_000
            now[0] += 0.01
            if number % 50 == 0:
                uploads._look()
        for _ in range(4):
            now[0] += 0.5
            uploads._look()
        assert len(uploads) <= 4
        go.set()
        await asyncio.wait(tasks)
        assert refused + ended >= 2 * AT_ONCE - 4 and uploads.bytes == 0 and len(uploads) == 0

    asyncio.run(work())


def test_refusing_is_told_only_when_it_lasts_and_nothing_was_taken_between() -> None:
    now = [0.0]
    other = [""]
    refusing = Refusing(lambda: other[0], monotonic=lambda: now[0])
    refusing.refused("full")
    assert refusing.because() == ""
    now[0] += LASTING_SECONDS
    refusing.refused("full")
    assert refusing.because() == "full"
    refusing.taken()
    assert refusing.because() == ""
    refusing.refused("full")
    now[0] += OLD_SECONDS + 1
    assert refusing.because() == ""
    other[0] = "no token"
    assert refusing.because() == "no token"


def test_a_slow_upload_gets_408_and_its_connection_ends(tmp_path: Path) -> None:
    with serving(tmp_path, min_upload_rate=1 << 20) as served:
        answer = raw(served, BEGUN % 100_000)
        assert answer.startswith(b"HTTP/1.1 408 ") and b"less than 1048576 bytes a second" in answer
        assert b"connection: close" in answer.lower() and not answer.endswith(b"<still open>")
        assert post(served, wav(1)).status_code == 200


@contextmanager
def dripping(port: int, count: int, head: bytes) -> Iterator[None]:
    """So many connections that send `head` and then a byte now and then; those that end are opened anew."""
    over, full = threading.Event(), threading.Event()

    def drip() -> None:
        held: list[socket.socket] = []
        while not over.is_set():
            while len(held) < count and not over.is_set():
                with suppress(OSError):
                    connection = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS)
                    held.append(connection)
                    connection.sendall(head)
                    connection.setblocking(False)
            full.set()
            over.wait(0.5)
            held = [connection for connection in held if _alive(connection)]
        for connection in held:
            connection.close()

    thread = threading.Thread(target=drip, daemon=True)
    thread.start()
    assert full.wait(PATIENCE_SECONDS)
    try:
        yield
    finally:
        over.set()
        thread.join(PATIENCE_SECONDS)


def _alive(connection: socket.socket) -> bool:
    """Sends a byte; whether the connection goes on."""
    try:
        connection.send(b"a")
        if connection.recv(65536):
            return True
    except BlockingIOError:
        return True
    except OSError:
        pass
    connection.close()
    return False


def _status(port: int, method: str, path: str, body: bytes | None = None) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_SECONDS)
    try:
        connection.request(method, path, body, {"content-type": "audio/wav"})
        return connection.getresponse().status
    finally:
        connection.close()


@pytest.mark.system
@pytest.mark.parametrize("path", ["/api/predict", "/", "/v2/repository/index"])
def test_clips_and_probes_are_answered_while_more_uploads_drip_than_there_are_connections(
    tmp_path: Path, path: str
) -> None:
    head = (BEGUN % 100_000).replace(b"/api/predict", path.encode())
    with (
        serving(tmp_path, limits=ConnectionLimits(connections=CONNECTIONS), queue=4) as served,
        dripping(served.port, 5 * CONNECTIONS // 2, head),
    ):
        for _ in range(8):
            assert _status(served.port, "POST", "/api/predict", wav(1)) == 200
            assert _status(served.port, "GET", "/health") == 200
            assert _status(served.port, "GET", "/ready") == 200
            open_ones = served.call(lambda: [c for c in served.front.connections if not c.transport.is_closing()])
            assert len(open_ones) <= CONNECTIONS  # of more than twice as many
        lingering = CONNECTIONS // LINGERING_PART  # these only hear of their end
        eventually(lambda: len(served.front.connections) <= CONNECTIONS + lingering)


@pytest.mark.system
def test_clips_are_answered_while_large_uploads_hold_the_bytes(tmp_path: Path) -> None:
    with worker(tmp_path, digits(), max_upload_bytes=8 << 20) as running, ExitStack() as stack:
        port = running.listener.getsockname()[1]
        for _ in range(6):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS))
            with suppress(OSError):
                connection.sendall(BEGUN % (8 << 20) + bytes((8 << 20) - 100))
        for _ in range(20):
            assert _status(port, "POST", "/api/predict", clip("0123456789")) == 200
        eventually(lambda: _status(port, "GET", "/ready") == 200)


def test_a_worker_that_refuses_everybody_is_not_ready_and_its_beat_says_why(tmp_path: Path) -> None:
    with serving(tmp_path, queue=1) as served:
        served.models["v1"].go.clear()
        asked = [Asking(lambda: post(served, wav(1))) for _ in range(2)]
        eventually(lambda: served.work.load == 2)

        def not_ready() -> bool:
            assert post(served, wav(1)).status_code == 503
            answer = asking.get(f"{served.url}/ready")
            if answer.status_code == 200:
                return False
            assert answer.status_code == 503 and "are waiting already" in answer.json()["because"]
            return True

        eventually(not_ready)
        assert "are waiting already" in served.call(served.counters.beat).refusing
        assert asking.get(f"{served.url}/health").status_code == 200
        served.models["v1"].go.set()
        assert [one.answer().status_code for one in asked] == [200, 200]
        assert post(served, wav(1)).status_code == 200
        assert asking.get(f"{served.url}/ready").status_code == 200
