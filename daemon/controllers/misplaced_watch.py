"""Logs the links that are in a version and were meant for the model root, when they appear.

It decides and changes nothing. Invariant: each is logged and kept in the history once.
"""

from __future__ import annotations

import structlog

from ..config.load import Models
from ..models.misplaced_links import sentence
from ..models.snapshot import RootSeen
from ..state.async_store import AsyncStore


class MisplacedWatch:
    """`found` has the links of the last scan, as "version/name", each with what to do."""

    def __init__(self, async_store: AsyncStore) -> None:
        self._async_store, self._log = async_store, structlog.get_logger("models")
        self.found: dict[str, str] = {}

    def take(self, sight: RootSeen, models: Models) -> None:
        """Takes the result of a scan."""
        before = self.found
        self.found = {
            f"{seen.name}/{name}": sentence(models.root, sight.linked.at, seen.name, name, to)
            for seen in sight.versions
            for name, to in seen.misplaced
        }
        for path in sorted(self.found.keys() - before.keys()):
            self._log.warning("misplaced link", path=path, because=self.found[path])
            self._async_store.note("misplaced-link", path.partition("/")[0], self.found[path])
        for path in before.keys() - self.found.keys():
            self._log.info("misplaced link is gone", path=path)
