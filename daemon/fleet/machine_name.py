"""What this machine is called in its fleet when the configuration gives it no name. Blocks for one small file.

Invariant: the same machine has the same name after each start, and the name does not give away /etc/machine-id, which
other programs use as a secret.
"""

from __future__ import annotations

import hashlib
import socket
from pathlib import Path
from typing import Final

from ..system.safe_read import open_regular

MACHINE_ID: Final = Path("/etc/machine-id")
_MAX_BYTES: Final = 256


def machine_name(configured: str, machine_id: Path = MACHINE_ID) -> str:
    """The name of this machine. Without a machine id it is made from the host's name."""
    if configured:
        return configured
    try:
        with open_regular(machine_id) as file:
            own = file.read(_MAX_BYTES).strip()
    except OSError:
        own = b""
    return "m-" + hashlib.sha256(b"modelward fleet\n" + (own or socket.gethostname().encode())).hexdigest()[:20]
