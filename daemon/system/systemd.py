"""The messages between systemd and the daemon: readiness, status, watchdog signals, and sockets that systemd passes.

It never blocks. If the manager does not read, a message is lost and the event loop continues (the libraries for this
all block). See sd_notify(3), sd_watchdog_enabled(3) and sd_listen_fds(3).
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

FIRST_FD = 3
MAX_FDS = 16
MAX_STATUS_CHARS = 400


def notify(environ: Mapping[str, str], *assignments: str) -> bool:
    """Sends state such as "READY=1" in one datagram; False when there is no receiver or the manager is behind.

    An assignment is one line: a newline in it would begin another assignment.
    """
    address = environ.get("NOTIFY_SOCKET", "")
    if address[:1] not in ("/", "@"):
        return False
    if address[0] == "@":
        address = "\0" + address[1:]
    state = "\n".join(" ".join(text.split("\n")) for text in assignments)
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as s:
        s.setblocking(False)
        s.sendto(state.encode("utf-8", "replace"), address)
        return True
    return False


def status(sentence: str) -> str:
    """The assignment for the text in `systemctl status`."""
    return f"STATUS={sentence[:MAX_STATUS_CHARS]}"


def extend_timeout(seconds: float) -> str:
    """The assignment that requests this much more time, counted from now, to start or stop."""
    return f"EXTEND_TIMEOUT_USEC={int(seconds * 1e6)}"


def watchdog_seconds(environ: Mapping[str, str], pid: int) -> float | None:
    """The longest time between two watchdog signals of this process; None when there is no watchdog."""
    if environ.get("WATCHDOG_PID", str(pid)) != str(pid):
        return None
    try:
        seconds = int(environ.get("WATCHDOG_USEC", "0")) / 1e6
    except (ValueError, OverflowError):
        return None
    return seconds if seconds > 0 else None


def unit(environ: Mapping[str, str], cgroup: Path = Path("/proc/self/cgroup")) -> str:
    """The service that this process runs as, such as "modelward.service"; "" without a service manager."""
    if "NOTIFY_SOCKET" not in environ and "INVOCATION_ID" not in environ:
        return ""
    try:
        names = [line.rpartition("/")[2] for line in cgroup.read_text(errors="replace").splitlines()]
    except OSError:
        return ""
    return next((name for name in names if name.endswith(".service") and not name.startswith("user@")), "")


def listen_sockets(environ: Mapping[str, str], pid: int) -> dict[str, socket.socket]:
    """The sockets that systemd opened for this process, by FileDescriptorName; empty when it passed none.

    A second socket with the same name gets its number appended.
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
        with suppress(OSError):  # a number without an open socket
            os.set_inheritable(FIRST_FD + i, False)
            found[name if name not in found else f"{name}.{i}"] = socket.socket(fileno=FIRST_FD + i)
    return found
