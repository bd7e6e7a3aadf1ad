"""Detects that the link lies in another place of the same root than before, and has it name what is live there.

What a link at that place named until then is older than the record, and no request of an operator. It decides nothing
else. Invariant: a link that only others can move is left to them, and so is a link in another root.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from ..config.load import Config
from ..models.activation_policy import Named
from ..models.snapshot import Names, NotALink, RootSeen, Sight
from ..state.async_store import AsyncStore, CannotKeep

_FACT: Final = "link_place"


class LinkPlacement:
    """See the module. `move` has the link name a version with that digest, for a reason; False when it cannot."""

    def __init__(
        self, config: Callable[[], Config], async_store: AsyncStore, move: Callable[[str, str, str], Awaitable[bool]]
    ) -> None:
        self._config, self._async_store, self._move = config, async_store, move
        self._place: object = None

    async def start(self) -> None:
        """Reads where the link was for a former daemon. Raises CannotKeep."""
        self._place = await self._async_store.do(lambda store: store.fact(_FACT))

    async def follow(self, sight: Sight, live: Named | None) -> bool:
        """To be called after a scan, before its link is used; `live` is what the link named last.

        False when the link names something else and cannot be moved.
        """
        if not isinstance(sight, RootSeen):
            return True
        root, at = str(self._config().models.root), sight.linked.at
        if self._place == [root, at]:
            return True
        match self._place:
            case [str(before), str(former)] if live and before == root and _may_name(sight, live.name):
                because = f"the link is {at} now, and was {former}; it names {live.name}, which is live"
                if not await self._move(live.name, live.digest, because):
                    return False
                self._async_store.note("link-restored", live.name, because)
        self._place = place = [root, at]
        with suppress(CannotKeep):  # logged; the next daemon follows the link as it is
            await self._async_store.do(lambda store: store.put(**{_FACT: place}))
        return True


def _may_name(sight: RootSeen, version: str) -> bool:
    """Whether the link can be made to name this version, and does not name it yet."""
    if sight.linked.fixed or isinstance(sight.link, NotALink) or sight.link == Names(version):
        return False
    return sight.version(version) is not None
