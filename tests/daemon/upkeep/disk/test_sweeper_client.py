"""The process that sweeps and counts: it asks before each unit, and nothing it does harms the daemon."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest
from tests.daemon.upkeep.sweeping import (
    DAY,
    make,
    names,
    orders,
)
from tests.support import PATIENCE_SECONDS, children

from modelward.daemon.errors import Refused
from modelward.daemon.system import processes
from modelward.daemon.upkeep.disk import sweeper_client
from modelward.daemon.upkeep.disk.quota import ClassRule
from modelward.daemon.upkeep.disk.sweeper_protocol import (
    Counted,
    CountRequest,
    SweepRequest,
    Swept,
)

ARGV = processes.python(sweeper_client.MODULE)


def nobody(rule: str, unit: str) -> str:
    return ""


def send(
    request: SweepRequest | CountRequest,
    argv: list[str] = ARGV,
    *,
    seconds: float = PATIENCE_SECONDS,
    why: object = nobody,
) -> Swept | Counted:
    return asyncio.run(sweeper_client.run(request, processes.spawn, argv, seconds=seconds, why_keep=why))  # type: ignore[arg-type]


def script(code: str) -> list[str]:
    """A sweeper of another kind: gets the descriptor as its argument."""
    return [sys.executable, "-c", f"import socket, sys, time\ns = socket.socket(fileno=int(sys.argv[1]))\n{code}"]


def test_sweeps_in_another_process_and_brings_the_reasons_home(tmp_path: Path) -> None:
    make(tmp_path / "old")
    make(tmp_path / "new", age_seconds=0)
    done = send(SweepRequest(orders(tmp_path), listing=True))
    assert isinstance(done, Swept)
    assert names(tmp_path) == ["new"]
    assert [(entry.path, entry.because) for entry in done.listed] == [(f"{tmp_path}/old", "older than 1d")]


def test_asks_before_each_unit_whether_it_may_go(tmp_path: Path) -> None:
    for name in ("v1", "v2"):
        make(tmp_path / name / "model.onnx")
    asked: list[tuple[str, str]] = []

    def why(rule: str, unit: str) -> str:
        asked.append((rule, unit))
        return "live" if unit == "v1" else ""

    send(SweepRequest(orders([ClassRule("versions", str(tmp_path), max_age_seconds=DAY, unit="directory")])), why=why)
    assert names(tmp_path) == ["v1/model.onnx"]
    assert asked.count(("versions", "v2")) == 2, "once to plan, once right before"


def test_counts_in_another_process(tmp_path: Path) -> None:
    make(tmp_path / "a", 8192)
    done = send(CountRequest([ClassRule("uploads", str(tmp_path))], [os.getpid()]))
    assert isinstance(done, Counted)
    assert done.usage.classes[0].files == 1


@pytest.mark.parametrize(
    ("code", "because"),
    [
        ("sys.exit(1)", "broke off"),
        ("s.sendall(b'nonsense\\n'); time.sleep(60)", "broke off"),
        ("s.sendall(b'half a line'); s.close(); time.sleep(60)", "broke off"),
        ("import os; os.abort()", "broke off"),
        ("time.sleep(60)", "no end within 1 s"),
        ("s.sendall(b'x' * (40 << 20)); time.sleep(60)", "broke off"),
    ],
)
def test_one_that_dies_lies_floods_or_hangs_is_ended_and_said(tmp_path: Path, code: str, because: str) -> None:
    with pytest.raises(Refused, match=because):
        send(SweepRequest(orders(tmp_path)), script(code), seconds=1.0 if "no end" in because else PATIENCE_SECONDS)


def test_leaves_no_descriptor_and_no_process_behind(tmp_path: Path) -> None:
    before, known = len(os.listdir("/proc/self/fd")), children()
    send(SweepRequest(orders(tmp_path)))
    with pytest.raises(Refused):
        send(SweepRequest(orders(tmp_path)), script("sys.exit(1)"))
    assert len(os.listdir("/proc/self/fd")) == before
    assert children() <= known


def test_when_no_process_can_be_had_it_is_said(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="cannot start a sweep: No such file or directory; nothing was removed"):
        send(SweepRequest(orders(tmp_path)), ["/nowhere/python"])


def test_the_sweeping_process_survives_somebody_opening_a_file_while_it_is_leased(tmp_path: Path) -> None:
    import threading

    over = threading.Event()

    def open_all() -> None:
        while not over.is_set():
            for i in range(300):
                try:
                    os.close(os.open(tmp_path / "tree" / f"{i}", os.O_RDWR))
                except OSError:
                    continue

    for i in range(300):
        make(tmp_path / "tree" / f"{i}")
    opener = threading.Thread(target=open_all)
    opener.start()
    try:
        for _ in range(5):
            done = send(SweepRequest(orders(tmp_path / "tree")))
            assert isinstance(done, Swept)
            for i in range(300):
                make(tmp_path / "tree" / f"{i}")
    finally:
        over.set()
        opener.join()
