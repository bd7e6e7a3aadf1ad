"""One live stream for all viewers: the daemon's state in parts, read once a second while there is a
viewer.

A change is encoded once and sent to all. A viewer that reads slowly skips outdated parts, so its queue does not grow. A
second without a change gets a beat. Nothing is computed while there is no viewer. Invariant: what a viewer has of a
part is at most one reading old.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Final

import structlog
from msgspec import Raw, Struct, field
from starlette.responses import Response

from ...worker.shared.catalogue import Language
from ..answers.encode import encoded
from ..api.language import translated_event
from ..api.streams import HeldStream, Still, always
from ..errors import ModelwardError
from ..system.background import here

LOOK_SECONDS: Final = 1.0
BEAT_SECONDS: Final = 1.0  # a page that gets nothing for longer than two marks its content as stale
MAX_VIEWERS: Final = 100
MAX_TRANSLATED: Final = 16


class Part(Struct, frozen=True):
    """One part of the state. With `stamp`, `read` is called again only when the stamp differs."""

    read: Callable[[], object | Awaitable[object]]
    stamp: Callable[[], object] | None = None


class _Viewer(Struct, eq=False):
    stale: set[str] = field(default_factory=set)
    news: asyncio.Event = field(default_factory=asyncio.Event)


class Feed:
    """See the module."""

    def __init__(self, parts: Mapping[str, Part], look_seconds: float = LOOK_SECONDS) -> None:
        self._parts, self._look_seconds = parts, look_seconds
        self._state: dict[str, bytes] = {}
        self._stamps: dict[str, object] = {}
        self._viewers: set[_Viewer] = set()
        self._encoded: dict[frozenset[str], bytes] = {}
        self._translated: dict[bytes, bytes] = {}
        self._looking: asyncio.Task[None] | None = None
        self._closed = False
        self._log = structlog.get_logger("panel")

    @property
    def full(self) -> bool:
        """No more viewers are taken."""
        return len(self._viewers) >= MAX_VIEWERS

    def answer(self, still: Still = always, language: Language = "en") -> Response:
        """The stream of one viewer, which is counted from now on; 503 when the limit is reached.

        `still` returns, before each event, whether the viewer may read it.
        """
        if self.full:
            return Response(status_code=503, headers={"retry-after": "5"})
        viewer = _Viewer(stale=set(self._state))
        self._viewers.add(viewer)
        return HeldStream(self._stream(viewer, still, language), lambda: self._viewers.discard(viewer))

    async def _stream(self, viewer: _Viewer, still: Still, language: Language) -> AsyncIterator[bytes]:
        """The whole state first, then each change, until the viewer leaves or may no longer read."""
        if self._looking is None and not self._closed:
            self._looking = here().start("panel feed", self._look_again_and_again, restart=True)
        if viewer.stale:
            viewer.news.set()
        yield b"retry: 2000\n\n"
        while not self._closed:
            try:
                async with asyncio.timeout(BEAT_SECONDS):
                    await viewer.news.wait()
            except TimeoutError:
                yield b"event: beat\ndata: {}\n\n"
                continue
            viewer.news.clear()
            if not await still():
                return
            stale, viewer.stale = frozenset(viewer.stale), set()
            if stale:
                yield await self._chinese(self._event(stale)) if language == "zh" else self._event(stale)

    def close(self) -> None:
        """Ends every stream, so that no viewer delays the daemon's end."""
        self._closed = True
        if self._looking is not None:
            self._looking.cancel()
        for viewer in self._viewers:
            viewer.news.set()

    async def _look_again_and_again(self) -> None:
        try:
            while self._viewers:
                await self.look()
                await asyncio.sleep(self._look_seconds)
            self._looking = None
        finally:
            self._state.clear()  # the next viewer must not get an old state
            self._stamps.clear()
            self._encoded.clear()
            self._translated.clear()

    async def look(self) -> None:
        """Reads the state once and marks for every viewer what changed."""
        changed = {name for name, part in self._parts.items() if await self._differs(name, part)}
        if not changed:
            return
        self._encoded.clear()
        for viewer in self._viewers:
            viewer.stale |= changed
            viewer.news.set()

    async def _differs(self, name: str, part: Part) -> bool:
        if part.stamp is not None:
            stamp = part.stamp()
            if name in self._state and self._stamps.get(name) == stamp:
                return False
            self._stamps[name] = stamp
        try:
            value = part.read()
            text = encoded(await value if inspect.isawaitable(value) else value)
        except (ModelwardError, ValueError) as e:
            self._log.warning("cannot show a part of the panel", shown=name, because=str(e))
            text = encoded({"unavailable": str(e)})
        if self._state.get(name) == text:
            return False
        self._state[name] = text
        return True

    async def _chinese(self, event: bytes) -> bytes:
        """The same event in Chinese, made once for all viewers. An event that was replaced meanwhile is still news."""
        known = self._translated.get(event)
        if known is None:
            if len(self._translated) >= MAX_TRANSLATED:
                self._translated.clear()
            known = self._translated[event] = await translated_event(event)
        return known

    def _event(self, names: frozenset[str]) -> bytes:
        known = self._encoded.get(names)
        if known is None:
            state = {name: Raw(self._state[name]) for name in sorted(names) if name in self._state}
            known = self._encoded[names] = b"event: snapshot\ndata: %b\n\n" % encoded(state)
        return known
