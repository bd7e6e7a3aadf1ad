"""Fetches the files of a version from an engine into the part area: from where each one ends, at a limited rate.

It decides nothing: the planner does. The list of files comes first, and nothing else is written before its digest is
that of the record. Invariant: never more bytes than the record has are written.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import Final, cast

from msgspec.structs import replace

from ...worker.shared.checksums import MAX_SUMS_BYTES, SUMS
from ...worker.shared.sha256sums import BadSums, parse_sums
from ..system.clock import Clock
from .agent_planner import FetchedPart
from .engine import EngineAway, RecordEngine
from .manifest import SIGNATURE
from .part_area import PartArea
from .record import FleetRecord

WRITE_BYTES: Final = 1 << 20
LEAST_WRITE_BYTES: Final = 16 << 10
"""With a low rate no write has more than comes in a second: a server must not wait long for the next read."""
MAX_SIGNATURE_BYTES: Final = 16 << 10
CHECK_BYTES: Final = 16 << 20
"""After so many bytes it is checked again whether the disk has room."""


class WrongBytes(Exception):
    """What came is not what the record promises."""


class Fetching:
    """One fetch. `bytes` are there, those of earlier tries included. https sources are fetched from `web`, all others
    from `engine`. `require_room` raises OSError where the disk has none for so many more."""

    def __init__(
        self,
        engine: RecordEngine,
        area: PartArea,
        record: FleetRecord,
        clock: Clock,
        *,
        max_rate: int,
        require_room: Callable[[int], None],
        web: RecordEngine | None = None,
    ) -> None:
        self._engine, self._area, self.record, self._clock = engine, area, record, clock
        self._web, self._max_rate, self._require_room = web or engine, max_rate, require_room
        self._write_bytes = min(WRITE_BYTES, max(LEAST_WRITE_BYTES, max_rate)) if max_rate else WRITE_BYTES
        self._began, self._came, self._checked = clock.monotonic(), 0, 0
        self.bytes = 0

    async def run(self) -> None:
        """Until all is there. Raises EngineAway, WrongBytes, OSError."""
        part = await asyncio.to_thread(self._area.begin, self.record.manifest_sha256, self.record.sequence)
        self.bytes = part.bytes
        sources = self.record.sources
        first = part.wrong % len(sources)  # after wrong bytes another source has its turn
        away = EngineAway("the record names no source")
        for source in (*sources[first:], *sources[:first]):
            try:
                await self._from(source, part)
                return
            except WrongBytes:
                await asyncio.to_thread(self._area.keep, replace(part, bytes=0, wrong=part.wrong + 1))
                raise
            except EngineAway as e:
                away = e
        raise away

    async def _from(self, source: str, part: FetchedPart) -> None:
        listed = await self._small(source, SUMS, MAX_SUMS_BYTES, self.record.manifest_sha256)
        try:
            names = sorted(parse_sums(listed))
        except BadSums as e:
            raise WrongBytes(f"{SUMS} of {self.record.version} cannot be used: {e}") from e
        small = {SUMS: listed}
        if digest := self.record.signature_sha256:
            small[SIGNATURE] = await self._small(source, SIGNATURE, MAX_SIGNATURE_BYTES, digest)
        for name, data in small.items():
            before = await asyncio.to_thread(self._area.size, name)
            self._require_promised(source, len(data) - before)
            await asyncio.to_thread(self._area.write, name, 0, data, last=True)
            self.bytes += len(data) - before
        for name in names:
            await self._file(source, name)
        await asyncio.to_thread(self._area.keep, replace(part, bytes=0, complete=True, verified=False))

    async def _file(self, source: str, name: str) -> None:
        """The rest of one file."""
        offset = await asyncio.to_thread(self._area.size, name)
        waiting = bytearray()
        try:
            async with aclosing(self._chunks(source, name, offset)) as chunks:
                async for data in chunks:
                    waiting += data
                    self._require_promised(source, len(waiting))
                    if len(waiting) >= self._write_bytes:
                        offset = await self._write(name, offset, waiting, last=False)
        except EngineAway:
            await self._write(name, offset, waiting, last=False)  # so much need not come again
            raise
        await self._write(name, offset, waiting, last=True)

    def _require_promised(self, source: str, more_bytes: int) -> None:
        if self.bytes + more_bytes > self.record.bytes:
            raise WrongBytes(f"{source} has more bytes than the {self.record.bytes} that were promised")

    async def _write(self, name: str, offset: int, waiting: bytearray, *, last: bool) -> int:
        data = bytes(waiting)
        waiting.clear()
        if self._came - self._checked >= CHECK_BYTES or not self._came:
            self._checked = self._came
            await asyncio.to_thread(self._require_room, len(data))
        await asyncio.to_thread(self._area.write, name, offset, data, last=last)
        self.bytes += len(data)
        self._came += len(data)
        await self._keep_rate()
        return offset + len(data)

    async def _keep_rate(self) -> None:
        if self._max_rate:
            ahead = self._began + self._came / self._max_rate - self._clock.monotonic()
            await asyncio.sleep(max(0.0, ahead))

    async def _small(self, source: str, name: str, most_bytes: int, digest: str) -> bytes:
        found = b""
        async with aclosing(self._chunks(source, name, 0)) as chunks:
            async for data in chunks:
                found += data
                if len(found) > most_bytes:
                    raise WrongBytes(f"{name} of {source} has more than {most_bytes} bytes")
        if hashlib.sha256(found).hexdigest() != digest:
            raise WrongBytes(f"{source} has another {name} than was signed")
        return found

    def _chunks(self, source: str, name: str, offset: int) -> _Chunks:
        engine = self._web if source.startswith("https://") else self._engine
        return cast(_Chunks, engine.file(source, name, offset))


class _Chunks(AsyncIterator[bytes]):
    """What engines return: a generator, which has to be closed."""

    async def aclose(self) -> None:
        """Ends it."""


def no_room(error: OSError) -> bool:
    """Whether the disk, or a limit on it, is full."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)
