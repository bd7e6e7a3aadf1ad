"""Lines of our logs are passed on to real sockets; a receiver that is gone or stands still holds up nothing."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.fakes.clock import FakeClock

from modelward.daemon.config.load import Config, parse
from modelward.daemon.upkeep.logs.forwarding import LogForwarding
from modelward.worker.shared.log_lines import line_of, now


def append(directory: Path, name: str, *events: str) -> None:
    with open(directory / name, "ab") as log:
        log.writelines(line_of({"time": now(), "level": "info", "event": event}) for event in events)


class Receiver:
    """A datagram socket that can be taken away and put back."""

    def __init__(self, path: Path) -> None:
        self.path, self.socket = path, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        self.socket.settimeout(0)

    def events(self) -> list[str]:
        found = []
        try:
            while True:
                found.append(json.loads(self.socket.recv(1 << 20).partition(b": ")[2])["event"])
        except BlockingIOError:
            return found

    def close(self) -> None:
        self.socket.close()
        self.path.unlink()


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiver]:
    found = Receiver(tmp_path / "log")
    yield found
    found.socket.close()


def forwarding(tmp_path: Path, queue_bytes: int = 1 << 20) -> LogForwarding:
    (tmp_path / "logs").mkdir(exist_ok=True)
    config: Config = parse(f'logs.dir = "{tmp_path}/logs"\nlogs.forward = "syslog:unix:{tmp_path}/log"', "test")
    return LogForwarding(lambda: config, FakeClock(wall=1_700_000_000.0), queue_bytes=queue_bytes)


def test_lines_of_both_logs_get_through_across_a_rotation(tmp_path: Path, receiver: Receiver) -> None:
    works, logs = forwarding(tmp_path), tmp_path / "logs"
    append(logs, "modelward.log", "start")

    async def life() -> None:
        assert await works.pass_on() == ""
        append(logs, "access.log", "request")
        append(logs, "modelward.log", "before")
        (logs / "modelward.log").rename(logs / "modelward.log.20260102T030405.000000Z")
        append(logs, "modelward.log", "after")
        assert await works.pass_on() == ""
        append(logs, "modelward.log", "the end")

    asyncio.run(life())
    works.close()
    assert receiver.events() == ["start", "before", "after", "request", "the end"]
    assert (works.sent, works.dropped) == (5, 0)


def test_what_was_logged_before_this_daemon_began_is_not_passed_on(tmp_path: Path, receiver: Receiver) -> None:
    works = forwarding(tmp_path)
    (tmp_path / "logs/modelward.log").write_bytes(line_of({"time": "1999-01-01T00:00:00Z", "event": "old"}))
    append(tmp_path / "logs", "modelward.log", "new")
    assert asyncio.run(works.pass_on()) == ""
    works.close()
    assert receiver.events() == ["new"]


def test_a_receiver_that_is_gone_is_one_sentence_and_lines_wait_for_it_in_a_bounded_queue(
    tmp_path: Path, receiver: Receiver
) -> None:
    works, logs = forwarding(tmp_path, queue_bytes=300), tmp_path / "logs"
    append(logs, "modelward.log", "first")

    async def life() -> Receiver:
        assert await works.pass_on() == ""
        receiver.close()
        append(logs, "modelward.log", *(f"{number}" for number in range(10)))
        trouble = await works.pass_on()
        assert trouble.startswith(f"cannot forward logs to syslog:unix:{tmp_path}/log: No such file")
        assert trouble.endswith(f"{10 - works.dropped} lines wait, {works.dropped} were dropped")
        again = Receiver(receiver.path)
        assert await works.pass_on() == ""
        return again

    again = asyncio.run(life())
    works.close()
    assert 0 < works.dropped < 10
    assert again.events() == [f"{number}" for number in range(10 - works.dropped)]
    again.close()


def test_a_receiver_that_reads_nothing_is_reported_and_holds_up_nothing(tmp_path: Path, receiver: Receiver) -> None:
    works, logs = forwarding(tmp_path), tmp_path / "logs"
    events = [f"{number}{'x' * 1000}" for number in range(900)]  # more than the kernel keeps for one sender
    append(logs, "modelward.log", *events)
    trouble = asyncio.run(works.pass_on())
    assert "it takes no more" in trouble and works.sent > 0
    assert receiver.events() == events[: works.sent]
    works.close()


def test_syslog_over_udp_gets_lines(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        config = parse(f'logs.dir = "{tmp_path}"\nlogs.forward = "syslog:udp://127.0.0.1:{port}"', "test")
        works = LogForwarding(lambda: config, FakeClock(wall=1_700_000_000.0))
        append(tmp_path, "access.log", "request")
        assert asyncio.run(works.pass_on()) == ""
        works.close()
        assert listener.recv(65536).startswith(b"<30>1 ")
