"""Reloads the configuration: applies the changed file completely or not at all.

It decides which keys wait for a new daemon, and reports them until then. Invariants: in force is the file as it was at
the last request, or the old configuration with a reason. Success means that every worker confirmed what a running
worker can apply.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import structlog

from ...worker.shared import catalogue
from ..answers.commands import ConfigChange, ReloadOutcome
from ..answers.status import PendingKey
from ..config.load import Change, Config, differences
from ..errors import BadConfig
from ..models.catalog import Catalog
from ..state.async_store import AsyncStore
from ..system.background import here
from ..system.service_manager import ServiceManager
from ..system.tcp_listener import CannotListen
from ..workers.listen_socket import ListenSocket
from ..workers.pool import WorkerPool
from ..workers.settings_sync import SettingsSync

CONFIRM_SECONDS: Final = 20.0
"""What workers are given to confirm their settings; one that still starts needs seconds for that."""


class ConfigReload:
    """`config` is the configuration in force, `read` reads the one on the disk, `put_in_force` replaces it.

    `sentence` describes the daemon; `restart` is the command that starts a new one. `generation` counts the
    configurations that were in force. `refused` is why the one on the disk is not in force, "" when it is.
    """

    def __init__(
        self,
        *,
        config: Callable[[], Config],
        read: Callable[[], Config],
        put_in_force: Callable[[Config], None],
        sentence: Callable[[], str],
        restart: str,
        service_manager: ServiceManager,
        listen_socket: ListenSocket,
        pool: WorkerPool,
        settings_sync: SettingsSync,
        catalog: Catalog,
        async_store: AsyncStore,
        check: Callable[[], None],
        reopen_logs: Callable[[], object],
        wake: Callable[[], None],
    ) -> None:
        self._config, self._read, self._put_in_force = config, read, put_in_force
        self._sentence, self._restart, self._service_manager = sentence, restart, service_manager
        self._listen_socket, self._pool, self._settings_sync = listen_socket, pool, settings_sync
        self._catalog, self._async_store, self._check = catalog, async_store, check
        self._reopen_logs, self._wake = reopen_logs, wake
        self._log = structlog.get_logger("supervisor")
        self.generation, self.refused = 1, ""
        self._waiting: tuple[Change, ...] = ()
        self.set_own_level: Callable[[str], None] = lambda level: None
        self._hung_up, self._hanging = False, None  # type: bool, asyncio.Task[None] | None
        self._one_reload = asyncio.Lock()

    def hang_up(self) -> None:
        """SIGHUP: reload, rescan, reopen logs; what is refused is logged.

        One that comes during a reload is followed by another: the file may have been read before it was changed.
        """
        self._hung_up = True
        if self._hanging is None or self._hanging.done():
            self._hanging = here().start("reload", self._hang_up)

    async def _hang_up(self) -> None:
        try:
            while self._hung_up:
                self._hung_up = False
                with suppress(BadConfig):  # logged and kept as an alert where it was refused
                    await self.reload()
        finally:
            self._reopen_logs()

    async def reload(self) -> ReloadOutcome:
        """Applies the configuration completely or not at all, as of the last request; reports the end to the service
        manager.
        """
        async with self._one_reload:
            self._service_manager.reloading()
            try:
                return await self._reload()
            finally:
                self._service_manager.reloaded(self._sentence())

    async def _reload(self) -> ReloadOutcome:
        try:
            new = await asyncio.to_thread(self._read)
            if new.alerts.language == "zh":
                await asyncio.to_thread(catalogue.load)
            changes = differences(self._config(), new)
            remark = await self._listen(new, changes)
        except BadConfig as e:
            self.refused = f"configuration refused: {'; '.join(e.mistakes)}"
            self._log.error("configuration refused", path=e.path, mistakes=list(e.mistakes))
            self._async_store.note("config-refused", "", str(e))
            self._check()
            message = f"{e}; the old configuration stays in force"
            return ReloadOutcome(False, message, [], list(e.mistakes))
        if remark:
            changes = tuple(c._replace(applies="ignored") if c.key == "workers.listen" else c for c in changes)
        config = effective(self._config(), new, changes)
        self._put_in_force(config)
        self._waiting = tuple(c for c in changes if c.applies == "daemon restart")
        self.refused = ""
        self.set_own_level(config.logs.level)
        self._check()
        if changes:
            self.generation += 1
            self._async_store.note("config-reloaded", "", ", ".join(c.key for c in changes))
            self._catalog.reconsider()
        self._pool.unblock()
        late = await self._settings_sync.reached(CONFIRM_SECONDS)
        self._wake()
        message = "; ".join(filter(None, [_summary(changes, self._restart), remark]))
        if late:
            message = f"cannot confirm that every worker took it up: {', '.join(late)} did not answer; being replaced"
            self._log.error(message)
        return ReloadOutcome(not late, message, [ConfigChange(*c) for c in changes], [])

    async def _listen(self, new: Config, changes: tuple[Change, ...]) -> str:
        """Moves the service's socket where its address changed; returns a remark on it. Raises BadConfig."""
        if not any(change.key == "workers.listen" for change in changes):
            return ""
        try:
            remark = await self._listen_socket.move(new.workers.listen)
        except CannotListen as e:
            raise BadConfig("the configuration", (f"workers.listen: {e}",)) from e
        if remark:
            self._log.warning(remark)
        return remark

    def waiting(self) -> list[PendingKey]:
        """The keys that only a new daemon applies, each with a sentence that has the command."""
        return [
            PendingKey(change.key, "daemon restart", [], 0, f"{change.key} waits for a new daemon: {self._restart}")
            for change in self._waiting
        ]


def restart_command(unit: str, *, in_container: bool = False) -> str:
    """The command that starts a new daemon without losing a request; `unit` is its systemd service, "" for none.

    `in_container`: the first process of a container starts the next daemon.
    """
    if in_container:
        return "docker kill --signal=QUIT CONTAINER; its workers serve on"
    return f"systemctl restart {unit}" if unit else "end it with SIGQUIT and start it again; its workers serve on"


def effective(old: Config, new: Config, changes: tuple[Change, ...]) -> Config:
    """The new configuration, except for keys that only a new daemon applies: they keep their old values."""
    kept: dict[str, dict[str, object]] = {}
    for change in changes:
        if change.applies == "daemon restart":
            section, _, key = change.key.partition(".")
            kept.setdefault(section, {})[key] = getattr(getattr(old, section), key)
    sections = {name: getattr(new, name).model_copy(update=values) for name, values in kept.items()}
    return new.model_copy(update=sections)


def _summary(changes: tuple[Change, ...], restart: str) -> str:
    if not changes:
        return "nothing changed"
    said = [f"{len(changes)} change{'s' if len(changes) > 1 else ''} taken up"]
    for_workers = [c.key for c in changes if c.applies == "workers replaced"]
    for_daemon = [c.key for c in changes if c.applies == "daemon restart"]
    if for_workers:
        said.append(f"the workers are replaced for {', '.join(for_workers)}, one at a time, successor first")
    if for_daemon:
        wait = "waits" if len(for_daemon) == 1 else "wait"
        said.append(f"{', '.join(for_daemon)} {wait} for a new daemon: {restart}")
    return "; ".join(said)
