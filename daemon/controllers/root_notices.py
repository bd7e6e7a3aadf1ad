"""Reports that nothing can be written in the model root, once, and what the daemon does about that.

It decides and changes nothing. Invariant: a restart of the daemon reports the same again in the log alone.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import structlog

from ..models.link_place import notice_of
from ..models.snapshot import RootSeen
from ..state.async_store import AsyncStore, CannotKeep

_FACT = "root_notice"


class RootNotices:
    """`notice` is the sentence, "" while the root can be written."""

    def __init__(self, async_store: AsyncStore) -> None:
        self._async_store, self._log = async_store, structlog.get_logger("models")
        self.notice = ""

    async def take(self, sight: RootSeen, root: Path) -> None:
        """Takes the result of a scan."""
        notice = notice_of(sight, root)
        if notice == self.notice:
            return
        self.notice = notice
        self._log.info("model root", because=notice or f"{root} can be written again")
        with suppress(CannotKeep):
            if await self._async_store.do(lambda store: store.fact(_FACT, "")) != notice:
                await self._async_store.do(lambda store: store.put(**{_FACT: notice}))
                if notice:
                    self._async_store.note("root-read-only", "", notice)
