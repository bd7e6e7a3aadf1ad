"""The API's socket: idle connections keep nobody out, and those that are answered are never cut off."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send
from tests.support import PATIENCE_SECONDS, eventually, soon

from modelward.daemon.api.server import MAX_CONNECTIONS, AdminServer
from modelward.daemon.cli.client import Client
from modelward.daemon.system.background import Background
from modelward.daemon.system.clock import SystemClock


class App:
    """Answers at once, except what is asked for below /slow: that when its client leaves. `slow` counts those."""

    def __init__(self) -> None:
        self.slow = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/slow":
            self.slow += 1
            while (await receive())["type"] != "http.disconnect":
                continue
        await JSONResponse({"path": scope["path"]})(scope, receive, send)


@pytest.fixture
def app() -> App:
    return App()


@pytest.fixture
def served(tmp_path: Path, app: App) -> Iterator[Path]:
    """The socket of a server in a thread of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    server = AdminServer(tmp_path / "api.sock", app, lambda who: who.uid == os.geteuid())
    try:
        asyncio.run_coroutine_threadsafe(server.open(), loop).result(PATIENCE_SECONDS)
        yield tmp_path / "api.sock"
    finally:
        asyncio.run_coroutine_threadsafe(server.close(), loop).result(PATIENCE_SECONDS)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(PATIENCE_SECONDS)
        loop.close()


def connected(stack: contextlib.ExitStack, path: Path, request: bytes = b"") -> socket.socket:
    client = stack.enter_context(socket.socket(socket.AF_UNIX))
    client.settimeout(PATIENCE_SECONDS)
    client.connect(str(path))
    client.sendall(request)
    return client


def test_idle_connections_keep_nobody_out(served: Path, app: App) -> None:
    with contextlib.ExitStack() as stack:
        slow = connected(stack, served, b"GET /slow HTTP/1.1\r\nHost: m\r\n\r\n")
        eventually(lambda: app.slow == 1)
        first = connected(stack, served)
        for _ in range(MAX_CONNECTIONS + 100):
            connected(stack, served)
        assert Client(str(served)).get("/v1/status").data == {"path": "/v1/status"}
        assert first.recv(1) == b""  # the oldest idle one
        slow.setblocking(False)
        with pytest.raises(BlockingIOError):  # still there
            slow.recv(1)


def test_requests_that_do_not_come_whole_keep_nobody_out(served: Path, app: App) -> None:
    unfinished = b"POST /slow HTTP/1.1\r\nHost: m\r\nContent-Length: 9\r\n\r\n"
    with contextlib.ExitStack() as stack:
        whole = connected(stack, served, b"GET /slow HTTP/1.1\r\nHost: m\r\n\r\n")
        eventually(lambda: app.slow == 1)
        many = []
        for number in range(1, MAX_CONNECTIONS):
            many.append(connected(stack, served, unfinished))
            eventually(lambda: app.slow == number + 1)  # noqa: B023 - asked for before the next round
        assert Client(str(served)).get("/v1/status").data == {"path": "/v1/status"}
        assert many[0].recv(1) == b""
        whole.setblocking(False)
        with pytest.raises(BlockingIOError):  # still there
            whole.recv(1)


def test_where_all_are_being_answered_a_newcomer_is_told_so(served: Path, app: App) -> None:
    with contextlib.ExitStack() as stack:
        for number in range(MAX_CONNECTIONS):
            connected(stack, served, b"GET /slow HTTP/1.1\r\nHost: m\r\n\r\n")
            eventually(lambda: app.slow == number + 1)  # noqa: B023 - asked for before the next round
        newcomer = connected(stack, served, b"GET /v1/status HTTP/1.1\r\nHost: m\r\n\r\n")
        assert newcomer.recv(12) == b"HTTP/1.1 503"
        assert app.slow == MAX_CONNECTIONS


def test_a_server_that_ends_is_no_open_one_and_is_opened_again(tmp_path: Path, app: App) -> None:
    broken = True

    def fault(name: str) -> None:
        if broken and name == "api.sock":
            raise RuntimeError("unexpected")

    async def whole() -> None:
        nonlocal broken
        background = Background(SystemClock(), fault=fault)
        background.install()
        server = AdminServer(tmp_path / "api.sock", app, lambda who: True)
        with pytest.raises(OSError, match="ended as it began"):
            await server.open()
        assert not server.in_place()
        assert [f.part for f in background.failures.current()] == ["api.sock"]
        broken = False
        assert await server.heal()
        assert server.in_place()
        assert not await server.heal()
        background.end()  # as by an error
        await soon(lambda: not server.in_place())
        assert await server.heal()
        answer = await asyncio.to_thread(Client(str(tmp_path / "api.sock")).get, "/v1/status")
        assert answer.data == {"path": "/v1/status"}
        await server.close()

    asyncio.run(whole())
