"""What journald and syslog get of a line."""

from __future__ import annotations

import json
import re

import pytest

from modelward.daemon.upkeep.logs.forward_format import datagram, receiver

LINE = b'{"time":"2026-01-02T03:04:05.678Z","level":"warning","worker":"w1","event":"slow","seconds":2.5}'


def made(target: str, line: bytes, log: str = "modelward") -> bytes:
    return datagram(target, log, line, host="asr 1", pid=7)


@pytest.mark.parametrize(
    ("target", "place"),
    [
        ("journald", "/run/systemd/journal/socket"),
        ("syslog:unix:/dev/log", "/dev/log"),
        ("syslog:udp://log.example.org:514", ("log.example.org", 514)),
        ("syslog:udp://[::1]:514", ("::1", 514)),
    ],
)
def test_each_receiver_has_its_place(target: str, place: object) -> None:
    assert receiver(target) == place


def test_journald_gets_each_field_by_its_name_and_a_sentence_for_people() -> None:
    rows = made("journald", LINE).decode().splitlines()
    assert rows[:4] == [
        "MESSAGE=slow seconds=2.5",
        "PRIORITY=4",
        "SYSLOG_IDENTIFIER=modelward",
        "MODELWARD_LOG=modelward",
    ]
    assert {"MODELWARD_WORKER=w1", "MODELWARD_SECONDS=2.5", "MODELWARD_EVENT=slow"} <= set(rows)


def test_no_value_and_no_name_of_a_field_makes_another_field() -> None:
    line = json.dumps({"event": "x\nPRIORITY=0", "a\nb=c": "d", "exception": "Traceback\n  here"}).encode()
    found = made("journald", line)
    text = b"x\nPRIORITY=0 a\nb=c=d\nTraceback\n  here"
    assert found.startswith(b"MESSAGE\n" + len(text).to_bytes(8, "little") + text + b"\nPRIORITY=6\n")
    assert b"MODELWARD_A_B_C=d\n" in found


def test_syslog_gets_the_json_line_behind_the_head_that_the_way_asks_for() -> None:
    local = made("syslog:unix:/dev/log", LINE)
    assert re.fullmatch(rb"<28>Jan  [123] \d\d:\d\d:05 modelward\[7\]: (.*)", local) and local.endswith(LINE)
    head = b"<28>1 2026-01-02T03:04:05.678Z asr1 modelward 7 modelward - "
    assert made("syslog:udp://h:514", LINE) == head + LINE


@pytest.mark.parametrize("line", [b"no json", b"[1]", b"\xff", b'{"time":"\\n<0>","level":[]}', b"{" * 5000])
@pytest.mark.parametrize("target", ["journald", "syslog:unix:/dev/log", "syslog:udp://h:514"])
def test_any_line_is_one_message_at_priority_info(target: str, line: bytes) -> None:
    found = made(target, line)
    assert b"PRIORITY=6\n" in found if target == "journald" else found.startswith(b"<30>")


def test_a_line_that_is_longer_than_syslog_takes_is_shortened_and_is_json_still() -> None:
    line = json.dumps({"event": "x" * 30_000, "n": 1}).encode()
    kept = json.loads(made("syslog:udp://h:514", line).partition(b"modelward - ")[2])
    assert kept["n"] == 1 and kept["truncated"] > 30_000


@pytest.mark.parametrize(
    "time", ["2026-01-02\ud80003:04:05Z", "2026-01-02\n03:04:05Z", "2026-01-02T03:04:05\n", "20260102T030405Z"]
)
@pytest.mark.parametrize("target", ["syslog:unix:/dev/log", "syslog:udp://h:514"])
def test_a_time_that_is_none_of_ours_is_not_in_the_head(target: str, time: str) -> None:
    found = made(target, json.dumps({"time": time, "event": "x"}).encode())
    assert found.startswith((b"<30>1 - asr1 ", b"<30> modelward[7]: "))
