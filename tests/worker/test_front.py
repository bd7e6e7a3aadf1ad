"""The worker's side of the port by itself, on an event loop of the test."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress

import structlog
from tests.support import PATIENCE_SECONDS

from modelward.worker.serve import Front


def test_a_client_that_is_taken_as_the_loop_ends_is_not_left_hanging() -> None:
    async def opened(listener: socket.socket) -> Front:
        front = Front(None, listener, log=structlog.get_logger())
        front.open()
        return front

    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as client:
        listener.setblocking(False)
        with asyncio.Runner() as runner:
            front = runner.run(opened(listener))
            client.connect(listener.getsockname())
            runner.get_loop().call_soon(runner.get_loop().stop)
            runner.get_loop().run_forever()  # a single turn: it is taken, and nothing more
            front.cut()
        client.settimeout(PATIENCE_SECONDS)
        with suppress(ConnectionResetError):
            assert client.recv(1) == b""
