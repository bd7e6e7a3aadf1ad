"""Ends this process as SIGTERM does when the process that started it has ended, however that ended.

It is for a daemon that belongs to a terminal's command: after `kill -9` of the command nothing else would end it. To be
called on the main thread when SIGTERM is handled. Invariant: a parent that ended before the call is noticed too.
"""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Mapping
from typing import Final

END_WITH_PARENT: Final = "MODELWARD_END_WITH_PARENT"
"""The variable in which a command gives its pid to a daemon that is to end with it."""
_PR_SET_PDEATHSIG: Final = 1


def given_to_child() -> dict[str, str]:
    """What the environment of a child needs so that it ends with this process."""
    return {END_WITH_PARENT: str(os.getpid())}


def end_with_parent(environ: Mapping[str, str]) -> None:
    """Does nothing where the variable is not set."""
    parent = environ.get(END_WITH_PARENT, "")
    if not parent:
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if parent != str(os.getppid()):
        signal.raise_signal(signal.SIGTERM)
