"""Who may use the daemon's sockets, by the kernel's word about the peer."""

from __future__ import annotations

import grp
import os
import pwd
from pathlib import Path


def allowed(uid: int, gid: int, socket_path: Path) -> bool:
    """Root, the daemon's own user, and the members of the socket's group, which its file mode lets in."""
    if uid in (0, os.geteuid()):
        return True
    try:
        group = os.stat(socket_path).st_gid
        if gid == group:
            return True
        return pwd.getpwuid(uid).pw_name in grp.getgrgid(group).gr_mem
    except (OSError, KeyError):
        return False
