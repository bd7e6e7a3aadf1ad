"""The servers that modelward is measured beside, one file each. Imports none of them by itself."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.bench.peers.peer import Peer

NAMES = ("flask_lock", "funasr_fastapi", "sherpa", "mlserver", "litserve", "ray_serve", "triton")


def find(name: str) -> Peer:
    """The one in the file of this name."""
    found: Peer = importlib.import_module(f"{__name__}.{name}").PEER
    return found


def all_peers() -> list[Peer]:
    return [find(name) for name in NAMES]
