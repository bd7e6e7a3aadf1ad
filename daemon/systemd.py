"""What systemd and the daemon say to each other: readiness, status, and sockets handed over.

Never blocks: a manager that does not read loses a message, not the event loop (the libraries for this all block).
See sd_notify(3) and sd_listen_fds(3).
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from contextlib import suppress

FIRST_FD = 3
MAX_FDS = 16


def notify(environ: Mapping[str, str], *assignments: str) -> bool:
    """Sends state such as "READY=1" in one datagram; False when nobody listens or the manager is behind.

    An assignment is one line: a newline within would begin another.
    """
    address = environ.get("NOTIFY_SOCKET", "")
    if address[:1] not in ("/", "@"):
        return False
    if address[0] == "@":
        address = "\0" + address[1:]
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as s:
        s.setblocking(False)
        s.sendto("\n".join(a.replace("\n", " ") for a in assignments).encode(errors="replace"), address)
        return True
    return False


def listen_sockets(environ: Mapping[str, str], pid: int) -> dict[str, socket.socket]:
    """The sockets that systemd opened for this process, by FileDescriptorName; none when it said nothing.

    A second one of the same name gets its number appended.
    """
    if environ.get("LISTEN_PID") != str(pid):
        return {}
    try:
        count = min(int(environ.get("LISTEN_FDS", "0")), MAX_FDS)
    except ValueError:
        return {}
    names = environ.get("LISTEN_FDNAMES", "").split(":")
    found: dict[str, socket.socket] = {}
    for i in range(count):
        name = names[i] if i < len(names) and names[i] else f"fd{i}"
        with suppress(OSError):  # a number that stands for no open socket
            os.set_inheritable(FIRST_FD + i, False)
            found[name if name not in found else f"{name}.{i}"] = socket.socket(fileno=FIRST_FD + i)
    return found
