"""Reads once a round, on a thread, the disk and the machine beside the model root.

It decides nothing. Invariant: the event loop reads only `found` and `tokens`, which a complete reading replaced.
"""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from ...worker.settings import Terms
from ...worker.shared.worker_directories import identities, places_of
from ..config.load import Config
from ..models.watch import Watch
from ..system.available_memory import capacity
from ..system.capacity import Capacity
from ..system.clock import Clock
from ..workers import slot_files
from ..workers.pool import WorkerPool
from ..workers.replacement import Places
from ..workers.settings_of_config import settings_of, shared_dir
from ..workers.token_digests import TokenMarks, read_token_marks


class DiskReading(Struct, frozen=True):
    """The last reading: the machine, the workers' directories, the sizes of their slot files."""

    capacity: Capacity
    places: Places
    slots: tuple[int, ...] = ()
    sockets_in_place: bool = True


class DiskReads:
    """`sockets_in_place` returns whether the files of the control sockets exist; `terms` what the workers
    run with.

    `found` is the last reading.
    """

    def __init__(
        self,
        config: Callable[[], Config],
        clock: Clock,
        terms: Callable[[], Terms],
        *,
        pool: WorkerPool,
        watch: Watch,
        sockets_in_place: Callable[[], bool],
    ) -> None:
        self._config, self._clock, self._terms = config, clock, terms
        self._pool, self._watch, self._sockets_in_place = pool, watch, sockets_in_place
        self._tokens = self._tokens_of_reload = TokenMarks()
        self.found = DiskReading(Capacity(1), Places())

    def read(self) -> str:
        """Makes a new `found`, on a thread. Returns a report of the watch on the model root, "" for none."""
        config = self._config()
        places = Places(identities(places_of(settings_of("", config, self._terms(), -1))), self._clock.monotonic())
        self.found = DiskReading(capacity(), places, slot_files.kept(shared_dir(config)), self._sockets_in_place())
        self._tokens = read_token_marks(config.workers.token_file)
        self._pool.written_down()
        return self._watch.check()

    def in_place(self) -> bool:
        """Whether sockets, the workers' record and the watch are as the last round left them. Any thread may
        call it.
        """
        return self._sockets_in_place() and self._pool.written_down() and self._watch.alive()

    def read_tokens_of(self, config: Config) -> None:
        """Reads the token file of a configuration before it is in force. On a thread."""
        self._tokens_of_reload = read_token_marks(config.workers.token_file)

    def tokens(self) -> tuple[str, ...]:
        """Digests of the tokens in the configured file, for workers that may not read it."""
        path = self._config().workers.token_file
        return self._tokens.of(path) or self._tokens_of_reload.of(path)
