"""A fleet on NATS JetStream: a record, how far it has come, a report of each machine, and the files of versions.

It decides nothing and trusts nothing. Machines read by single messages and write one subject, their own report; see
`nats_connection`. The names of the streams are those of NATS's key-value and object stores, so that its own tools read
them. Invariant: of a file not more than a few chunks are in memory.
"""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from typing import Final, TypeVar

import msgspec
from msgspec import Struct

from ..config.fleet_checks import MACHINE_NAME
from ..system.clock import Clock
from .engine import EngineAway, KeptProgress, KeptRecord, LeaseTaken, NotOffered
from .nats_answers import MAX_CHUNK_BYTES, PurgeAnswer, ServerAnswer, StoredObject, decoded
from .nats_connection import NatsAccess, NatsConnection, StoredMessage
from .nats_names import FLEET, LEASE, PROGRESS, RECORD, REPORTS
from .reports import BadReport, MachineReport, ReceivedReport, decode_report, encode_report
from .signature import MAX_SIGNED_BYTES
from .waves import WaveProgress, possible

WRONG_LAST_SEQUENCE: Final = 10071
MAX_RECORDS: Final = 100
MAX_REPORTS: Final = 200_000


T = TypeVar("T")


class _Lease(Struct):
    holder: str


class NatsEngine:
    """See the module, and `engine.FeedbackEngine`."""

    def __init__(self, access: NatsAccess, clock: Clock) -> None:
        self.connection = NatsConnection(access, wakes=(RECORD, PROGRESS))
        self._clock = clock
        self._other: tuple[int, float] = (0, 0.0)
        """The lease of another keeper: its revision, and since when it has been seen, monotonic seconds."""

    async def record(self) -> bytes:
        kept = await self.kept_record()
        if not kept.revision:
            raise NotOffered("no record was published yet")
        return kept.text

    async def records(self) -> list[bytes]:
        """The last few records, the oldest first. Raises EngineAway."""
        found, sequence = list[bytes](), 0
        for _ in range(MAX_RECORDS):
            async for message in self.connection.messages(
                f"KV_{FLEET}", [{"seq": sequence + 1, "next_by_subj": RECORD}]
            ):
                if message is None:
                    return found
                found, sequence = [*found, message.data], message.sequence
        return found

    async def wake(self) -> None:
        await self.connection.news.wait()
        self.connection.news.clear()

    async def close(self) -> None:
        await self.connection.close()

    # reports

    async def put_report(self, report: MachineReport) -> None:
        await self._put(f"$KV.{REPORTS}.{report.name}", encode_report(report))

    async def reports(self) -> list[ReceivedReport]:
        names, found = (
            await self.connection.subjects(f"KV_{REPORTS}", f"$KV.{REPORTS}.*", MAX_REPORTS),
            list[ReceivedReport](),
        )
        queries = ({"last_by_subj": name} for name in names)
        async for message in self.connection.messages(f"KV_{REPORTS}", queries):
            if message is None:
                continue  # removed since they were listed
            try:
                report = decode_report(message.data)
            except BadReport:
                continue  # of a machine that can't write one; it is none that was seen
            if message.subject == f"$KV.{REPORTS}.{report.name}":
                found.append(ReceivedReport(report, message.at))
        return found

    async def drop_report(self, name: str) -> bool:
        if not MACHINE_NAME.fullmatch(name):  # `*` would be the reports of all
            return False
        body = {"filter": f"$KV.{REPORTS}.{name}"}
        return bool((await self.connection.api(f"STREAM.PURGE.KV_{REPORTS}", body, PurgeAnswer)).purged)

    # what keepers agree on

    async def kept_progress(self) -> KeptProgress:
        found = await self.connection.last(f"KV_{FLEET}", PROGRESS)
        if found is None:
            return KeptProgress(WaveProgress())
        progress = _decoded(found, WaveProgress)
        return KeptProgress(progress if possible(progress) else WaveProgress(), found.sequence)

    async def keep_progress(self, progress: WaveProgress, revision: int) -> bool:
        return await self._put(PROGRESS, msgspec.json.encode(progress), revision)

    async def kept_record(self) -> KeptRecord:
        found = await self.connection.last(f"KV_{FLEET}", RECORD)
        return KeptRecord(found.data[: MAX_SIGNED_BYTES + 1], found.sequence) if found is not None else KeptRecord()

    async def keep_record(self, text: bytes, revision: int) -> bool:
        return await self._put(RECORD, text, revision)

    async def lease(self, holder: str, seconds: float) -> LeaseTaken | None:
        """The lease of another keeper is over when it was not renewed for so long by the own clock, which only counts:
        no two clocks are compared."""
        found = await self.connection.last(f"KV_{FLEET}", LEASE)
        now = self._clock.monotonic()
        if found is not None and _decoded(found, _Lease).holder != holder:
            if self._other[0] != found.sequence:
                self._other = (found.sequence, now)
            if now - self._other[1] < seconds:
                return None
        kept = await self._put(LEASE, msgspec.json.encode(_Lease(holder)), found.sequence if found else 0)
        mine = await self.connection.last(f"KV_{FLEET}", LEASE) if kept else None
        return LeaseTaken(mine.at) if mine is not None and _decoded(mine, _Lease).holder == holder else None

    async def _put(self, subject: str, data: bytes, revision: int | None = None) -> bool:
        """Stores a value; with a revision only over that one, else False. Raises EngineAway."""
        headers = None if revision is None else {"Nats-Expected-Last-Subject-Sequence": str(revision)}
        message = await self.connection.request(subject, data, headers)
        trouble = decoded(message.data, ServerAnswer, "the server's answer").error
        if trouble is not None and trouble.err_code == WRONG_LAST_SEQUENCE:
            return False
        if trouble is not None:
            raise EngineAway(f"the server did not keep {subject}: {trouble.because}")
        return True

    # files

    async def file(self, source: str, name: str, offset: int) -> AsyncIterator[bytes]:
        if not source.startswith("object:"):
            raise NotOffered(f"{source} is no place in an object store")
        bucket, _, directory = source.removeprefix("object:").partition("/")
        stream, path = f"OBJ_{bucket}", f"{directory}/{name}" if directory else name
        encoded = base64.urlsafe_b64encode(path.encode()).decode()
        found = await self.connection.last(stream, f"$O.{bucket}.M.{encoded}")
        about = _decoded(found, StoredObject) if found is not None else None
        if about is None or about.deleted:
            raise NotOffered(f"{path} is not in the object store {bucket}")
        if about.size > about.chunks * MAX_CHUNK_BYTES:
            raise EngineAway(f"the object store's entry of {path} cannot be")
        if offset >= about.size:
            return
        first, skip = offset // about.chunk_bytes, offset % about.chunk_bytes
        async for data in self._chunks(stream, f"$O.{bucket}.C.{about.nuid}", about.chunks, first):
            yield data[skip:]
            skip = 0

    async def _chunks(self, stream: str, subject: str, count: int, first: int) -> AsyncIterator[bytes]:
        """The chunks from number `first` on. Mostly they lie side by side, and then several are asked for at once."""
        begin, end = await self._first(stream, subject), await self.connection.last(stream, subject)
        if begin is None or end is None:
            raise NotOffered(f"the object store has no chunks of {subject}")
        beside = end.sequence - begin.sequence + 1 == count
        if not beside:
            async for data in self._one_by_one(stream, subject, begin, count, first):
                yield data
            return
        number, queries = first, ({"seq": begin.sequence + number} for number in range(first, count))
        async for message in self.connection.messages(stream, queries):
            if message is None or message.subject != subject:
                raise EngineAway(f"chunk {number} of {subject} is missing")
            number += 1
            yield message.data

    async def _one_by_one(
        self, stream: str, subject: str, message: StoredMessage, count: int, first: int
    ) -> AsyncIterator[bytes]:
        """Chunks with others between them: the next one is known only when one is there."""
        for number in range(count):
            if number >= first:
                yield message.data
            if number + 1 < count:
                following = await self._first(stream, subject, message.sequence + 1)
                if following is None:
                    raise EngineAway(f"chunk {number + 1} of {subject} is missing")
                message = following

    async def _first(self, stream: str, subject: str, sequence: int = 1) -> StoredMessage | None:
        async for found in self.connection.messages(stream, [{"seq": sequence, "next_by_subj": subject}]):
            return found
        return None


def _decoded(message: StoredMessage, kind: type[T]) -> T:
    return decoded(message.data, kind, f"what the server has under {message.subject}")
