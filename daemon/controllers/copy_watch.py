"""Knows which of the private copies that workers load are whole.

It decides nothing and removes nothing. Invariant: the event loop reads what the last look on a thread found.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from ..models.artifacts import is_whole


class CopyWatch:
    """The copies of accepted versions, and one more: that of what served last."""

    def __init__(self) -> None:
        self._watched = ""
        self._lost: frozenset[str] = frozenset()

    async def watch(self, artifact: str) -> None:
        """From now on each look includes this copy too; "" for none. Another one than before is checked now."""
        if artifact == self._watched:
            return
        self._watched = artifact
        if artifact:
            whole = await asyncio.to_thread(is_whole, artifact)
            self._lost = self._lost - {artifact} if whole else self._lost | {artifact}

    def look(self, copies: Iterable[str]) -> frozenset[str]:
        """On a thread: those that are gone or damaged, of these and of the watched one."""
        return frozenset(copy for copy in {*copies, self._watched} - {""} if not is_whole(copy))

    def found(self, lost: frozenset[str]) -> None:
        """Takes up what `look` returned."""
        self._lost = lost

    def is_lost(self, artifact: str) -> bool:
        """Whether the last look found this copy gone or damaged."""
        return artifact in self._lost
