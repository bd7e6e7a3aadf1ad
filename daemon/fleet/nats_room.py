"""How much room the versions of a fleet may take on its NATS server, so that records and reports always have some.

For commands, not for the daemon. A server whose storage is full refuses each write: then nobody could halt a rollout,
go back, or report. Invariant: the stream of versions has a limit that leaves a part of the account's storage free.
Where the account has no limit, none is known, and the caller is told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Final

from ..errors import Refused
from ..system.clock import SystemClock
from ..units import size, span
from .engine import EngineAway
from .nats_answers import AccountAnswer, ServerAnswer, StreamAnswer, StreamText
from .nats_connection import NatsConnection
from .nats_objects import ABANDONED_SECONDS, STREAM, server_time, sizes, tidy

LEAST_REST_BYTES: Final = 8 << 20
MOST_REST_BYTES: Final = 4 << 30
"""Two hundred thousand reports, each as large as one may be, take half of it."""
_CHUNK_BYTES: Final = 128 << 10
_BESIDE_BYTES: Final = 256
_ENTRY_BYTES: Final = 4096


def versions_limit(account_bytes: int, replicas: int = 1) -> int:
    """What versions may take of an account's storage: all but a tenth of it; 0 where the account has no limit."""
    if account_bytes <= 0:
        return 0
    rest = min(MOST_REST_BYTES, max(LEAST_REST_BYTES, account_bytes // 10), account_bytes // 2)
    return (account_bytes - rest) // max(1, replicas)


def stored_bytes(file_bytes: int) -> int:
    """What a file takes in the object store: each chunk has some bytes beside it, and the object an entry."""
    return file_bytes + (file_bytes // _CHUNK_BYTES + 1) * _BESIDE_BYTES + _ENTRY_BYTES


async def account_bytes(connection: NatsConnection) -> int:
    """What the streams of the account may take together; below 1: it has no limit. Raises EngineAway."""
    return (await connection.api("INFO", None, AccountAnswer)).limits.max_storage


async def limit_versions(connection: NatsConnection) -> bool:
    """Brings the limit of the stream of versions to what the account has now; False where that has none.

    What lies there stays: the limit is never below it. Raises EngineAway.
    """
    found = await connection.api(f"STREAM.INFO.{STREAM}", None, StreamAnswer)
    wanted = versions_limit(await account_bytes(connection), found.config.num_replicas)
    if not wanted:
        return False
    wanted = max(wanted, found.state.bytes)
    if found.config.max_bytes != wanted:
        config = (await connection.api(f"STREAM.INFO.{STREAM}", None, StreamText)).config
        await connection.api(f"STREAM.UPDATE.{STREAM}", {**config, "max_bytes": wanted}, ServerAnswer)
    return True


async def make_room(
    connection: NatsConnection, needed_bytes: int, wanted: Iterable[str], least: Iterable[str], told: Callable[[], None]
) -> None:
    """Removes what no record wants; where that is too little room, all that is not in `least`.

    `told` is called before versions go that a record wants. Raises EngineAway, and Refused where there is no room: then
    they stay.
    """
    now, least = SystemClock().wall(), list(least)
    with suppress(EngineAway):  # a server that is full
        now = await server_time(connection)
    await tidy(connection, wanted, now)
    await limit_versions(connection)
    found = await connection.api(f"STREAM.INFO.{STREAM}", None, StreamAnswer)
    if _has_room(found, needed_bytes):
        return
    most = versions_limit(await account_bytes(connection), found.config.num_replicas) or found.config.max_bytes
    free = max(0, most - sum(map(stored_bytes, await sizes(connection, least))))
    if free < needed_bytes:
        raise Refused(
            f"cannot publish: no room on the server: {size(needed_bytes)} are needed, and beside what the present and "
            f"the former record want there are {size(free)}; max_file of the account in nats.conf gives more"
        )
    told()
    await tidy(connection, least, now)
    await limit_versions(connection)
    if not _has_room(await connection.api(f"STREAM.INFO.{STREAM}", None, StreamAnswer), needed_bytes):
        raise Refused(
            f"cannot publish: no room on the server: {size(needed_bytes)} are needed, and another upload that does not "
            f"end takes them; what it left is removed after {span(ABANDONED_SECONDS)}: try again then"
        )


def _has_room(stream: StreamAnswer, needed_bytes: int) -> bool:
    limit = stream.config.max_bytes
    return limit <= 0 or limit - stream.state.bytes >= needed_bytes
