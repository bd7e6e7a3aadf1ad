"""The settings that are the same for all workers, and which of them a running worker can take up.

Pure. The daemon makes Terms from its configuration; a worker reports its own. Invariant: a field that is not in LIVE
stays as it was at the worker's start, so a worker that needs another value of it has to be replaced.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated, Final, Self

import msgspec

# The limit of a configuration file, and of a JSON number.
Whole = Annotated[int, msgspec.Meta(ge=0, le=2**62)]
Seconds = Annotated[float, msgspec.Meta(ge=0, le=1e9)]


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """`listen` is the address of the worker's listening socket, in the spelling of its daemon.

    `min_free` are the bytes and the fraction of a disk that jobs leave free; the larger one counts.
    """

    listen: str = ""
    kind: str = "sensevoice"
    threads: Whole = 1
    providers: tuple[str, ...] = ("CPUExecutionProvider",)
    queue: Whole = 64
    max_upload_bytes: Whole = 128 << 20
    min_upload_rate: Whole = 10 << 10
    max_audio_seconds: Seconds = 3600.0
    speech_trim: str = "off"
    request_timeout_seconds: Seconds = 300.0
    drain_seconds: Seconds = 30.0
    token_file: str = ""
    model_aliases: tuple[str, ...] = ()
    cors_origins: tuple[str, ...] = ()
    base_path: str = ""
    trusted_proxies: tuple[str, ...] = ()
    log_dir: str = ""
    log_level: str = "info"
    confine: bool = True
    jobs_keep_seconds: Seconds = 86400.0
    jobs_max_jobs: Whole = 5000
    jobs_max_bytes: Whole = 5 << 30
    jobs_callbacks: tuple[str, ...] = ()
    min_free: tuple[Whole, Seconds] = (0, 0.0)

    def with_live(self, wanted: Terms) -> Self:
        """The same, with every field that a running worker can take up as in `wanted`."""
        return msgspec.structs.replace(self, **{name: getattr(wanted, name) for name in LIVE})

    def terms(self) -> Terms:
        """Only the settings that are the same for all workers."""
        return Terms(**{name: getattr(self, name) for name in FIELDS})


FIELDS: Final = Terms.__struct_fields__
STANDARD_OUTPUT: Final = "-"
"""The `log_dir` of logs that go to standard output, as in a container."""
FIXED: Final = ("listen", "kind", "threads", "providers", "log_dir", "confine")
LIVE: Final = tuple(name for name in FIELDS if name not in FIXED)


def differing(one: Terms, other: Terms, among: Collection[str] = FIELDS) -> tuple[str, ...]:
    """The fields that differ, in the order of FIELDS."""
    return tuple(name for name in FIELDS if name in among and getattr(one, name) != getattr(other, name))
