"""Processes that write numbered lines as fast as they can, and the proof that every line is there once and whole."""

from __future__ import annotations

import gzip
import re
import subprocess
import sys
from pathlib import Path

from tests.support import PATIENCE_SECONDS

_WRITER = """
import os, signal, sys
path, number, seconds, poll = sys.argv[1], sys.argv[2], float(sys.argv[3]), sys.argv[4]
import time
flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
fd = os.open(path, flags, 0o640)
again = False
def reopen(*_):
    global again
    again = True
signal.signal(signal.SIGUSR1, reopen)
enough = False
def end_it(*_):
    global enough
    enough = True
signal.signal(signal.SIGUSR2, end_it)
print("ready", flush=True)
sys.stdin.readline()
end = time.monotonic() + seconds
i = 0
filler = "x" * 90
while True:
    if again:
        again = False
        new = os.open(path, flags, 0o640)
        os.close(fd)
        fd = new
        print("reopened", flush=True)
    line = f"w{number} {i:09d} {filler[: i % 90]}.\\n".encode()
    if poll == "each":
        fd = os.open(path, flags, 0o640)
    os.write(fd, line)
    if poll == "each":
        os.close(fd)
    i += 1
    if not i % 64 and (enough or time.monotonic() > end):
        break
print("wrote", i, flush=True)
"""

_LINE = re.compile(rb"^w(\d+) (\d{9}) (x*)\.$")


class Writer:
    """One process writing to `path` for `seconds`, or until SIGUSR2."""

    def __init__(self, path: Path, number: int, seconds: float, *, opens_each: bool = False) -> None:
        self.number = number
        how = "each" if opens_each else "once"
        self.process = subprocess.Popen(
            [sys.executable, "-c", _WRITER, str(path), str(number), str(seconds), how],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"

    def go(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def running(self) -> bool:
        return self.process.poll() is None

    def wrote(self) -> int:
        """How many lines; waits for the end."""
        out, _ = self.process.communicate(timeout=PATIENCE_SECONDS)
        return int(out.split("wrote ")[1])


def read_all(directory: Path, name: str) -> bytes:
    """Every archive of `name` in the order of their names, then the live file."""
    parts = sorted(p for p in directory.iterdir() if p.name.startswith(name + "."))
    data = b""
    for part in parts:
        assert not part.name.endswith((".part", ".head")), part.name
        data += gzip.decompress(part.read_bytes()) if part.name.endswith(".gz") else part.read_bytes()
    live = directory / name
    return data + (live.read_bytes() if live.exists() else b"")


def losses(data: bytes, wrote: dict[int, int]) -> dict[str, int]:
    """How many lines are missing, doubled, torn or out of order; blank lines are passed over."""
    next_number = dict.fromkeys(wrote, 0)
    seen: dict[int, set[int]] = {number: set() for number in wrote}
    torn = doubled = disorder = 0
    for line in data.split(b"\n"):
        if not line.strip():
            continue
        found = _LINE.match(line)
        if not found or len(found[3]) != int(found[2]) % 90:
            torn += 1
            continue
        writer, number = int(found[1]), int(found[2])
        doubled += number in seen[writer]
        disorder += number < next_number[writer]
        seen[writer].add(number)
        next_number[writer] = number
    missing = sum(count - len(seen[writer]) for writer, count in wrote.items())
    return {"missing": missing, "doubled": doubled, "torn": torn, "out of order": disorder}


NO_LOSSES = {"missing": 0, "doubled": 0, "torn": 0, "out of order": 0}


def whole_lines(data: bytes) -> bool:
    """Whether the data ends where a line ends."""
    return not data or data.endswith(b"\n")
