"""The panel's TCP address: binds it, serves it, and limits its use.

Where other machines can reach it, it is never open without a token. By default it makes a token, and operators of this
machine need none. An address that is not available is reported and tried again; the service does not depend on it.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Final

import structlog
from starlette.types import ASGIApp

from ...worker.shared import static_files
from ..answers.commands import PanelLinkAnswer
from ..api.server import Embedded
from ..config.load import Panel
from ..config.validators import is_loopback, split_address
from ..errors import Refused
from ..health.alerts import Figure
from ..system import descriptors, tcp_listener
from ..system.clock import Clock
from ..system.first_process import UNDER_INIT
from .access_policy import Rules, host_name
from .connection_limits import limited
from .live_feed import Feed
from .login_links import LINK_SECONDS
from .loopback_user import Peers
from .middleware import PanelMiddleware
from .tokens import Tokens, make_file

MAX_CONNECTIONS: Final = 256
SHARE: Final = 0.3  # of the descriptors
RETRY_SECONDS: Final = 5.0
NO_TOKEN: Final = "none"
OWN_TOKEN: Final = "panel.token"
"""The file in the state directory."""


class PanelServer:
    """See the module. `problem` is why the panel is not there, "" while it is (or is off).

    `operator` returns whether a user of this machine may do everything; it is called on a thread.
    """

    def __init__(
        self,
        config: Panel,
        api: ASGIApp,
        feed: Feed,
        clock: Clock,
        *,
        state_dir: Path,
        operator: Callable[[int], bool],
    ) -> None:
        self._config, self._feed, self._clock = config, feed, clock
        self._log = structlog.get_logger("panel")
        self.problem: str = ""
        self._unusable = self._not_made = ""
        self._retry_at = 0.0
        self._server: Embedded | None = None
        self.port = 0
        self._loopback = bool(config.listen) and is_loopback(config.listen)
        hosts = frozenset(config.hosts)
        self._rules = Rules(
            _names(config.listen) | hosts,
            asks=config.token_file != NO_TOKEN,
            by_user=config.token_file == "",
            hosts=hosts,
        )
        self.token_file = "" if not self._rules.asks else config.token_file or str(state_dir / OWN_TOKEN)
        # Another place is the operator's: what is missing there may come yet, by a mount or a secret.
        self._makes_token = bool(self.token_file) and Path(self.token_file).parent == state_dir
        self._api, self._edge = api, None  # type: tuple[ASGIApp, PanelMiddleware | None]
        self._peers = Peers(operator)
        self._tokens = Tokens(self.token_file, lambda sentence: self._log.error(sentence))

    async def open(self) -> None:
        """Serves when this returns, or `problem` has the reason."""
        if not self._config.listen:
            return
        if not self._loopback and self._config.token_file in ("", NO_TOKEN):
            self.problem = (
                f"cannot open the panel on {self._config.listen}: other machines reach it and no token is set"
            )
            return
        if not self._rules.asks:
            self._log.warning("the panel asks for no token", because='panel.token_file is "none"')
        await self._own_token()
        try:
            files, sock = await asyncio.to_thread(lambda: (page_files(), tcp_listener.bind(self._config.listen)))
        except tcp_listener.CannotListen as e:
            self._missing(str(e))
            return
        self.port = sock.getsockname()[1]
        edge = self._edge = PanelMiddleware(
            self._api,
            self._feed,
            files,
            rules=self._rules,
            tokens=self._tokens,
            peers=self._peers,
            clock=self._clock,
            cookie=f"modelward-{self.port}",
            base_path=self._config.base_path,
            proxies=self._config.trusted_proxies,
        )
        self._server = Embedded("panel.listen", edge, limited(descriptors.connections(MAX_CONNECTIONS, SHARE)), None)
        try:
            await self._server.open(sock)
        except OSError as e:
            self._missing(str(e))
            return
        self.problem = ""
        self._log.info("panel", address=self._config.listen)

    def _missing(self, because: str) -> None:
        self._retry_at = self._clock.monotonic() + RETRY_SECONDS
        if not self.problem:
            self._log.error("the panel is not there", because=because)
        self.problem = f"the panel is not there: {because}"

    async def _own_token(self) -> None:
        if not self._makes_token:
            return
        try:
            if await asyncio.to_thread(make_file, Path(self.token_file)):
                self._log.info("made a token for the panel; `modelward panel` prints a link", path=self.token_file)
            self._not_made = ""
        except OSError as e:
            because = e.strerror or str(e)
            if because != self._not_made:
                self._log.error("cannot make a token for the panel", path=self.token_file, because=because)
            self._not_made = because

    async def link(self) -> PanelLinkAnswer:
        """A URL that logs one browser in, once. Raises Refused when there is no panel or no token to stand for."""
        if not self._config.listen:
            raise Refused('cannot make a link: the panel is off (panel.listen is "")')
        if self.problem or self._edge is None:
            raise Refused(f"cannot make a link: {self.problem or 'the panel is not open yet'}")
        url = f"http://{_reachable(self._config.listen)}:{self.port}{self._config.base_path}/"
        if not self._rules.asks:
            return PanelLinkAnswer(url, 0, "")
        code = await self._edge.link()
        if not code:
            raise Refused(f"cannot make a link: the token file {self.token_file} holds no token that can be read")
        return PanelLinkAnswer(f"{url}#login={code}", LINK_SECONDS, self.token_file, list(self._config.hosts))

    async def keep(self) -> None:
        """Checks the token file. While the address was not available, it tries again at intervals."""
        if self._config.listen and self._tokens.configured:
            if self._not_made:  # there was no room for it
                await self._own_token()
            await self._tokens.fresh()
            self._unusable = self._tokens.problem()
        if self._server is not None and not self._server.alive:
            await self._server.close()
            self._server = None
            self._missing("its server ended")
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


def _reachable(listen: str) -> str:
    """The host in a URL for this address: of all addresses the machine's name.

    Outside the name of a container is not known; its port is published on the machine.
    """
    host = split_address(listen)[0]
    if host in ("0.0.0.0", "::"):
        return "localhost" if UNDER_INIT in os.environ else socket.gethostname()
    return f"[{host}]" if ":" in host else host


def page_files() -> dict[str, static_files.Asset]:
    """URL path to file; the icon has the name that browsers ask for, too. Raises OSError."""
    found = static_files.load(Path(__file__).parent / "static")
    return {**found, "/favicon.ico": found[f"{static_files.PREFIX}icon.svg"]}


def _names(listen: str) -> frozenset[str]:
    names = {socket.gethostname().lower(), host_name(listen)}
    return frozenset({*names, *(f"{name}.local" for name in names if name and "." not in name)} - {""})
