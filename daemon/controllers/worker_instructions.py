"""What a worker is started with, and what it is to serve when it joins.

It decides nothing: it puts the configuration and the position into the protocol's words.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Final

from ...worker.protocol import WorkerSettings
from ...worker.settings import Terms
from ..config.load import Config
from ..workers.listen_socket import ListenSocket
from ..workers.registry import WelcomeState
from ..workers.rollout_executor import Target
from ..workers.settings_of_config import settings_of, terms_of

SLOWEST_BEAT_SECONDS: Final = 5.0


class WorkerInstructions:
    """`serving` is the version that the workers are ordered to serve, None for none."""

    def __init__(
        self, config: Callable[[], Config], listen_socket: ListenSocket, serving: Callable[[], Target | None]
    ) -> None:
        self._config, self._listen_socket, self._serving = config, listen_socket, serving
        self._run = secrets.token_hex(8)

    def settings(self, name: str) -> tuple[WorkerSettings, int]:
        """The settings for the new worker of that name, and the descriptor of the listening socket."""
        assert self._listen_socket.sock is not None
        fd = self._listen_socket.sock.fileno()
        return settings_of(name, self._config(), self.terms(), fd, self._run), fd

    def terms(self) -> Terms:
        """What all workers are to run with."""
        return terms_of(self._config(), self._listen_socket.address)

    def welcome(self) -> WelcomeState:
        """What a worker that joins now is to serve. During a rollout it is the old version: the worker is moved in
        turn.
        """
        beat = min(SLOWEST_BEAT_SECONDS, max(0.5, self._config().rollout.bake / 5))
        serving = self._serving()
        return WelcomeState(serving.version, serving.artifact, beat) if serving else WelcomeState(beat_seconds=beat)
