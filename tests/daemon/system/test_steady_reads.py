"""Answers that drip come to an end, and those that take long because they are long do not."""

from __future__ import annotations

import math
import socket
from collections.abc import Iterator

import pytest

from modelward.daemon.system.clock import SystemClock
from modelward.daemon.system.steady_reads import STILL_BYTES, SlowAnswer, SteadyReads


class Set(SystemClock):
    """A clock that the test sets."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


@pytest.mark.parametrize(
    ("whole_seconds", "piece_bytes", "step_seconds", "reads", "because"),
    [
        (math.inf, 1, 25.0, 3, "it sent 3 bytes in 75 s"),
        (math.inf, STILL_BYTES, 25.0, 100, ""),
        (300.0, STILL_BYTES, 25.0, 12, "it did not end in time"),
        (300.0, 1, 1.0, 60, "it sent 60 bytes in 60 s"),
    ],
)
def test_what_drips_is_given_up(
    pair: tuple[socket.socket, socket.socket],
    whole_seconds: float,
    piece_bytes: int,
    step_seconds: float,
    reads: int,
    because: str,
) -> None:
    clock = Set()
    reader = SteadyReads(pair[0], clock, 300.0, 60.0)
    reader.allow(whole_seconds)
    for number in range(100):
        pair[1].sendall(bytes(piece_bytes))
        if number == reads:
            with pytest.raises(SlowAnswer, match=because):
                reader.read(piece_bytes)
            return
        assert len(reader.read(piece_bytes) or b"") == piece_bytes
        clock.now += step_seconds


def test_silence_and_an_end_are_as_of_a_socket(pair: tuple[socket.socket, socket.socket]) -> None:
    with SteadyReads(pair[0], Set(), 0.01, 60.0) as silent, pytest.raises(TimeoutError):
        silent.read(1)
    with SteadyReads(pair[0], Set(), 300.0, 60.0) as reader:
        pair[1].sendall(b"end")
        pair[1].close()
        assert reader.makefile("rb").read() == b"end"
