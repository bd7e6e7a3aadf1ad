"""Names of our dependencies that they promise nobody: what we override or read of them is still there.

One of these tests fails before anything else does when a release takes such a name away. pyproject.toml keeps these
packages below their next release that may (`~=`).
"""

from __future__ import annotations

import asyncio
import inspect
import socket
import threading
from asyncio import selector_events
from pathlib import Path

import httptools
import pytest
import uvicorn
from nats.aio.client import Client
from nats.protocol.parser import Parser
from uvicorn.protocols.http import httptools_impl as impl
from uvicorn.server import ServerState
from watchdog.observers import Observer

OVERRIDDEN = {
    Parser: ["parse"],
    impl.HttpToolsProtocol: [
        "connection_made", "connection_lost", "data_received", "pause_writing", "resume_writing", "send_400_response",
        "on_message_begin", "on_url", "on_header", "on_headers_complete", "on_body", "on_message_complete",
        "on_response_complete", "_unset_keepalive_if_required",
    ],
    uvicorn.Server: ["capture_signals", "main_loop", "serve"],
}  # fmt: skip


@pytest.mark.parametrize(("owner", "name"), [(owner, name) for owner, names in OVERRIDDEN.items() for name in names])
def test_uvicorn_has_the_method_that_is_overridden_or_called(owner: type, name: str) -> None:
    assert callable(getattr(owner, name))


def test_a_client_of_nats_has_its_parser_and_its_names_of_answers() -> None:
    client = Client()
    assert isinstance(client._ps, Parser)
    assert (client._ps.needed, client._ps.buf) == (0, b"")
    assert isinstance(client._nuid.next(), bytearray)


@pytest.fixture
def protocol() -> impl.HttpToolsProtocol:
    async def make() -> impl.HttpToolsProtocol:
        config = uvicorn.Config(lambda: None, http=impl.HttpToolsProtocol, lifespan="off", log_config=None)
        config.load()
        return impl.HttpToolsProtocol(config, ServerState(), {}, asyncio.get_running_loop())

    return asyncio.run(make())


@pytest.mark.parametrize(
    "name", ["access_logger", "client", "cycle", "flow", "headers", "logger", "loop", "parser", "pipeline", "transport"]
)
def test_a_connection_of_uvicorn_has_the_field_that_is_read(protocol: impl.HttpToolsProtocol, name: str) -> None:
    assert hasattr(protocol, name)


def test_an_answer_of_uvicorn_is_made_and_watched_as_ours_is() -> None:
    asked = {
        "scope", "transport", "flow", "logger", "access_logger", "access_log", "default_headers", "message_event",
        "expect_100_continue", "keep_alive", "on_response",
    }  # fmt: skip
    assert set(inspect.signature(impl.RequestResponseCycle.__init__).parameters) - {"self"} == asked
    source = inspect.getsource(impl.RequestResponseCycle.__init__)
    for name in ("response_started", "response_complete", "disconnected", "message_event"):
        assert f"self.{name} = " in source or f"self.{name}: " in source


def test_uvicorn_has_its_status_lines_and_its_set_of_connections() -> None:
    assert impl.STATUS_LINE[400].startswith(b"HTTP/1.1 400 ")
    assert ServerState().connections == set()
    server = uvicorn.Server(uvicorn.Config(lambda: None))
    assert (server.started, server.should_exit) == (False, False)


def test_httptools_can_be_lenient_about_what_follows_the_last_request(protocol: impl.HttpToolsProtocol) -> None:
    httptools.HttpRequestParser(protocol).set_dangerous_leniencies(lenient_data_after_close=True)
    assert {"HttpParserError", "HttpParserUpgrade", "HttpResponseParser"} <= vars(httptools).keys()


def test_watchdogs_reader_is_a_thread_with_its_descriptor(tmp_path: Path) -> None:
    observer = Observer()
    reader = getattr(observer, "_inotify_fd", None)
    try:
        assert isinstance(reader, threading.Thread)
        assert isinstance(getattr(reader, "_inotify_fd", None), int)
        assert list(observer.emitters) == []
    finally:
        observer.stop()


def test_a_transport_of_asyncio_takes_as_much_at_once_as_it_is_told() -> None:
    one, other = socket.socketpair()
    with one, other:
        assert "max_size" in vars(selector_events._SelectorTransport)
