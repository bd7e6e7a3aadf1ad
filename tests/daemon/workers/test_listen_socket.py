"""The socket that clients connect to, when former workers hold it: taken back, waited for, or won."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Coroutine
from contextlib import closing
from typing import Any

import pytest
from tests.support import PATIENCE_SECONDS

from modelward.daemon.system.tcp_listener import CannotListen, bind
from modelward.daemon.workers.listen_socket import ListenSocket


def at(held: socket.socket) -> str:
    return f"127.0.0.1:{held.getsockname()[1]}"


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), PATIENCE_SECONDS))


def test_an_address_that_a_lost_worker_holds_is_had_once_that_was_ended() -> None:
    async def test() -> None:
        held = bind("127.0.0.1:0")
        listen = at(held)

        async def end_lost() -> None:
            held.close()

        listen_socket = ListenSocket(lambda: listen, {}, return_seconds=0.01, lost_seconds=0.02)
        with closing(listen_socket):
            await listen_socket.open(returning=True, end_lost=end_lost)
            assert listen_socket.sock is not None
            assert at(listen_socket.sock) == listen

    run(test)


def test_who_comes_back_late_with_the_socket_is_not_ended() -> None:
    async def test() -> None:
        with bind("127.0.0.1:0") as held:

            async def end_lost() -> None:
                raise AssertionError("it came back")

            listen_socket = ListenSocket(lambda: at(held), {}, return_seconds=0.01, lost_seconds=10.0)
            with closing(listen_socket):
                opening = asyncio.create_task(listen_socket.open(returning=True, end_lost=end_lost))
                await asyncio.wait({opening}, timeout=0.1)
                assert not opening.done()
                listen_socket.take(os.dup(held.fileno()), wanted=True)
                await opening
                assert listen_socket.sock is not None
                assert at(listen_socket.sock) == at(held)

    run(test)


@pytest.mark.parametrize("returning", [True, False])
def test_an_address_that_somebody_else_holds_is_said(returning: bool) -> None:
    async def test() -> None:
        with bind("127.0.0.1:0") as held:
            ended = []

            async def end_lost() -> None:
                ended.append(1)

            listen_socket = ListenSocket(lambda: at(held), {}, return_seconds=0.01, lost_seconds=0.02)
            with pytest.raises(CannotListen, match="Address already in use"):
                await listen_socket.open(returning=returning, end_lost=end_lost)
            assert len(ended) == returning

    run(test)
