"""What an operator puts onto a NATS server: the streams of a fleet, and the files of its versions.

For commands, not for the daemon. Invariants: of a stream that is there only the room is changed (`nats_room`), and one
is refused when machines could harm one another by it; an object is replaced only by one with another content.
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Callable, Iterable
from io import BufferedIOBase
from pathlib import Path
from typing import Any, Final, cast

import nats.errors
from nats.js import api as js_api
from nats.js.errors import Error as StreamError

from ..errors import Refused
from ..units import DAY
from .engine import EngineAway, NotOffered
from .manifest import open_member
from .nats_answers import ServerAnswer, StreamAnswer
from .nats_connection import NatsConnection
from .nats_engine import MAX_REPORTS
from .nats_names import FLEET, MODELS, REPORTS
from .nats_objects import entry, meta
from .nats_room import account_bytes, stored_bytes, versions_limit
from .reports import MAX_REPORT_BYTES
from .signature import MAX_SIGNED_BYTES

KEPT_RECORDS: Final = 32
REPORT_DAYS: Final = 90
CHUNK_BYTES: Final = 128 << 10
_NANOSECONDS: Final = 1_000_000_000
DUPLICATE_WINDOW: Final = _NANOSECONDS // 10
"""For so long a server keeps the id of each message, in nanoseconds: the least that it takes."""
_HEADERS: Final = 1024
STREAMS: Final[dict[str, dict[str, Any]]] = {
    f"KV_{FLEET}": {
        "subjects": [f"$KV.{FLEET}.*"],
        "max_msgs_per_subject": KEPT_RECORDS,
        "max_msg_size": MAX_SIGNED_BYTES + _HEADERS,
    },
    f"KV_{REPORTS}": {
        "subjects": [f"$KV.{REPORTS}.*"],
        "max_msgs_per_subject": 1,
        "max_msgs": MAX_REPORTS,
        "max_msg_size": MAX_REPORT_BYTES + _HEADERS,
        "max_age": int(REPORT_DAYS * DAY) * _NANOSECONDS,
    },
    f"OBJ_{MODELS}": {
        "subjects": [f"$O.{MODELS}.C.>", f"$O.{MODELS}.M.>"],
        "discard": "new",
        "allow_rollup_hdrs": True,
    },
}
_ALL: Final[dict[str, Any]] = {
    "retention": "limits", "storage": "file", "allow_direct": True, "num_replicas": 1,
    "duplicate_window": DUPLICATE_WINDOW,
}  # fmt: skip


async def prepare(connection: NatsConnection, replicas: int = 1) -> list[str]:
    """Makes the streams that are not there; their names. Raises EngineAway, and Refused for one that must not be."""
    made = []
    for name, wanted in STREAMS.items():
        try:
            found = (await connection.api(f"STREAM.INFO.{name}", None, StreamAnswer)).config
        except NotOffered:
            config = {**_ALL, **wanted, "name": name, "num_replicas": replicas}
            if name == f"OBJ_{MODELS}":
                config["max_bytes"] = versions_limit(await account_bytes(connection), replicas) or -1
            await connection.api(f"STREAM.CREATE.{name}", config, ServerAnswer)
            made.append(name)
            continue
        if not found.allow_direct:
            raise Refused(f"cannot use the stream {name}: its messages cannot be read one by one (allow_direct)")
        if name == f"KV_{REPORTS}" and found.allow_rollup_hdrs:
            raise Refused(f"cannot use the stream {name}: one machine could remove the reports of all (rollup headers)")
        if name == f"KV_{REPORTS}" and found.duplicate_window > DUPLICATE_WINDOW:
            raise Refused(
                f"cannot use the stream {name}: one machine could fill the server's memory with ids of messages; "
                f"`nats stream edit {name} --dupe-window 100ms` ends that"
            )
    return made


async def upload(
    connection: NatsConnection, directory: Path, files: Iterable[str], into: str, progress: Callable[[str], None]
) -> None:
    """Puts the files of a version into the object store, below `into`. Raises EngineAway, Refused and OSError."""
    client = await connection.client()
    try:
        store = await client.jetstream(timeout=30).object_store(MODELS)
        for name in files:
            if await _same(connection, into, directory, name):
                continue
            progress(name)
            about = js_api.ObjectMeta(
                name=f"{into}/{name}", options=js_api.ObjectMetaOptions(max_chunk_size=CHUNK_BYTES)
            )
            with open_member(directory, name) as file:
                await store.put(f"{into}/{name}", cast(BufferedIOBase, file), about)
    except (nats.errors.Error, StreamError, TimeoutError) as e:
        raise EngineAway(f"cannot put the files of {directory.name} onto the server: {e}") from e


async def missing_bytes(connection: NatsConnection, directory: Path, files: Iterable[str], into: str) -> int:
    """What the files take on the server that are not there. Raises EngineAway and OSError."""
    needed = 0
    for name in files:
        if not await _same(connection, into, directory, name):
            with open_member(directory, name) as file:
                needed += stored_bytes(os.fstat(file.fileno()).st_size)
    return needed


async def _same(connection: NatsConnection, into: str, directory: Path, name: str) -> bool:
    """Whether the object store has this content."""
    about = await entry(connection, meta(f"{into}/{name}"))
    if about is None or about.deleted:
        return False
    hashed = hashlib.sha256()
    with open_member(directory, name) as file:
        if about.size != os.fstat(file.fileno()).st_size:
            return False
        while data := file.read(1 << 20):
            hashed.update(data)
    return about.digest == f"SHA-256={base64.urlsafe_b64encode(hashed.digest()).decode()}"
