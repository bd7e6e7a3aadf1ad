"""Who may use the daemon's sockets, by the kernel's word about the peer.

The kernel checked the socket file's mode already; this holds also when somebody loosened it.
"""

from __future__ import annotations

import grp
import os
import pwd
from collections.abc import Sequence
from pathlib import Path


def allowed(uid: int, gid: int, socket_path: Path, groups: Sequence[int] | None = None) -> bool:
    """Root, the daemon's own user, and the members of the socket's group, which its file mode lets in.

    `groups` are the peer's supplementary groups; without them the user database is asked, which may take long.
    """
    if uid in (0, os.geteuid()):
        return True
    try:
        group = os.stat(socket_path).st_gid
        if gid == group:
            return True
        if groups is not None:
            return group in groups
        return pwd.getpwuid(uid).pw_name in grp.getgrgid(group).gr_mem
    except (OSError, KeyError):
        return False
