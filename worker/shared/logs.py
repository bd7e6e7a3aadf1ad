"""The log files of a process: whole JSON lines, one write each, on files to which several processes append.

It decides which file a line belongs to and how long it may be. It must never raise into the program, whatever the disk
does. In the background a thread does everything that touches a file, so a disk that does not answer stops no caller,
not even at the start (see log_writer). Other programs delete and rename log files: each writer notices that its file
has lost its name and opens it anew. Invariant: a line is whole or not there. Lines that could not be written are
counted, and the count is logged once writing works again.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import stat
import sys
import threading
import time
from collections.abc import Callable, Mapping, MutableMapping
from functools import partial
from pathlib import Path
from typing import Any, Final, TextIO

import structlog

from ..settings import STANDARD_OUTPUT
from .log_lines import LINE_BYTES, PIPE_BYTES, line_of, now, shortened
from .log_writer import (
    END_SECONDS,
    Job,
    LogWriter,
    Write,
)

TEXT_CHARS: Final = 16 * 1024
RETRY_SECONDS: Final = 1.0
NAME_SECONDS: Final = 2.0
"""While lines are written, the time between two checks of what has the name of a file."""
FOLLOW_SECONDS: Final = 15.0
"""The time between two checks of files without new lines; the program calls `Logs.follow`."""
STUCK_SECONDS: Final = 5.0
"""A disk that has not answered for this time is reported."""
ERROR_BYTES: Final = 4096  # of a line, to standard error: a pipe takes this much at once or not at all
LEVELS: Final = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}


class LogFile:
    """One file, opened by name for appending, at its first line if not now. `path` None writes to `stream`.

    `dropped` counts lines since the last written one, `lost` all of them. A lock is held for one write or one
    reopening, so that nothing goes to the old file once `reopen` has returned.
    """

    def __init__(
        self,
        path: Path | None,
        *,
        name_seconds: float = NAME_SECONDS,
        opened: bool = True,
        stream: TextIO | None = None,
    ) -> None:
        self.path = path
        self.dropped = self.lost = 0
        self._name_seconds, self._look_at = name_seconds, 0.0
        self._because = self._former = ""
        self._torn = False
        self._stream = "" if path is not None else "standard output" if stream is sys.stdout else "standard error"
        self._fd = -1 if path is not None or stream is None else stream.fileno()  # None: it was closed at the start
        self._retry_at = 0.0
        self._lock = threading.Lock()
        if opened:
            self._open()

    def write(self, line: bytes) -> bool:
        """Appends `line` (which ends in a newline). Never raises: a line that cannot be written is counted, and False.

        A file without a name gets no line. Another file with its name is noticed within `name_seconds`.
        """
        with self._lock:
            self._follow(by_name=time.monotonic() >= self._look_at)
            if self._ready() and self._put(line):
                return True
            self.dropped += 1
            self.lost += 1
            return False

    def follow(self) -> str:
        """Opens the file anew if another file has its name, or none. Returns why lines are dropped now, or go to the
        file that had its name; "" when neither is so.
        """
        with self._lock:
            self._follow(by_name=True)
            if self._former:
                return f"cannot write {self.path}: {self._former}; lines go to the file that had this name"
            if self._ready() or self._stream == "standard error" or (self.path is None and not self._stream):
                return ""
            because = self._because or "it is closed"
            return f"cannot write {self.path or self._stream}: {because}; {self.dropped} lines were dropped"

    def _ready(self) -> bool:
        """Whether the file is open. Also writes how many lines it lacks, if any."""
        if self._fd < 0 and not self._open():
            return False
        if self.dropped:
            note = {"time": now(), "level": "warning", "event": f"dropped {self.dropped} lines: {self._because}"}
            if not self._put(line_of(note)):
                return False
            self.dropped = 0
        return True

    def _follow(self, *, by_name: bool) -> None:
        """Closes a file that lost its name. If another file has the name, the old one is kept until the new one is
        open.
        """
        if self.path is None or self._fd < 0:
            return
        mine = os.fstat(self._fd)
        if mine.st_nlink:
            if not by_name:
                return
            self._look_at = time.monotonic() + self._name_seconds
            try:
                there = os.lstat(self.path)
                if (there.st_dev, there.st_ino) == (mine.st_dev, mine.st_ino):
                    return
            except FileNotFoundError:
                pass
            except OSError:
                return
        old, torn = self._fd, self._torn
        self._fd, self._torn = -1, False
        if self._open(kept=mine.st_nlink > 0) or not mine.st_nlink:
            os.close(old)
        else:
            self._fd, self._torn, self._former = old, torn, self._because

    def close(self) -> None:
        """Nothing is written any more, whichever part still has it."""
        with self._lock:
            self._close()
            self.path = None

    def reopen(self) -> None:
        """Closes the file and opens the one that has the name now."""
        with self._lock:
            self._close()
            self._retry_at = 0.0
            self._open()
            self._look_at = time.monotonic() + self._name_seconds

    def _close(self) -> None:
        if self.path is not None and self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        self._torn, self._former = False, ""

    def _open(self, *, kept: bool = False) -> bool:
        """Opens the file by its name. With `kept`, lines go to the former file if that fails."""
        if self.path is None or time.monotonic() < self._retry_at:
            return False
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        try:
            fd = os.open(self.path, flags, 0o640)
        except OSError as e:
            self._failed(e.strerror or str(e), kept=kept)
            return False
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            self._failed("it is not a regular file", kept=kept)
            return False
        self._fd, self._former = fd, ""
        return True

    def _failed(self, because: str, *, kept: bool) -> None:
        self._retry_at = time.monotonic() + RETRY_SECONDS
        if self._because != because:
            text = f"cannot write {self.path}: {because}; lines are dropped\n"
            if kept:
                text = f"cannot write {self.path}: {because}; lines go to the file that had this name\n"
            _to_standard_error(text.encode("utf-8", "backslashreplace"))
        self._because = because

    def _put(self, line: bytes) -> bool:
        # A full disk may take half a line: the next one then begins on a line of its own.
        data = b"\n" + line if self._torn else line
        try:
            written = os.write(self._fd, data)
        except OSError as e:
            self._because = e.strerror or str(e)
            return False
        if written < len(data):
            self._torn, self._because = written > 0 or self._torn, "no space for a whole line"
            return False
        self._torn = False
        return True


class LogFiles:
    """All log files of one process. `directory` "" sends everything to standard error, "-" to standard output.

    On standard output a line has at most PIPE_BYTES: a pipe with several writers keeps it whole.

    With `background` a thread opens and writes the files, after it did `first`; otherwise the calling thread does.
    """

    def __init__(
        self,
        directory: str,
        *,
        worker: str,
        level: str = "info",
        background: bool = False,
        first: Job = lambda: None,
    ) -> None:
        self.worker = worker
        self._level = LEVELS["info"]
        self._root = root = Path(directory) if directory not in ("", STANDARD_OUTPUT) else None
        self._most_bytes = PIPE_BYTES if directory == STANDARD_OUTPUT else LINE_BYTES
        names = ["modelward.log", "access.log", "error.log"]
        files = {name: LogFile(root / name, opened=False) for name in names} if root else {}
        stream = sys.stdout if directory == STANDARD_OUTPUT else sys.stderr
        self._files = files or dict.fromkeys(names, LogFile(None, stream=stream))
        self._kind = {"log": "access"} if directory == STANDARD_OUTPUT else {}
        self._access, self._single = self._files["access.log"], root is None
        self._lost_before = 0
        self._writer = LogWriter(self._missed) if background else None
        self._do(first)
        self.follow()  # opened now: when descriptors run out, that must still be logged
        self.events: structlog.typing.FilteringBoundLogger = structlog.wrap_logger(
            _Sink({level: partial(self._take, partial(self._route, level)) for level in LEVELS.values()}),
            processors=[self._enough, self._stamp, structlog.processors.format_exc_info, _bounded, self._render],
            wrapper_class=structlog.make_filtering_bound_logger(LEVELS["debug"]),
            cache_logger_on_first_use=True,
        )
        self.set_level(level)

    def close(self, seconds: float = END_SECONDS) -> bool:
        """Waits until what was logged is written, for a limited time; False when that was not enough.

        Later lines are written if there is time before the process ends.
        """
        return self._writer is None or self._writer.flush(seconds)

    @property
    def lost(self) -> int:
        """How many lines were dropped so far."""
        files = sum(file.lost for file in set(self._files.values()))
        return self._lost_before + files + (self._writer.lost if self._writer is not None else 0)

    def stuck(self) -> str:
        """A sentence about a disk that does not answer; "" while it does. Does not wait."""
        seconds = self._writer.stuck_seconds if self._writer is not None else 0.0
        if seconds < STUCK_SECONDS:
            return ""
        if self._root is None:
            return f"cannot write logs: nobody has read standard output for {seconds:.0f} s; lines are dropped"
        return f"cannot write logs in {self._root}: the disk has not answered for {seconds:.0f} s; lines are dropped"

    def set_level(self, level: str) -> None:
        """Sets which events are logged from now on; `debug` also opens debug.log, every other level closes it."""
        self._level = LEVELS.get(level, LEVELS["info"])
        self._do(partial(self._keep_debug, self._level <= LEVELS["debug"]))

    def _keep_debug(self, wanted: bool) -> None:
        if not wanted:
            closed = self._files.get("debug.log")
            self._files = {name: file for name, file in self._files.items() if name != "debug.log"}
            if closed is not None and self._root is not None:
                closed.close()
                self._lost_before += closed.lost
        elif "debug.log" not in self._files:
            same = self._files["modelward.log"]
            self._files = {**self._files, "debug.log": LogFile(self._root / "debug.log") if self._root else same}

    def _take(self, write: Write, line: bytes) -> None:
        if self._writer is None:
            write(line)
        else:
            self._writer.put(write, line)

    def _do(self, job: Job) -> None:
        if self._writer is None:
            job()
        else:
            self._writer.do(job)

    def _missed(self, count: int, seconds: float) -> None:
        """On the thread: lines that found no room because the disk did not answer."""
        because = f"{'the disk did not answer' if self._root else 'nobody read standard output'} for {seconds:.1f} s"
        note = {"worker": self.worker, "event": f"dropped {count} lines: {because}"}
        self._route(LEVELS["warning"], line_of({"time": now(), "level": "warning", **note}))

    def access(self, **fields: Any) -> None:
        """One line of a request; `time` and `worker` are added."""
        self._take(self._access.write, self._line({"time": now(), "worker": self.worker, **self._kind, **fields}))

    def _line(self, fields: MutableMapping[str, Any]) -> bytes:
        return line_of(fields, self._most_bytes)

    def refused(self, client: str, status: int) -> None:
        """The line for what was answered before it became a request."""
        nothing = {"method": "", "path": "", "seconds": 0.0, "bytes": 0, "version": "", "request": "", "agent": ""}
        self.access(**nothing, status=status, client=client)

    def reopen(self, then: Job = lambda: None) -> None:
        """Opens each file anew by its name; when `then` is called, nothing more goes to the former files.

        `then` may be called on another thread, and is not called while the disk does not answer.
        """

        def work() -> None:
            for file in set(self._files.values()):
                file.reopen()
            then()

        self._do(work)

    def follow(self, then: Callable[[list[str]], object] = lambda trouble: None) -> None:
        """Opens each file anew that another program deleted or renamed. To be called every FOLLOW_SECONDS, from any
        thread.

        `then` is called as in `reopen`, with sentences about the files that cannot be written. A file with new lines is
        checked by the write itself.
        """
        self._do(lambda: then([trouble for file in set(self._files.values()) if (trouble := file.follow())]))

    def adopt_logging(self) -> None:
        """Sends the standard library's records (libraries use it) to the event log, warnings and above."""
        root = logging.getLogger()
        root.handlers[:] = [_FromLogging(self.events)]
        root.setLevel(logging.WARNING)
        # Both log a warning for every malformed request; that is one line in the access log already.
        logging.getLogger("python_multipart").setLevel(logging.CRITICAL)
        logging.getLogger("uvicorn.error").setLevel(logging.ERROR)

    def _enough(self, _: Any, method: str, fields: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        if LEVELS.get(method, LEVELS["error"]) < self._level:
            raise structlog.DropEvent
        return fields

    def _stamp(self, _: Any, method: str, fields: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        return {"time": now(), "level": method, "worker": self.worker, "event": fields.pop("event", ""), **fields}

    def _render(self, _: Any, __: str, fields: MutableMapping[str, Any]) -> tuple[tuple[bytes], dict[str, Any]]:
        return (self._line(fields),), {}

    def _route(self, level: int, line: bytes) -> None:
        if level >= LEVELS["info"]:
            there = self._files["modelward.log"].write(line)
            if self._single:
                return
            if level >= LEVELS["warning"]:
                there = self._files["error.log"].write(line) or there
            if not there:
                _to_standard_error(line)
        if (debug := self._files.get("debug.log")) is not None:
            debug.write(line)


def _to_standard_error(line: bytes) -> None:
    """Where an event goes that no log file takes. It is cut to what a pipe takes at once, and dropped when the pipe
    takes none.
    """
    with contextlib.suppress(OSError, ValueError):  # closed, or missing
        fd = sys.stderr.fileno()
        poll = select.poll()
        poll.register(fd, select.POLLOUT)
        if any(event & select.POLLOUT for _, event in poll.poll(0)):
            os.write(fd, line if len(line) <= ERROR_BYTES else line[: ERROR_BYTES - 1] + b"\n")


def _bounded(_: Any, __: str, fields: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    return {key: shortened(value, TEXT_CHARS) for key, value in fields.items()}


class _Sink:
    """The target of structlog: one method for each level."""

    def __init__(self, writes: Mapping[int, Write]) -> None:
        self.debug, self.info = writes[LEVELS["debug"]], writes[LEVELS["info"]]
        self.warning, self.error = writes[LEVELS["warning"]], writes[LEVELS["error"]]
        self.critical = writes[LEVELS["critical"]]


class _FromLogging(logging.Handler):
    def __init__(self, events: structlog.typing.FilteringBoundLogger) -> None:
        super().__init__()
        self._events = events

    def emit(self, record: logging.LogRecord) -> None:
        failed = record.exc_info if record.exc_info and record.exc_info[0] else None
        level = logging.ERROR if record.levelno >= logging.ERROR else logging.WARNING
        self._events.log(level, record.getMessage(), logger=record.name, exc_info=failed)
