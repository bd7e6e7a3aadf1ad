"""Takes up a changed configuration, whole or not at all.

Decides which keys wait for a new daemon. Invariant: what is on the disk when the last one asks is what holds, or the
old configuration with the reason why not.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol

from .config import Change, Config, differences
from .errors import BadConfig
from .judging import Judging
from .ledger import Ledger
from .manager import Manager
from .vigil import Vigil
from .workers.pool import Pool

Json = dict[str, Any]


class Daemon(Protocol):
    """The parts that learn of another configuration."""

    config: Config
    pool: Pool
    judging: Judging
    ledger: Ledger
    manager: Manager
    vigil: Vigil
    log: Any

    def read_config(self) -> Config: ...
    def wake(self) -> None: ...
    def reopen_logs(self) -> list[str]: ...


class Reloading:
    """`sentence` says how things are. `generation` counts the configurations that were in force; `refused` says why the
    one on the disk is not; "" when it is."""

    def __init__(self, daemon: Daemon, sentence: Callable[[], str]) -> None:
        self._s, self._sentence = daemon, sentence
        self.generation, self.refused = 1, ""
        self._reloading = self._hung_up = False
        self._one_reload = asyncio.Lock()

    def hang_up(self) -> None:
        """SIGHUP: reload, rescan, reopen logs; what is refused is logged.

        One that comes during a reload is followed by another: the file may have been read before it was changed.
        """
        self._hung_up = True
        if not self._reloading:
            self._reloading = True
            task = asyncio.get_running_loop().create_task(self._hang_up(), name="SIGHUP")
            self._hanging = task  # held, or it might be collected while it runs

    async def _hang_up(self) -> None:
        try:
            while self._hung_up:
                self._hung_up = False
                with suppress(BadConfig):  # logged and kept as an alert where it was refused
                    await self.reload()
        finally:
            self._reloading = False
            self._s.reopen_logs()

    async def reload(self) -> Json:
        """Takes the configuration up whole or not at all, as asked last; the service manager is told that it ended."""
        async with self._one_reload:
            self._s.manager.reloading()
            try:
                return await self._reload()
            finally:
                self._s.manager.reloaded(self._sentence())

    async def _reload(self) -> Json:
        s = self._s
        try:
            new = await asyncio.to_thread(s.read_config)
        except BadConfig as e:
            self.refused = f"configuration refused: {'; '.join(e.mistakes)}"
            s.log.error("configuration refused", path=e.path, mistakes=list(e.mistakes))
            s.ledger.note("config-refused", "", str(e))
            s.vigil.look(at_once=True)
            message = f"{e}; the old configuration stays in force"
            return {"success": False, "message": message, "changes": [], "mistakes": list(e.mistakes)}
        changes = differences(s.config, new)
        s.config = effective(s.config, new, changes)
        self.refused = ""
        s.vigil.look(at_once=True)
        if changes:
            self.generation += 1
            s.ledger.note("config-reloaded", "", ", ".join(c.key for c in changes))
            s.judging.catalog.reconsider()
        s.pool.unblock()
        s.wake()
        return {
            "success": True,
            "message": _summary(changes),
            "changes": [c._asdict() for c in changes],
            "mistakes": [],
        }


def effective(old: Config, new: Config, changes: tuple[Change, ...]) -> Config:
    """The new configuration, but for the keys that only a new daemon takes up: they keep their old values."""
    kept: dict[str, dict[str, object]] = {}
    for change in changes:
        if change.applies == "daemon restart":
            section, _, key = change.key.partition(".")
            kept.setdefault(section, {})[key] = getattr(getattr(old, section), key)
    sections = {name: getattr(new, name).model_copy(update=values) for name, values in kept.items()}
    return new.model_copy(update=sections)


def _summary(changes: tuple[Change, ...]) -> str:
    if not changes:
        return "nothing changed"
    later = sorted({c.applies for c in changes if c.applies != "live"})
    count = f"{len(changes)} change{'s' if len(changes) > 1 else ''} taken up"
    return f"{count}; some need a {' or a '.join(later)}" if later else count
