"""Detects that an operator moved the link to a rejected version, and has that version validated again, once for each
move.

It decides nothing else; the daemon reports its own moves here. Invariant: after a start, a version that can serve at
once does not wait for such a validation.
"""

from __future__ import annotations

from ..models.lifecycle import VersionState
from ..models.snapshot import Names, RootSeen
from ..status.serving_state import Position
from .validation import Validation


class LinkMoves:
    """See the module. `named` is the version that the link named at the last call; "" for none."""

    def __init__(self, validation: Validation) -> None:
        self._validation = validation
        self.named = ""

    async def follow(self, position: Position) -> None:
        """To be called after a scan, before its result is used."""
        sight = self._validation.sight
        if not isinstance(sight, RootSeen):
            return
        named = sight.link.version if isinstance(sight.link, Names) else ""
        if named == self.named:
            return
        entry = self._validation.catalog.get(named)
        if entry is not None and entry.state is VersionState.REJECTED:
            if position.serving is None and self._something_else(position):
                return
            self.named = named
            await self._validation.validate_again(named)
        self.named = named

    def _something_else(self, position: Position) -> bool:
        accepted = any(entry.artifact for entry in self._validation.catalog.entries())
        return accepted or position.usable_good(self._validation.copies.is_lost) is not None
