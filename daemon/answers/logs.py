"""Log files: what `GET /v1/logs`, `GET /v1/logs/NAME` and `POST /v1/rotate` answer."""

from __future__ import annotations

from msgspec import Struct

from .disk import DeletedOpen


class LogReport(Struct, frozen=True):
    """One log file; `own` when the daemon or its workers write it."""

    name: str
    path: str
    bytes: int
    own: bool


class LogsAnswer(Struct, frozen=True):
    """The log files, ours first, and deleted ones that a process of ours still writes to.

    `standard_output`: our own go there, and there are no files of them.
    """

    logs: list[LogReport]
    deleted_open: list[DeletedOpen]
    standard_output: bool = False


class LogTailAnswer(Struct, frozen=True):
    """The last lines of a log; `truncated` when there is more that was not read."""

    name: str
    path: str
    lines: list[str]
    truncated: bool


class LogFilesAnswer(Struct, frozen=True):
    """What a download of a log has: the live file and so many archives, together so many bytes on the disk.

    `file` is the name for the download; `busy` while another one goes on.
    """

    name: str
    path: str
    archives: int
    bytes: int
    file: str
    busy: bool


class RotationStep(Struct, frozen=True):
    """One thing done (or that would be) or left; `action` is rotated, dropped, packed, cleaned or spared."""

    action: str
    path: str
    because: str
    archive: str = ""
    bytes: int = 0


class RotateAnswer(Struct, frozen=True):
    """One rotation. `tell_writers`: files were renamed, so their writers have to open them anew."""

    dry_run: bool
    steps: list[RotationStep]
    tell_writers: bool
    trouble: list[str]
