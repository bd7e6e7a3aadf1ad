"""Holds the model that answers, and replaces it without any effect on requests.

It loads and warms a model in a thread of its own and swaps one reference on the event loop. The old model is freed
after the last request that holds it. The engine must not hold a lock while a model loads or runs. Invariant: at most
one version is prepared, and a load that is not awaited any more is never prepared.
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Final

from msgspec import Struct

from ..resident_memory import trim
from ..sandbox.limits import be_nicer
from ..shared.started import start_thread
from .loader import Load, LoadedVersion, Model

ABANDONED_LOADS: Final = 2
# Requests first, but not by much. A loading thread that gets no processor while it holds the interpreter's lock makes
# requests of its own process wait. p95 while swapping against steady, two cores at half load: 2.6 with 19, 1.4 with 10,
# 1.2 with 5, 1.3 with 0.
LOAD_NICENESS: Final = 5
# Closing a session keeps the interpreter's lock for 20 ms each, and every answer of this worker waits for it. So that
# is done when no request is in work, or after a while without such a moment.
QUIET_LOOK_SECONDS: Final = 0.02
QUIET_LOOKS: Final = 100
TRIM_SECONDS: Final = 0.2
RELEASE_SECONDS: Final = 30.0


class CannotLoad(Exception):
    """The version cannot be served; the text gives the reason. What is served did not change."""


class GivenUp(CannotLoad):
    """The load was aborted, or another one was requested: no fault of the version."""


class NoModel(Exception):
    """No model is served yet."""


class _Preparing(Struct, eq=False):
    rollout: str
    version: str
    artifact: str
    done: asyncio.Future[LoadedVersion]
    started: bool = False


class Engine:
    """One model for requests, one more prepared. All methods belong to the event loop.

    `abandoned` counts loads that were given up and still run. `gentle` lowers the priority of the loading thread. It is
    right only while the session runs in the calling thread. ONNX Runtime's own threads have the priority of the thread
    that makes them, and cannot be raised again. `quiet` returns whether no request is in work.
    """

    def __init__(
        self,
        load: Load,
        *,
        gentle: bool = True,
        swapped: Callable[[], None] = lambda: None,
        quiet: Callable[[], bool] = lambda: True,
    ) -> None:
        self.current: LoadedVersion | None = None
        self._load = load
        self._gentle = gentle
        self._swapped, self._quiet = swapped, quiet
        self._preparing: _Preparing | None = None
        self._prepared: tuple[str, LoadedVersion] | None = None
        self.abandoned = 0
        self._trimming = ThreadPoolExecutor(1, thread_name_prefix="trim")
        self._reloading: asyncio.Event | None = None

    def take(self) -> LoadedVersion:
        """The version for one request, which keeps it to its end. Raises NoModel."""
        if self.current is None:
            raise NoModel("cannot answer: no model is loaded")
        return self.current

    async def available(self) -> None:
        """Returns at once, but waits while nothing is served and a version is on its way."""
        if self._reloading is not None:
            await self._reloading.wait()

    def expect(self) -> None:
        """A version is on its way: requests wait for it in `available`, until it is loaded or `give_up`."""
        if self.current is None and self._reloading is None:
            self._reloading = asyncio.Event()

    async def unload(self) -> None:
        """Unloads the served version, and waits until the last request that holds it ended or RELEASE_SECONDS passed.

        Requests that come meanwhile wait in `available` for the next commit, or until `give_up`.
        """
        old, self.current = self.current, None
        self.expect()
        if old is None:
            return
        loop, released = asyncio.get_running_loop(), asyncio.Event()
        weakref.finalize(old, lambda: loop.call_soon_threadsafe(released.set)).atexit = False
        del old
        with suppress(TimeoutError):
            async with asyncio.timeout(RELEASE_SECONDS):
                await released.wait()
        await loop.run_in_executor(self._trimming, trim)

    def give_up(self) -> None:
        """No version is on its way after all: requests that wait for one get an error."""
        if self._reloading is not None:
            self._reloading.set()
            self._reloading = None

    @property
    def prepared(self) -> str:
        """The rollout whose version waits for its commit; "" for none."""
        return self._prepared[0] if self._prepared else ""

    @property
    def busy(self) -> bool:
        """A version is being loaded, or waits for its commit."""
        return self._preparing is not None or self._prepared is not None

    async def prepare(self, rollout: str, version: str, artifact: str) -> LoadedVersion:
        """Loads and warms `version` beside the served one. Raises CannotLoad with the reason.

        The newest call replaces an older one. An older call that still waits ends with GivenUp; its load goes on alone
        and its result is dropped. While ABANDONED_LOADS of those run, the newest waits, because a slow load then would
        be no fault of its own.
        """
        self._forget("replaced by a newer one")
        if (ready := self._at_hand(version, artifact)) is not None:
            self._prepared = (rollout, ready)
            return ready
        return await self._load_aside(rollout, version, artifact)

    def commit(self, rollout: str) -> LoadedVersion:
        """New requests get what was prepared under `rollout`. Raises CannotLoad when nothing was."""
        if self._prepared is None or self._prepared[0] != rollout:
            raise CannotLoad("nothing is prepared under this rollout")
        old, self.current = self.current, self._prepared[1]
        self._prepared = None
        self.give_up()
        if old is not None and old is not self.current:
            self._let_go(old)
            self._swapped()
        return self.current

    def abort(self, rollout: str) -> None:
        """Drops what was prepared, or is being loaded, under `rollout`."""
        if self._preparing is not None and self._preparing.rollout == rollout:
            self._forget("aborted")
        if self._prepared is not None and self._prepared[0] == rollout:
            self._forget("aborted")

    def _forget(self, because: str) -> None:
        if self._preparing is not None:
            if not self._preparing.done.done():
                self._preparing.done.set_exception(GivenUp(because))
            self.abandoned += self._preparing.started
            self._preparing = None
        if self._prepared is not None:
            dropped, self._prepared = self._prepared[1], None
            if dropped is not self.current:
                self._let_go(dropped)

    def _at_hand(self, version: str, artifact: str) -> LoadedVersion | None:
        same = self.current is not None and (self.current.version, self.current.artifact) == (version, artifact)
        return self.current if same else None

    async def _load_aside(self, rollout: str, version: str, artifact: str) -> LoadedVersion:
        preparing = self._preparing = _Preparing(rollout, version, artifact, asyncio.get_running_loop().create_future())
        self._start()
        return await preparing.done

    def _start(self) -> None:
        """Starts the load that is due. While too many abandoned loads run, the first of them to end starts it."""
        preparing, loop = self._preparing, asyncio.get_running_loop()
        if preparing is None or preparing.started or self.abandoned >= ABANDONED_LOADS:
            return
        preparing.started = True
        gentle = self._gentle and self.current is not None
        deliver = partial(self._arrived, preparing)
        work = partial(_load_and_warm, self._load, preparing.version, preparing.artifact, gentle, loop, deliver)
        try:
            start_thread(f"load {preparing.version}", work)
        except RuntimeError as e:  # the system allows no more threads
            self._arrived(preparing, CannotLoad(f"cannot load {preparing.version}: {e}"))

    def _arrived(self, preparing: _Preparing, result: LoadedVersion | CannotLoad) -> None:
        if self._preparing is not preparing:
            self.abandoned -= 1
            self._start()
            self._trim_soon(asyncio.get_running_loop())
            return
        self._preparing = None
        if preparing.done.done():
            return
        if isinstance(result, CannotLoad):
            preparing.done.set_exception(result)
            self._trim_soon(asyncio.get_running_loop())
        else:
            # Here and not where it is awaited: an abort in between must find it.
            self._prepared = (preparing.rollout, result)
            preparing.done.set_result(result)

    def _let_go(self, loaded: LoadedVersion) -> None:
        """Frees its model in a quiet moment after the last request that holds it has ended."""
        loop = asyncio.get_running_loop()
        weakref.finalize(loaded, self._trim_soon, loop, loaded.model).atexit = False

    def _trim_soon(self, loop: asyncio.AbstractEventLoop, *models: Model) -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(loop.call_later, TRIM_SECONDS, partial(self._trim, [*models]))

    def _trim(self, models: list[Model], looks: int = QUIET_LOOKS) -> None:
        """Frees what is in `models`, which nothing else holds any more, and returns the memory."""
        if models and looks and not self._quiet():
            asyncio.get_running_loop().call_later(QUIET_LOOK_SECONDS, self._trim, models, looks - 1)
            return
        models.clear()
        self._trimming.submit(trim)


def _load_and_warm(
    load: Load,
    version: str,
    artifact: str,
    gentle: bool,
    loop: asyncio.AbstractEventLoop,
    deliver: Callable[[LoadedVersion | CannotLoad], None],
) -> None:
    if gentle:
        be_nicer(LOAD_NICENESS)
    result: LoadedVersion | CannotLoad
    try:
        result = load(version, artifact)
        result.model.warm()
    except BaseException as e:  # noqa: BLE001 - the top of a thread that runs a model of others
        result = CannotLoad(f"{type(e).__name__}: {e}" if not str(e).startswith("cannot") else str(e))
    if not loop.is_closed():
        loop.call_soon_threadsafe(deliver, result)
