"""Records which of the private copies that workers load are whole.

It decides nothing and removes nothing. Invariant: the event loop reads only results that a thread found.
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
        """Adds this copy to the following checks; "" for none. A new copy is checked at once."""
        if artifact == self._watched:
            return
        self._watched = artifact
        if artifact:
            whole = await asyncio.to_thread(is_whole, artifact)
            self._lost = self._lost - {artifact} if whole else self._lost | {artifact}

    def check(self, copies: Iterable[str]) -> frozenset[str]:
        """Returns the copies, of these and the watched one, that are gone or damaged. On a thread."""
        return frozenset(copy for copy in {*copies, self._watched} - {""} if not is_whole(copy))

    def found(self, lost: frozenset[str]) -> None:
        """Stores the result of `check`."""
        self._lost = lost

    def is_lost(self, artifact: str) -> bool:
        """Whether the last check found this copy gone or damaged."""
        return artifact in self._lost
