"""Processes that exchange names in a tree while it is being cleaned."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import TracebackType

from tests.support import PATIENCE_SECONDS

_EXCHANGER = """
import ctypes, os, sys
libc = ctypes.CDLL(None)
pairs = [(a.encode(errors="surrogateescape"), b.encode(errors="surrogateescape")) for a, b in
         (line.split("|") for line in sys.argv[1:])]
print("ready", flush=True)
while True:
    for a, b in pairs:
        libc.renameat2(-100, a, -100, b, 2)
"""


class Exchanger:
    """Exchanges each pair of paths by renameat2(RENAME_EXCHANGE), as fast as it can, until it is left."""

    def __init__(self, pairs: list[tuple[Path, Path]]) -> None:
        self._arguments = [f"{a}|{b}" for a, b in pairs]

    def __enter__(self) -> Exchanger:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _EXCHANGER, *self._arguments], stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate(timeout=PATIENCE_SECONDS)
