"""The object store of a fleet's NATS server: what lies there, and the removal of what no record wants.

For commands, not for the daemon. An object is an entry and the chunks that it names. Invariants: chunks of an upload
that may be under way stay, and where one entry cannot be read, so do all chunks.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import AsyncIterator, Iterable
from typing import Final

from ..units import MINUTE
from .engine import EngineAway
from .nats_answers import ServerAnswer, StoredObject, StreamAnswer, decoded
from .nats_connection import NatsConnection, StoredMessage
from .nats_names import FLEET, MODELS

STREAM: Final = f"OBJ_{MODELS}"
PUBLISHING: Final = f"$KV.{FLEET}.publishing"
"""What a publisher writes to read the server's time; no machine reads it."""
ABANDONED_SECONDS: Final = 2 * MINUTE
"""An upload whose last chunk is older has ended: it waits for the answer to each chunk, for half a minute at most."""
RIGHT_COUNTS: Final = (2, 10)
"""Debian's 2.9.10 counts wrongly; no later release of 2.9 was tried."""
MAX_OBJECTS: Final = 1_000_000
MAX_UPLOADS: Final = 1_000_000


async def tidy(connection: NatsConnection, wanted: Iterable[str], now: float) -> int:
    """Removes objects that are not in one of the directories `wanted`, and chunks that no entry names; how many.

    `now` is the server's time, in wall seconds. Raises EngineAway.
    """
    keep, removed, named, readable = set(wanted), 0, set[str](), True
    uploads = await connection.subjects(STREAM, f"$O.{MODELS}.C.*", MAX_UPLOADS)  # before the entries that name them
    for subject in await connection.subjects(STREAM, f"$O.{MODELS}.M.*", MAX_OBJECTS):
        try:
            about = await entry(connection, subject)
        except EngineAway:
            readable = False  # of another program
            continue
        name = _name(subject)
        if about is not None and (not name or name.partition("/")[0] in keep):
            named.add(chunks(about.nuid))
        elif name:
            if about is not None:
                await _remove_chunks(connection, chunks(about.nuid))
                named.add(chunks(about.nuid))
            await _purge(connection, subject)
            removed += 1
    for subject in uploads if readable else ():
        if subject not in named and await _ended(connection, subject, now):
            await _remove_chunks(connection, subject)
            removed += 1
    return removed


async def sizes(connection: NatsConnection, directories: Iterable[str]) -> list[int]:
    """Those of the objects in these directories. Raises EngineAway."""
    wanted, found = set(directories), list[int]()
    for subject in await connection.subjects(STREAM, f"$O.{MODELS}.M.*", MAX_OBJECTS):
        about = await entry(connection, subject) if _name(subject).partition("/")[0] in wanted else None
        if about is not None:
            found.append(about.size)
    return found


async def server_time(connection: NatsConnection) -> float:
    """By the server's clock, in wall seconds. Raises EngineAway."""
    await connection.request(PUBLISHING)
    found = await connection.last(f"KV_{FLEET}", PUBLISHING)
    if found is None:
        raise EngineAway(f"the server did not keep {PUBLISHING}")
    return found.at


async def entry(connection: NatsConnection, subject: str) -> StoredObject | None:
    """What the store knows of an object. Raises EngineAway."""
    found = await connection.last(STREAM, subject)
    return decoded(found.data, StoredObject, f"the object store's entry {subject}") if found is not None else None


def chunks(nuid: str) -> str:
    """The subject of an object's chunks."""
    return f"$O.{MODELS}.C.{nuid}"


def meta(name: str) -> str:
    """The subject of an object's entry."""
    return f"$O.{MODELS}.M.{base64.urlsafe_b64encode(name.encode()).decode()}"


def _name(subject: str) -> str:
    """The name of the object with this entry; "" for one of another program."""
    try:
        return base64.urlsafe_b64decode(subject.rpartition(".")[2]).decode()
    except (binascii.Error, UnicodeDecodeError):
        return ""


async def _ended(connection: NatsConnection, subject: str, now: float) -> bool:
    last = await connection.last(STREAM, subject)
    return last is not None and now - last.at >= ABANDONED_SECONDS


async def _purge(connection: NatsConnection, subject: str) -> None:
    await connection.api(f"STREAM.PURGE.{STREAM}", {"filter": subject}, ServerAnswer)


async def _remove_chunks(connection: NatsConnection, subject: str) -> None:
    """An old server goes on counting what a purge removed, until it is started again: there each one is deleted."""
    if await connection.server_release() < RIGHT_COUNTS:
        async for sequence in _sequences(connection, subject):
            await connection.api(f"STREAM.MSG.DELETE.{STREAM}", {"seq": sequence, "no_erase": True}, ServerAnswer)
    await _purge(connection, subject)


async def _sequences(connection: NatsConnection, subject: str) -> AsyncIterator[int]:
    """The numbers of an upload's messages. Mostly no others lie between them, and none but two are read."""
    info = await connection.api(f"STREAM.INFO.{STREAM}", {"subjects_filter": subject}, StreamAnswer)
    count = (info.state.subjects or {}).get(subject, 0)
    first, last = await _next(connection, subject, 1), await connection.last(STREAM, subject)
    if first is None or last is None:
        return
    if last.sequence - first.sequence + 1 == count:
        for sequence in range(first.sequence, last.sequence + 1):
            yield sequence
        return
    found: StoredMessage | None = first
    while found is not None:
        yield found.sequence
        found = await _next(connection, subject, found.sequence + 1)


async def _next(connection: NatsConnection, subject: str, sequence: int) -> StoredMessage | None:
    async for found in connection.messages(STREAM, [{"seq": sequence, "next_by_subj": subject}]):
        return found
    return None
