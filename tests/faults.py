"""A file port whose n-th call fails, or at whose n-th call the process dies."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from msgspec.structs import fields

from modelward.daemon.upkeep.fs_port import FileSystemPort

DIED = 77
READING = frozenset({"read", "pread", "fstat", "stat", "statvfs", "scandir", "control", "flock", "close"})


class Faults:
    """Counts the calls of a port; at call `at` raises `error`, or ends the process when `error` is None.

    `only` names the calls that count; closing never fails, as it never does in a way one could act on.
    """

    def __init__(self, at: int, error: OSError | None, only: frozenset[str] | None = None, *, lasting: bool = False):
        self.calls = 0
        self._at, self._error, self._lasting = at, error, lasting
        names = [f.name for f in fields(FileSystemPort) if f.name != "close"]
        counted = [name for name in names if only is None or name in only]
        self.files = FileSystemPort(**{name: self._wrapped(getattr(FileSystemPort(), name)) for name in counted})

    def _wrapped(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            self.calls += 1
            if self.calls == self._at or (self._lasting and self.calls > self._at):
                if self._error is None:
                    os._exit(DIED)
                raise self._error
            return real(*args, **kwargs)

        return call

    @property
    def reached(self) -> bool:
        """Whether the fault happened."""
        return self.calls >= self._at


def dies_in_a_child(action: Callable[[FileSystemPort], None], at: int) -> bool:
    """Runs `action` in a child that dies at its n-th file call; whether it came to that."""
    child = os.fork()
    if child == 0:
        try:
            action(Faults(at, None).files)
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status) == DIED
