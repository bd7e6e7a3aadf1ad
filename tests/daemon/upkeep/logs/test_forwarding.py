"""Lines of our logs are passed on to real sockets; a receiver that is gone or stands still holds up nothing."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.fakes.clock import FakeClock
from tests.house import free_port
from tests.support import ended_after, eventually

from modelward.daemon.config.load import Config, parse
from modelward.daemon.upkeep.logs.forwarding import FIRST_LINES, LogForwarding
from modelward.worker.shared.log_lines import line_of, now

RSYSLOGD = shutil.which("rsyslogd") or shutil.which("rsyslogd", path="/usr/sbin")


def append(directory: Path, name: str, *events: str) -> None:
    with open(directory / name, "ab") as log:
        log.writelines(line_of({"time": now(), "level": "info", "event": event}) for event in events)


class Receiver:
    """A datagram socket that can be taken away and put back."""

    def __init__(self, path: Path) -> None:
        self.path, self.socket = path, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        self.socket.settimeout(0)

    async def read_on(self) -> None:
        while True:
            await asyncio.get_running_loop().sock_recv(self.socket, 1 << 20)

    def lines(self) -> list[bytes]:
        found = []
        try:
            while True:
                found.append(self.socket.recv(1 << 20).partition(b": ")[2])
        except BlockingIOError:
            return found

    def events(self) -> list[str]:
        return [json.loads(line)["event"] for line in self.lines()]

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


def test_all_lines_since_the_daemon_began_are_passed_on_however_many(tmp_path: Path, receiver: Receiver) -> None:
    works, logs, old = forwarding(tmp_path), tmp_path / "logs", {"time": "1999-01-01T00:00:00Z", "event": "old"}
    (logs / "modelward.log").write_bytes(line_of({**old, "text": "x" * 1000}) * 2000)  # more than one read
    events = [f"{number}" for number in range(FIRST_LINES + 100)]
    append(logs, "modelward.log", *events)

    async def received() -> list[str]:
        read = asyncio.get_running_loop().sock_recv
        return [json.loads((await read(receiver.socket, 1 << 20)).partition(b": ")[2])["event"] for _ in events]

    async def life() -> list[str]:
        reading = asyncio.create_task(received())
        while not reading.done():
            await works.pass_on()
        return await reading

    assert asyncio.run(life()) == events
    works.close()


def test_lines_that_cannot_be_read_are_reported_once(tmp_path: Path, receiver: Receiver) -> None:
    works, logs = forwarding(tmp_path), tmp_path / "logs"
    append(logs, "modelward.log", "first")

    async def life() -> list[str]:
        assert await works.pass_on() == ""
        append(logs, "modelward.log", "packed")
        (logs / "modelward.log").rename(logs / "modelward.log.20260102T030405.000000Z")
        (logs / "modelward.log.20260102T030406.000000Z.gz").write_bytes(b"no archive, but longer than the least")
        append(logs, "modelward.log", "after")
        return [await works.pass_on(), await works.pass_on()]

    trouble, later = asyncio.run(life())
    works.close()
    assert trouble.startswith(f"cannot forward all of {logs}/modelward.log: cannot read the rest of ") and later == ""
    assert receiver.events() == ["first", "packed", "after"]


def test_a_line_of_which_no_message_can_be_made_is_counted_and_holds_up_no_other(
    tmp_path: Path, receiver: Receiver
) -> None:
    works, logs = forwarding(tmp_path), tmp_path / "logs"
    deep = [
        b'{"event":' + b"[" * depth + b"]" * depth + b',"text":"%s"}\n' % (b"x" * 9000)
        for depth in (1, *range(940, 1000))
    ]
    append(logs, "modelward.log", "before")

    async def life() -> None:
        assert await works.pass_on() == ""
        with open(logs / "modelward.log", "ab") as log:
            log.writelines(deep)
        append(logs, "modelward.log", "after")
        reading = asyncio.create_task(receiver.read_on())
        while works.sent + works.dropped < len(deep) + 2:
            await works.pass_on()
        reading.cancel()

    asyncio.run(life())
    works.close()
    assert 0 < works.dropped < len(deep)


def test_at_the_end_all_is_passed_on_or_counted(tmp_path: Path, receiver: Receiver) -> None:
    works, logs = forwarding(tmp_path), tmp_path / "logs"
    assert asyncio.run(works.pass_on()) == ""
    receiver.close()
    with open(logs / "modelward.log", "ab") as log:
        log.write(line_of({"time": now(), "event": "x" * 1000}) * 3000)
    sentence = f"cannot forward the last lines to syslog:unix:{tmp_path}/log: 3000 are in the files alone"
    assert works.close() == sentence and works.dropped == 3000


@pytest.mark.skipif(RSYSLOGD is None, reason="rsyslogd is not installed (apt-get install rsyslog)")
@pytest.mark.parametrize("way", ["unix", "udp"])
def test_a_real_rsyslog_reads_what_we_send(tmp_path: Path, way: str) -> None:
    written, port = tmp_path / "written", free_port()
    target = f"unix:{tmp_path}/log" if way == "unix" else f"udp://127.0.0.1:{port}"
    inputs = f'input(type="imuxsock" Socket="{tmp_path}/log")\ninput(type="imudp" address="127.0.0.1" port="{port}")\n'
    (tmp_path / "rsyslog.conf").write_text(
        'module(load="imuxsock" SysSock.Use="off")\nmodule(load="imudp")\n'
        f"{inputs}"
        'template(name="t" type="string" string="%programname% %procid% %pri-text% %msg:::drop-last-lf%\\n")\n'
        f'action(type="omfile" file="{written}" template="t")\n'
    )
    command = [str(RSYSLOGD), "-n", "-f", str(tmp_path / "rsyslog.conf"), "-i", str(tmp_path / "rsyslog.pid")]
    config = parse(f'logs.dir = "{tmp_path}/logs"\nlogs.forward = "syslog:{target}"', "test")
    (tmp_path / "logs").mkdir()
    with ended_after(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)):
        eventually(lambda: (tmp_path / "rsyslog.pid").exists() and (tmp_path / "log").exists())
        works = LogForwarding(lambda: config, FakeClock(wall=1_700_000_000.0))
        append(tmp_path / "logs", "modelward.log", "模型 was accepted")
        assert asyncio.run(works.pass_on()) == ""
        works.close()
        eventually(lambda: written.exists() and written.read_text().count("\n") == 1)
    begin, line = written.read_text().split("{", 1)
    assert begin.split() == ["modelward", str(os.getpid()), "daemon.info"]
    assert json.loads("{" + line)["event"] == "模型 was accepted"
