"""The socket that clients connect to: bound, or taken over from a worker that kept it."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from modelward.daemon.system.tcp_listener import (
    AddressInUse,
    CannotListen,
    address,
    adopt,
    bind,
    is_at,
    resolve,
)


def at(sock: socket.socket, listen: str) -> bool:
    return is_at(sock, listen, resolve(listen))


@pytest.mark.parametrize(
    ("listen", "expected"),
    [
        ("127.0.0.1:7860", ("127.0.0.1", 7860)),
        ("[::1]:7860", ("::1", 7860)),
        (":7860", ("", 7860)),
        ("localhost:0", ("localhost", 0)),
    ],
)
def test_addresses_are_host_and_port(listen: str, expected: tuple[str, int]) -> None:
    assert address(listen) == expected


@pytest.mark.parametrize("listen", ["", "7860:", "host:", "host:http", "host:70000", "host:-1", "host:٣", "host: 1"])
def test_what_is_no_address_is_said(listen: str) -> None:
    with pytest.raises(CannotListen, match="cannot listen on .*: not host:port"):
        address(listen)


def test_a_port_is_bound_once_and_given_to_nobody_by_accident() -> None:
    with bind("127.0.0.1:0") as sock:
        port = sock.getsockname()[1]
        assert not sock.get_inheritable()
        assert not sock.getblocking()
        with pytest.raises(CannotListen, match=f"cannot listen on 127.0.0.1:{port}: Address already in use"):
            bind(f"127.0.0.1:{port}")
        with socket.create_connection(("127.0.0.1", port), 5):
            pass


@pytest.mark.parametrize("host", ["x" * 300, "a..b", "192.0.2.1"])
def test_a_host_that_cannot_be_is_an_error_of_ours(host: str) -> None:
    with pytest.raises(CannotListen, match="cannot listen on "):
        bind(f"{host}:0")


def test_a_listening_socket_is_taken_over_when_it_is_the_right_one() -> None:
    with bind("127.0.0.1:0") as sock:
        port = sock.getsockname()[1]
        again = adopt(os.dup(sock.fileno()))
        assert again is not None
        with again:
            assert again.getsockname() == sock.getsockname()
            assert not again.getblocking()
        assert at(sock, f"127.0.0.1:{port}")
        assert at(sock, "127.0.0.1:0")
        assert not at(sock, f"127.0.0.1:{port + 1}")
        assert not at(sock, f"0.0.0.0:{port}")


def test_a_name_that_has_no_address_now_counts_as_the_same_while_the_port_is() -> None:
    with bind("127.0.0.1:0") as sock:
        port = sock.getsockname()[1]
        assert at(sock, f"no-such-host.invalid:{port}")
        assert not at(sock, f"no-such-host.invalid:{port + 1}")
        assert resolve("no-such-host.invalid:1") is None


def test_another_address_of_the_same_port_is_had_beside_the_one_that_is_held_and_by_nobody_else() -> None:
    with bind("127.0.0.1:0") as held:
        listen = f"0.0.0.0:{held.getsockname()[1]}"
        with pytest.raises(AddressInUse):
            bind(listen)
        with bind(listen, (held,)) as wider:
            held.close()
            with socket.create_connection(wider.getsockname(), 5), pytest.raises(AddressInUse):
                bind(listen)


def test_whatever_else_is_handed_over_is_closed(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    (tmp_path / "file").touch()
    with socket.socket() as idle, socket.socket(socket.AF_UNIX) as local:
        local.bind(str(tmp_path / "s"))
        local.listen()
        idle.bind(("127.0.0.1", 0))
        for fd in (
            os.open(tmp_path / "file", os.O_RDONLY),
            os.open(tmp_path, os.O_RDONLY),
            os.dup(idle.fileno()),
            os.dup(local.fileno()),
        ):
            assert adopt(fd) is None
    assert len(os.listdir("/proc/self/fd")) == before
