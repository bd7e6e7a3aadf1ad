"""Decides whether a worker may hold the old and the new version at the same time. Pure.

The validation measured how much memory the version needs. A fifth is kept in reserve, because the kernel kills
processes when memory runs out. When memory is short, `rollout.overlap` decides whether to unload first or to refuse.
"""

from __future__ import annotations

from enum import StrEnum

from ..units import size

RESERVE = 0.2


class Way(StrEnum):
    BESIDE = "beside"
    UNLOAD_FIRST = "unload first"
    REFUSE = "refuse"


def way(need_bytes: int, available_bytes: int | None, overlap: str) -> tuple[Way, str]:
    """How to load, and why. Unknown figures (0, None) allow both versions at once: that never stops a service."""
    if not need_bytes or available_bytes is None or available_bytes >= need_bytes * (1 + RESERVE):
        return Way.BESIDE, ""
    because = f"loading takes {size(need_bytes)}, {size(available_bytes)} are available"
    if overlap == "required":
        return Way.REFUSE, f"{because}, and rollout.overlap is required"
    return Way.UNLOAD_FIRST, because
