"""What a NATS server answers, as structures within their limits. Pure.

Nothing that a server sends is used before it went through here. Invariant: what cannot be read is EngineAway, with a
text of one short line, whatever the server wrote.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, TypeVar

import msgspec
from msgspec import Meta, Struct

from ...worker.shared.unreadable import UNREADABLE
from .engine import EngineAway

MAX_CHUNK_BYTES: Final = 1 << 20
MAX_CHUNKS: Final = 1 << 27
_CHUNK_BYTES: Final = 128 << 10
_SHOWN_CHARS: Final = 200
T = TypeVar("T")


class ServerTrouble(Struct, frozen=True):
    """Why a server did not do something."""

    code: int = 0
    err_code: int = 0
    description: str = ""

    @property
    def because(self) -> str:
        """For people."""
        return shown(self.description) or "without a reason"


class ServerAnswer(Struct, frozen=True):
    """Of a request that changes something."""

    error: ServerTrouble | None = None


class PurgeAnswer(ServerAnswer, frozen=True):
    """`purged` is how many messages went."""

    purged: int = 0


class StreamConfig(Struct, frozen=True):
    """What counts of a stream's configuration. `duplicate_window` is in nanoseconds; without a limit `max_bytes` is
    below 1."""

    allow_direct: bool = False
    allow_rollup_hdrs: bool = False
    duplicate_window: int = 0
    max_bytes: int = -1
    num_replicas: int = 1


class StreamState(Struct, frozen=True):
    """What a stream takes, and its subjects, where they were requested."""

    bytes: int = 0
    subjects: dict[str, int] | None = None


class StreamAnswer(ServerAnswer, frozen=True):
    """A stream. `total` is how many subjects it has."""

    config: StreamConfig = StreamConfig()
    state: StreamState = StreamState()
    total: int = 0

    @property
    def subjects(self) -> list[str]:
        return list(self.state.subjects or ())


class StreamText(ServerAnswer, frozen=True):
    """A stream with its whole configuration, as it has to be sent back where one field of it changes."""

    config: dict[str, Any] = {}


class AccountLimits(Struct, frozen=True):
    """What the streams of an account may take together; below 1: there is no limit."""

    max_storage: int = -1


class AccountAnswer(ServerAnswer, frozen=True):
    """The account of this client."""

    limits: AccountLimits = AccountLimits()


class ObjectOptions(Struct, frozen=True):
    """How an object is cut."""

    max_chunk_size: int = 0


class StoredObject(Struct, frozen=True):
    """What the object store knows of a file. `nuid` names its chunks."""

    nuid: Annotated[str, Meta(pattern="^[A-Za-z0-9_-]{1,64}$")]
    size: Annotated[int, Meta(ge=0)]
    chunks: Annotated[int, Meta(ge=0, le=MAX_CHUNKS)]
    digest: str = ""
    options: ObjectOptions | None = None
    deleted: bool = False

    @property
    def chunk_bytes(self) -> int:
        """Of each chunk but the last."""
        found = self.options.max_chunk_size if self.options is not None else 0
        return found if 0 < found <= MAX_CHUNK_BYTES else _CHUNK_BYTES


def decoded(data: bytes, kind: type[T], what: str) -> T:
    """Raises EngineAway, which names it as `what`."""
    try:
        return msgspec.json.decode(data, type=kind)
    except UNREADABLE as e:
        raise EngineAway(f"{what} cannot be read: {shown(e)}") from e


def shown(text: Any) -> str:
    """A text of a server as the part of a line."""
    return "".join(sign if sign.isprintable() else " " for sign in str(text)[:_SHOWN_CHARS]).strip()
