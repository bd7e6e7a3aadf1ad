"""`python -m modelward.worker.decoders FD PARENT MEMORY BYTES`: one decoder, which takes jobs from the socket FD.

It imports all it needs, gives up every other right, and only then reads its jobs. Exit status: 0 when it was idle, 3
when a library is missing or its arguments are wrong.
"""

from __future__ import annotations

import os
import socket
import sys
from typing import Final

from ..shared.lean_imports import lasting

CANNOT_START: Final = 3


def main(arguments: list[str]) -> int:
    """Decodes until there is nothing to decode; returns the exit status."""
    try:
        inbox_fd, parent, memory_bytes, most_bytes = (int(word) for word in arguments)
        inbox = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM, 0, fileno=inbox_fd)
        inbox.setblocking(False)
        with lasting():
            from .child import DecoderLoop, warm
            from .confinement import confine

        warm()
        pidfd = os.pidfd_open(os.getpid())
    except (ValueError, ImportError, OSError) as e:
        print(f"cannot start a decoder: {e}", file=sys.stderr, flush=True)
        return CANNOT_START
    missing = confine(parent, memory_bytes)
    DecoderLoop(inbox, most_bytes=most_bytes, missing=missing, pidfd=pidfd).run()
    return 0


if __name__ == "__main__":
    status = main(sys.argv[1:])
    os._exit(status)  # freeing the libraries might need rights that it gave up
