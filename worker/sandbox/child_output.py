"""Keeps a child process's standard output for protocol lines; all other output goes to standard error.

It closes every other inherited descriptor. To be called first, before libraries open files.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Final

from .. import protocol

Send = Callable[[protocol.Message], None]
_MAX_DESCRIPTORS: Final = 1 << 16


def message_writer() -> Send:
    """A function that writes one message to what was standard output until now. Raises OSError when that is closed."""
    real = os.dup(1)
    os.dup2(2, 1)
    for first, last in ((3, real), (real + 1, _MAX_DESCRIPTORS)):
        os.closerange(first, last)

    def send(message: protocol.Message) -> None:
        line = memoryview(protocol.encode(message))
        while line:
            line = line[os.write(real, line) :]

    return send
