"""Wakes the daemon when an entry is made, moved or deleted in the model root; an event only causes a scan.

No part may rely on it: events are lost, a root is deleted, renamed or mounted over without an event, limits are
reached, threads end. `check()`, called before each scan, repairs all of that; between scans the timer decides.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, Literal

from watchdog.events import (
    DirCreatedEvent,
    DirDeletedEvent,
    DirMovedEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver

from ...worker.shared.started import Thread, start_thread

STOP_SECONDS: Final = 2.0
_EVENTS: Final[list[type[FileSystemEvent]]] = [
    DirCreatedEvent,
    DirMovedEvent,
    DirDeletedEvent,
    FileCreatedEvent,
    FileMovedEvent,
    FileDeletedEvent,
]


class _Wake(FileSystemEventHandler):
    def __init__(self, wake: Callable[[], object]) -> None:
        self._wake = wake

    def on_any_event(self, event: FileSystemEvent) -> None:
        with suppress(RuntimeError):  # the loop is closing; an exception would end watchdog's thread
            self._wake()


class Watch:
    """Watches one directory at a time. `wake` is called on a thread of watchdog and must only set a flag.

    `check` and `stop` may wait for the file system and belong on the thread that scans.
    """

    def __init__(self, root: Path, wake: Callable[[], object]) -> None:
        self._root, self._wake = root, wake
        self._observer: BaseObserver | None = None
        self._watched: tuple[int, int] | None = None
        self.state: Literal["watching", "polling"] = "polling"
        self.because = "not started"

    def check(self) -> str:
        """Watches again if the watch is not on the directory that has the root's name now. To be called before a scan.
        Returns a sentence for the log when the state changed, else "".
        """
        state, because = self.state, self.because
        try:
            fd = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                found = os.fstat(fd)
            finally:
                os.close(fd)
            if (found.st_dev, found.st_ino) != self._watched or not self.alive():
                self._disarm()
                self._arm()
                self._watched = (found.st_dev, found.st_ino)
            self.state, self.because = "watching", ""
        except OSError as e:
            self._disarm()
            self.state, self.because = "polling", _cause(e)
        if (state, because) == (self.state, self.because):
            return ""
        if self.state == "watching":
            return f"watching {self._root}"
        return f"cannot watch {self._root}: {self.because}; looking by the timer alone"

    def stop(self) -> None:
        """Ends the watch and its threads; gives up waiting for them after STOP_SECONDS."""
        self._disarm()
        self.state, self.because = "polling", "stopped"

    def _disarm(self) -> None:
        observer, self._observer, self._watched = self._observer, None, None
        if observer is not None:
            _end(observer)

    def _arm(self) -> None:
        """Raises OSError when the system has no watch to give."""
        observer = Observer()
        try:
            _close_on_exec(observer)
            observer.schedule(_Wake(self._wake), os.path.realpath(self._root), event_filter=_EVENTS)
            observer.start()
        except OSError:
            _end(observer)
            raise
        self._observer = observer

    def alive(self) -> bool:
        """Whether all threads run that an event passes through; watchdog does not report one that ended. Any thread may
        call it.
        """
        observer = self._observer
        emitters = [] if observer is None else [*observer.emitters]
        if observer is None or not observer.is_alive() or not emitters:
            return False
        reader = getattr(observer, "_inotify_fd", None)
        threads = [*emitters, *([reader] if isinstance(reader, Thread) else [])]
        return all(t.is_alive() for t in threads)


def _end(observer: BaseObserver) -> None:
    """Stops and joins on a thread of its own: watchdog waits for its threads without a limit."""

    def stop() -> None:
        with suppress(RuntimeError, OSError):  # never started, or half gone already
            observer.stop()
            observer.join(STOP_SECONDS)

    start_thread("watch-ender", stop).join(STOP_SECONDS)


def _close_on_exec(observer: BaseObserver) -> None:
    """watchdog opens its inotify descriptor inheritable; no child of ours shall hold it."""
    descriptor = getattr(getattr(observer, "_inotify_fd", None), "_inotify_fd", None)
    if isinstance(descriptor, int):
        os.set_inheritable(descriptor, False)


def _cause(error: OSError) -> str:
    if error.errno == errno.ENOSPC:
        return "the limit fs.inotify.max_user_watches is reached"
    if error.errno == errno.EMFILE:
        return "the limit fs.inotify.max_user_instances or of open files is reached"
    return error.strerror or str(error)
