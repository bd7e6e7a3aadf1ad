"""Decides how many connections a server may hold, by the descriptors that this process may have.

It must not change the limit. Invariant: with every server full, enough descriptors are left for the daemon's own files,
workers and children.
"""

from __future__ import annotations

import resource
from typing import Final

RESERVED: Final = 40
"""For the daemon's state, logs, watches, sockets and pipes of children: it uses 27 at rest with two workers."""
LEAST: Final = 4


def connections(most: int, share: float) -> int:
    """At most `most`, at least LEAST, and no more than `share` (0 to 1) of the descriptors that are not reserved."""
    soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return most if soft == resource.RLIM_INFINITY else bounded(most, share, soft)


def bounded(most: int, share: float, limit: int) -> int:
    """As `connections`, for a limit of `limit` descriptors."""
    return max(LEAST, min(most, int((limit - RESERVED) * share)))
