"""The worker's side of the port by itself, on an event loop of the test."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress

import structlog
from tests.support import PATIENCE_SECONDS

from modelward.worker.http.acceptor import Front


async def _opened(listener: socket.socket) -> Front:
    listener.setblocking(False)
    front = Front(None, listener, log=structlog.get_logger())
    front.open()
    return front


def _turn(runner: asyncio.Runner) -> None:
    """A single turn of the loop."""
    runner.get_loop().call_soon(runner.get_loop().stop)
    runner.get_loop().run_forever()


def _ended(client: socket.socket) -> bool:
    client.settimeout(PATIENCE_SECONDS)
    with suppress(ConnectionResetError):
        return client.recv(1) == b""
    return True


def test_a_client_that_is_taken_as_the_loop_ends_is_not_left_hanging() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as client:
        with asyncio.Runner() as runner:
            front = runner.run(_opened(listener))
            client.connect(listener.getsockname())
            _turn(runner)  # it is taken, and nothing more
            front.cut()
        assert _ended(client)


def test_who_cuts_its_connections_takes_no_more() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as client:
        with asyncio.Runner() as runner:
            front = runner.run(_opened(listener))
            client.connect(listener.getsockname())
            for _ in range(10):
                _turn(runner)
            assert len(front.connections) == 1
            assert front.cut() == 1
            assert not runner.get_loop().remove_reader(listener.fileno())  # it looks at the port no more
            _turn(runner)
            assert front.connections == []
        assert _ended(client)
