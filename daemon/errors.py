"""What can go wrong, as classes that carry the sentence and the exit status.

The sentence begins "cannot …", names the cause and what was done about it. Exit statuses are an interface:
0 done, 1 refused or failed, 2 usage or bad configuration, 3 daemon not reachable.

    ModelwardError (1)
    ├── Refused (1)          a request that is understood and not granted
    │   └── NotKnown (1)     there is no version, worker, rollout or log of that name
    ├── BadConfig (2)        one line a mistake
    ├── BadUsage (2)
    └── Unreachable (3)      no daemon behind the socket
"""

from __future__ import annotations


class ModelwardError(Exception):
    """Base of everything raised on purpose; its text is for the operator."""

    exit_status = 1


class Refused(ModelwardError):
    """A request that is understood and not granted; nothing was changed."""


class NotKnown(Refused):
    """There is no such version, worker, rollout or log."""


class BadUsage(ModelwardError):
    """The call itself makes no sense."""

    exit_status = 2


class BadConfig(ModelwardError):
    """A configuration with mistakes; `mistakes` holds one line for each."""

    exit_status = 2

    def __init__(self, path: str, mistakes: tuple[str, ...]) -> None:
        self.path, self.mistakes = path, mistakes
        super().__init__(f"cannot use {path}: " + "; ".join(mistakes))


class Unreachable(ModelwardError):
    """No daemon answers on its socket."""

    exit_status = 3
