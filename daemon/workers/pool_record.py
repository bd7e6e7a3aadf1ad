"""The file that records our workers. A thread writes it: a slow disk delays the record, never the event loop.

It decides nothing about workers. Invariants: the content that was given last is the last one written. One thread at a
time writes. A file that cannot be written is logged and stops no worker.
"""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Final

import structlog

from ...worker.shared.durable_files import replace_file

END_SECONDS: Final = 2.0
"""How long the end waits for a disk that does not answer."""


class PoolRecord:
    """The file at `path`. `there`: the last check found it; a file that is being written counts too."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._log = structlog.get_logger("pool")
        self._lock = threading.Lock()
        self._due: bytes | None = None
        self._make_directory = self._at_work = False
        self._writing: asyncio.Future[None] | None = None
        self.there = True

    def read(self, most_bytes: int) -> bytes:
        """Reads its first bytes. Not for an event loop. Raises OSError."""
        with open(self._path, "rb") as file:
            return file.read(most_bytes)

    def check(self) -> bool:
        """Checks whether the file exists. From any thread but the event loop's."""
        self.there = self._path.exists()
        return self.there

    def write(self, content: bytes, *, make_directory: bool = False) -> None:
        """Writes `content` to the file soon, b"" removes it. To be called on the event loop."""
        with self._lock:
            self._due, self.there = content, True
            self._make_directory = self._make_directory or make_directory
            at_work, self._at_work = self._at_work, True
        if not at_work:
            # Given to a thread at once: it is written even if the daemon dies next.
            self._writing = asyncio.get_running_loop().run_in_executor(None, self._work)

    async def settled(self, seconds: float = END_SECONDS) -> None:
        """Returns when the given content is written, or after `seconds`."""
        if self._writing is not None:
            await asyncio.wait({self._writing}, timeout=seconds)

    def _work(self) -> None:
        """On a thread, until nothing is left to write."""
        try:
            while (due := self._take()) is not None:
                self._put(*due)
        except BaseException:  # an unexpected error: the next content is written all the same
            self._at_work = False
            raise

    def _put(self, content: bytes, make_directory: bool) -> None:
        try:
            if make_directory:
                self._path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
            if content:
                replace_file(self._path, content)
            else:
                self._path.unlink(missing_ok=True)
        except OSError as e:
            self._log.warning("cannot record the worker processes", because=str(e))

    def _take(self) -> tuple[bytes, bool] | None:
        with self._lock:
            content, make_directory = self._due, self._make_directory
            self._due, self._make_directory = None, False
            self._at_work = content is not None
            return (content, make_directory) if content is not None else None
