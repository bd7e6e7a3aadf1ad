"""A record in a directory: a USB stick, a mounted share. There is no feedback, and waves open by time.

Reads on threads, in chunks; a path that leads out of the directory of the record is not followed. The record and the
files are checked by others: a directory proves nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path
from typing import IO, TypeVar

from ..system.safe_read import open_regular
from .engine import CALL_SECONDS, CHUNK_BYTES, EngineAway, NotOffered
from .signature import MAX_SIGNED_BYTES

T = TypeVar("T")


class FileEngine:
    """See the module. `record` is the file of the record; sources are paths beside it."""

    def __init__(self, record: Path) -> None:
        self._record = record

    async def record(self) -> bytes:
        """See `engine.RecordEngine`."""

        def read() -> bytes:
            with open_regular(self._record) as file:
                return file.read(MAX_SIGNED_BYTES + 1)

        return await _answered(asyncio.to_thread(read), self._record)

    async def file(self, source: str, name: str, offset: int) -> AsyncIterator[bytes]:
        """See `engine.RecordEngine`."""
        if ":" in source:
            raise NotOffered(f"{source} does not lie beside the record")
        path = self._record.parent / source / name

        def opened() -> IO[bytes]:
            if not path.resolve().is_relative_to(self._record.parent.resolve()):
                raise NotOffered(f"{path} leads out of {self._record.parent}")
            file = open_regular(path)
            file.seek(offset)
            return file

        file = await _answered(asyncio.to_thread(opened), path)
        try:
            while data := await _answered(asyncio.to_thread(file.read, CHUNK_BYTES), path):
                yield data
        finally:
            await asyncio.to_thread(file.close)

    async def close(self) -> None:
        """There is nothing open between calls."""


async def _answered(reading: Awaitable[T], path: Path) -> T:
    """What a thread read. Raises EngineAway, also for a disk that does not answer: its thread is left behind."""
    try:
        async with asyncio.timeout(CALL_SECONDS):
            return await reading
    except TimeoutError:
        raise EngineAway(f"cannot read {path}: its disk does not answer") from None
    except (FileNotFoundError, ValueError):  # the second one: a name that no file can have
        raise NotOffered(f"{path} is not there") from None
    except OSError as e:
        raise EngineAway(f"cannot read {path}: {e.strerror}") from e
