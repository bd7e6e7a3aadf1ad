"""Where the daemon's socket is when no option names it. Loads next to nothing: a health check starts often."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final

DEFAULT_SOCKET: Final = "/run/modelward/api.sock"


def socket_path(environ: Mapping[str, str]) -> str:
    """MODELWARD_SOCKET, else the one in the runtime directory that a variable gives the daemon, else DEFAULT_SOCKET.
    Where that is not there, it is the socket of the user's own `modelward serve`.
    """
    if path := environ.get("MODELWARD_SOCKET", ""):
        return path
    if runtime_dir := environ.get("MODELWARD_CONTROL__RUNTIME_DIR", ""):
        return f"{runtime_dir}/api.sock"
    if os.path.lexists(DEFAULT_SOCKET):
        return DEFAULT_SOCKET
    from .serve_home import home_here  # here: where a service runs, nothing of it is needed

    own = str(home_here().socket)
    return own if os.path.lexists(own) else DEFAULT_SOCKET
