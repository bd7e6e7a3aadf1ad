"""What the system's log, systemd and a container's first process get of us, and read of us, whatever a line holds."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st
from tests.fuzz.strategies import DEEP, JSON, ODD_TEXTS, altered_text, bytes_like, deep, fuzzed, twisted
from tests.support import PATIENCE_SECONDS, modules

from modelward.daemon.system import systemd
from modelward.daemon.system.clock import rfc3339
from modelward.daemon.upkeep.logs.forward_format import datagram
from modelward.daemon.upkeep.logs.line_times import Since, time_of
from modelward.worker.shared.log_lines import LINE_BYTES, line_of

LINE: dict[str, Any] = {
    "time": "2026-12-01T11:45:54.123Z", "level": "warning", "event": "cannot rotate", "worker": "w1", "pid": 7,
    "because": "no space\nleft", "exception": "Traceback\n  File\nOSError", "nested": {"a": [1, None]},
}  # fmt: skip
WHOLE = json.dumps(LINE).encode()
_LINES = st.one_of(
    twisted(LINE).map(lambda value: json.dumps(value).encode()),
    st.dictionaries(ODD_TEXTS, JSON, max_size=70).map(lambda fields: line_of(fields).rstrip(b"\n")),
    bytes_like(WHOLE).map(lambda line: line.replace(b"\n", b" ")),
    st.sampled_from((deep(990), deep(20_000), b'{"a":' + b"9" * 4000 + b"}", b'{"level":[],"time":{}}', bytes(9000))),
)
ODD_FIELD = re.compile(rb"[A-Z0-9_]{1,64}")


def journal_fields(data: bytes) -> list[tuple[bytes, bytes]]:
    """As journald reads a datagram of its native protocol."""
    found = []
    while data:
        head, _, rest = data.partition(b"\n")
        name, sign, value = head.partition(b"=")
        if not sign:
            length = int.from_bytes(rest[:8], "little")
            value, rest = rest[8 : 8 + length], rest[8 + length :]
            assert rest[:1] == b"\n"
            rest = rest[1:]
        found.append((name, value))
        data = rest
    return found


@fuzzed(200)
@given(_LINES, st.sampled_from(("modelward", "access")))
@example(b'{"PRIORITY=0\\nMESSAGE":"x\\nPRIORITY=0","event":"a\\u0000b"}', "modelward")
@example(b'{"' + b"k" * 3000 + b'":1}', "modelward")
@example(b'{"\\ud800":"\\ud800"}', "modelward")
def test_no_line_makes_another_field_of_the_journal(line: bytes, log: str) -> None:
    made = datagram("journald", log, line, host="host", pid=7)
    fields = journal_fields(made)
    names = [name for name, _ in fields]
    assert all(ODD_FIELD.fullmatch(name) for name in names) and len(fields) <= 68
    for name in (b"MESSAGE", b"PRIORITY", b"SYSLOG_IDENTIFIER", b"MODELWARD_LOG"):
        assert names.index(name) < 4
    assert [name for name in names[4:] if not name.startswith(b"MODELWARD_")] == []
    assert dict(fields[:4])[b"PRIORITY"] in (b"2", b"3", b"4", b"6", b"7")
    for _, value in fields:
        value.decode()
    assert len(made) <= 4 * max(len(line), LINE_BYTES)


@fuzzed(200)
@given(_LINES, st.one_of(ODD_TEXTS, st.just("host.example.org")), st.sampled_from(("unix:/dev/log", "udp://[::1]:514")))
@example(b'{"time":"9999-12-31T23:59:59-23:59","event":"x"}', "h", "unix:/dev/log")
@example(b'{"time":"2026-02-30T00:00:00Z","event":"x"}', "h", "udp://[::1]:514")
@example(b"x" * 60_000, "h", "udp://[::1]:514")
def test_every_line_is_one_message_of_syslog(line: bytes, host: str, to: str) -> None:
    made = datagram(f"syslog:{to}", "modelward", line, host=host, pid=7)
    assert made.count(b"\n") == line.count(b"\n") and len(made) <= 8 * 1024 + 512
    priority = re.match(rb"<(\d+)>", made)
    assert priority is not None and 24 <= int(priority[1]) <= 31
    if to.startswith("udp"):  # RFC 5424
        head = made.split(b" ", 7)
        assert re.fullmatch(rb"<\d+>1", head[0]) and re.fullmatch(rb"-|\d{4}-\d\d-\d\dT\S+", head[1])
        assert re.fullmatch(rb"[!-~]{1,255}", head[2]) and head[3:7] == [b"modelward", b"7", b"modelward", b"-"]
    else:
        assert re.match(rb"<\d+>([A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d)? ?modelward\[7\]: ", made)


@fuzzed(200)
@given(st.one_of(bytes_like(WHOLE, b"[2026-12-01 11:45:54,123] x", b"2026-12-01T11:45:54.5+0800 y"), st.binary()))
@example(b"0001-01-01T00:00:00+23:59")
@example(b"9999-12-31T23:59:59-2359")
@example(b"2026-12-01T11:45:54+99:99")
def test_a_line_has_a_time_or_belongs_to_the_one_before(line: bytes) -> None:
    found = time_of(line)
    since = Since(0.0)
    assert since.keeps(b"no time")
    assert since.keeps(line) == (found is None or found >= 0) == since.keeps(b"no time")
    if found is not None and 0 <= found < 2e11:
        assert abs((time_of(rfc3339(found).encode()) or 0.0) - found) < 1.1


@fuzzed(100)
@given(st.lists(st.one_of(ODD_TEXTS, altered_text("READY=1", "STATUS=serving v1\nWATCHDOG=1")), min_size=1, max_size=4))
@example(["STATUS=x\nREADY=1"])
@example(["\ud800" * 5000])
def test_a_message_to_systemd_has_as_many_lines_as_were_meant(assignments: list[str]) -> None:
    with tempfile.TemporaryDirectory() as directory, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(f"{directory}/notify")
        manager.settimeout(PATIENCE_SECONDS)
        sent = [systemd.status(text) for text in assignments]
        assert systemd.notify({"NOTIFY_SOCKET": f"{directory}/notify"}, *sent)
        lines = manager.recv(1 << 20).decode().split("\n")
    assert len(lines) == len(sent) and all(line.startswith("STATUS=") and len(line) < 500 for line in lines)


@fuzzed(60)
@given(
    st.one_of(ODD_TEXTS, altered_text("/run/systemd/notify", "@abstract")).map(
        lambda text: os.fsdecode(text.encode(errors="surrogatepass").replace(b"\0", b""))
    ),
    st.binary(max_size=300),
)
def test_what_systemd_gives_is_used_or_passed_over(address: str, group: bytes) -> None:
    assert systemd.notify({"NOTIFY_SOCKET": address}, "READY=1") is False
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "cgroup")
        path.write_bytes(group)
        name = systemd.unit({"INVOCATION_ID": "x"}, path)
        assert name == "" or (name.endswith(".service") and "/" not in name)


REAPING = """
import os, random, signal, sys
from modelward.daemon.system import first_process
choose = random.Random(int(sys.argv[1]))
for _ in range(int(sys.argv[2])):
    plans = [choose.choice((0, 1, 77, 255, -9, -15)) for _ in range(choose.randrange(1, 12))]
    children = []
    for plan in plans:
        pid = os.fork()
        if pid == 0:
            if plan < 0:
                os.kill(os.getpid(), -plan)
                signal.pause()
            os._exit(plan)
        children.append(pid)
    daemon = choose.randrange(len(plans))
    for pid in children:
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    status = first_process._reap(children[daemon])
    assert status == plans[daemon], (status, plans[daemon])
    assert first_process._reap(children[daemon]) is None
    assert not first_process._others_live()
    assert first_process._exit_status(status) == (status if status >= 0 else 128 - status)
"""


@fuzzed(2)
@given(st.integers(0, 2**32))
def test_the_first_process_takes_every_status_and_knows_the_daemons(seed: int) -> None:
    words = [sys.executable, "-c", REAPING, str(seed), "60" if DEEP else "10"]
    subprocess.run(words, check=True, timeout=PATIENCE_SECONDS, env={**os.environ, "PYTHONPATH": modules()})
