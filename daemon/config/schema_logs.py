"""The tables of the configuration about logs: how our own are written and rotated, and other programs'.

As schema.py has it: one class a table, one attribute a key, every default, every meaning. Types are no texts here
(`annotations` from `__future__`): each would be compiled at every start.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

from ..units import DAY
from . import validators
from .schema_base import Field
from .schema_parts import Section
from .validators import duration, size, whole

_KIB, _MIB, _GIB = 1 << 10, 1 << 20, 1 << 30


class _Rotation(Section):
    """What our own logs and other programs' have in common."""

    every: Annotated[float, duration(0)] = Field(default=DAY, description="Rotate at least so often; 0: not by time.")
    max_size: Annotated[int, size(4 * _KIB, zero=True)] = Field(
        default=100 * _MIB, description="Rotate when a file is so big; 0: not by size."
    )
    keep: Annotated[int, whole(0, 100_000)] = Field(
        default=30,
        description="Rotated files kept of each log; what was rotated by hand within one period counts once.",
    )
    max_age: Annotated[float, duration(0)] = Field(default=30 * DAY, description="Older rotated files go; 0: no limit.")
    max_total: Annotated[int, size(zero=True)] = Field(
        default=_GIB,
        description="All rotated files together, whatever `keep` would keep; 0: no limit.",
    )
    compress: Literal["gzip", "zstd", "none"] = Field(default="gzip", description="How rotated files are compressed.")


class LogsExtra(_Rotation):
    """Log files of another program."""

    path: Annotated[str, validators.path_pattern] = Field(description="Which files; * matches within one directory.")
    method: Literal["reopen", "collapse", "rename"] = Field(
        default="collapse",
        description="What the writer does. `collapse`: it only appends; `rename`: it opens the file for each line; "
        "`reopen`: it opens a new one, told to if it is attached; the old one is compressed once it has.",
    )
    copytruncate: bool = Field(
        default=False,
        description="Where the file system cannot collapse, or the program does not append: copy and truncate, which "
        "loses what is written in between.",
    )


def _inherited(given: dict[str, Any]) -> None:
    return None


class OwnLog(Section):
    """A log of ours that is rotated in its own way; a key that is not given is taken from `[logs]`."""

    every: Annotated[float | None, duration(0)] = Field(
        default_factory=_inherited, description="As in `[logs]`; not given: as there."
    )
    max_size: Annotated[int | None, size(4 * _KIB, zero=True)] = Field(
        default_factory=_inherited, description="As in `[logs]`; not given: as there."
    )
    keep: Annotated[int | None, whole(0, 100_000)] = Field(
        default_factory=_inherited, description="As in `[logs]`; not given: as there."
    )
    max_age: Annotated[float | None, duration(0)] = Field(
        default_factory=_inherited, description="As in `[logs]`; not given: as there."
    )
    max_total: Annotated[int | None, size(zero=True)] = Field(
        default_factory=_inherited,
        description="The rotated files of this log; not given: they count in the total of `[logs]`.",
    )
    compress: Literal["inherit", "gzip", "zstd", "none"] = Field(
        default="inherit", description="As in `[logs]`; `inherit`: as there."
    )


class LogsSection(_Rotation):
    """Our own log files, and those of others that are rotated along."""

    dir: Annotated[Path | None, validators.log_directory] = Field(
        default=Path("/var/log/modelward"),
        description="modelward.log, access.log, error.log, debug.log. Other files in it are never removed. "
        '`""` or `"-"`: JSON lines on standard output, of the daemon and the workers, as a container wants them; '
        "nothing of ours is rotated then, and a line has at most 4 KiB.",
    )
    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="What is worth a line; `debug` also writes debug.log."
    )
    forward: Annotated[str, validators.log_receiver] = Field(
        default="",
        description="Who else gets the lines of modelward.log and access.log while a daemon runs: journald, or syslog "
        'over a socket or UDP, in addition to the files; "": no receiver. Needs `dir`.',
    )
    access: OwnLog = Field(default=OwnLog(), description="How access.log is rotated, where not as the others.")
    error: OwnLog = Field(default=OwnLog(), description="How error.log is rotated, where not as the others.")
    debug: OwnLog = Field(default=OwnLog(), description="How debug.log is rotated, where not as the others.")
    extra: tuple[LogsExtra, ...] = Field(default=(), description="Other programs' logs, one table each.")
