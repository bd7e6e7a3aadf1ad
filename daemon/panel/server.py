"""The panel's TCP address: bound, served, limited.

Never opened without a token where other machines reach it. An address that cannot be had is said and tried again; the
service does not depend on it.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Final

import structlog
from starlette.types import ASGIApp

from ..api.server import Embedded
from ..checks import is_loopback
from ..clock import Clock
from ..config import Panel
from ..health.alerts import Figure
from ..workers import listening
from . import assets
from .connections import limited
from .edge import Edge
from .feed import Feed
from .gate import Rules, host_name
from .tokens import Tokens

MAX_CONNECTIONS: Final = 256
RETRY_SECONDS: Final = 5.0


class PanelServer:
    """See the module. `problem` says why the panel is not there, "" while it is (or is off)."""

    def __init__(self, config: Panel, api: ASGIApp, feed: Feed, clock: Clock) -> None:
        self._config, self._feed, self._clock = config, feed, clock
        self._log = structlog.get_logger("panel")
        self.problem: str = ""
        self._unusable = ""
        self._retry_at = 0.0
        self._server: Embedded | None = None
        self.port = 0
        loopback = bool(config.listen) and is_loopback(config.listen)
        self._rules = Rules(_names(config.listen), loopback, bool(config.token_file))
        self._api = api
        self._tokens = Tokens(config.token_file, lambda sentence: self._log.error(sentence))

    async def open(self) -> None:
        """Serves when this returns, or says in `problem` why not."""
        if not self._config.listen:
            return
        if not self._rules.loopback and not self._config.token_file:
            self.problem = (
                f"cannot open the panel on {self._config.listen}: other machines reach it and no token is set"
            )
            return
        try:
            sock = listening.bind(self._config.listen)
        except listening.CannotListen as e:
            self._retry_at = self._clock.monotonic() + RETRY_SECONDS
            if not self.problem:
                self._log.error("the panel is not there", because=str(e))
            self.problem = f"the panel is not there: {e}"
            return
        self.problem, self.port = "", sock.getsockname()[1]
        edge = Edge(
            self._api,
            self._feed,
            assets.load(),
            rules=self._rules,
            tokens=self._tokens,
            clock=self._clock,
            cookie=f"modelward-{self.port}",
        )
        self._server = Embedded(edge, limited(MAX_CONNECTIONS), None)
        await self._server.open(sock)
        self._log.info("panel", address=self._config.listen)

    async def keep(self) -> None:
        """Looks at the token file; tries again, now and then, while the address could not be had."""
        if self._config.listen and self._tokens.configured:
            self._unusable = await asyncio.to_thread(self._tokens.problem)
        if self.problem and self._retry_at and self._clock.monotonic() >= self._retry_at:
            await self.open()

    def figures(self) -> list[Figure]:
        """What is wrong with the token file, as `keep` found it."""
        return [Figure("tokens_unusable", 1.0, "", self._unusable)] if self._unusable else []

    async def close(self) -> None:
        self._feed.close()
        if self._server is not None:
            await self._server.close()
            self._server = None


def _names(listen: str) -> frozenset[str]:
    names = {socket.gethostname().lower(), host_name(listen)}
    return frozenset({*names, *(f"{name}.local" for name in names if name and "." not in name)} - {""})
