"""Keeps what is served and what the link named last; moves the link, after it recorded that intent.

It decides neither. At the commit point of a rollout both take up what the workers proved. Invariant: after a crash at
any step, the disk shows whether the move of the link was the daemon's own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from ..config.load import Config
from ..errors import ModelwardError
from ..models import link
from ..models.activation_policy import chosen
from ..models.link_place import at_of
from ..models.snapshot import RootSeen
from ..state.async_store import AsyncStore, CannotKeep
from ..status import serving_state as pos
from ..workers.rollout_executor import Rollout
from .link_moves import LinkMoves
from .validation import Validation


class KeptPosition:
    """See the module. `held` has the reason for each held version; `moves` compares what the link names with `now`.

    `committing` in the middle of a commit point: only one of link and position may have moved yet. `files` are the
    calls that move the link, so that tests can make any of them fail.
    """

    def __init__(
        self,
        config: Callable[[], Config],
        async_store: AsyncStore,
        validation: Validation,
        happened: Callable[[], None],
        files: link.LinkFiles | None,
    ) -> None:
        self._config, self._async_store, self._validation = config, async_store, validation
        self._happened, self._files = happened, files
        self.now = self._before = pos.Position()
        self.held: dict[str, str] = {}
        self.moves = LinkMoves(validation)
        self.committing = False

    async def load(self, *, returning: bool) -> None:
        """After the first scan; with `returning` when workers of a former daemon are running. Raises CannotKeep."""
        sight = self._validation.sight
        state = sight.link if isinstance(sight, RootSeen) else None
        self.now = await self._async_store.do(lambda store: pos.load(store, state))
        await self.watch_good()
        if returning:
            self.now = pos.resumed(self.now, self._validation.copies.is_lost)
        self.moves.named = self.now.committed.name if self.now.committed else ""
        self.held = await self._async_store.do(lambda store: store.held())

    async def watch_good(self) -> None:
        """Has each scan check whether the copy of what served last is whole."""
        good = self.now.good
        await self._validation.copies.watch(good.artifact if good else "")

    async def keep(self, position: pos.Position, hold: tuple[str, ...] = (), because: str = "") -> None:
        """Stores the position. When the store cannot, that is logged, and the service continues."""
        self.now = position
        self.held.update(dict.fromkeys(hold, because))
        try:
            await self._async_store.do(lambda store: pos.save(store, position))
            if hold:
                await self._async_store.do(lambda store: store.hold(hold, because))
                self._async_store.note("held", ", ".join(hold), because)
        except CannotKeep:
            return  # logged; the link on the disk still names the version

    async def put_link(self, version: str, digest: str) -> None:
        """Moves the link; records the intent first. Raises ModelwardError, and then the link is as before."""
        root, at = self._config().models.root, at_of(self._validation.sight)
        await self._async_store.do(lambda store: pos.intend(store, version, digest))
        await asyncio.to_thread(link.switch, root, at, version, files=self._files)
        self.moves.named = version

    async def commit(self, rollout: Rollout, forward: bool) -> None:
        """The workers proved the target, or went back to the old version: link and position name it from now on."""
        if rollout.origin == "converge":
            return
        target = rollout.target if forward else rollout.old
        if forward and rollout.origin == "form" and self.now.serving != rollout.old:
            raise ModelwardError("cannot take the form up: another version serves by now")
        assert target is not None  # nothing goes back that had nothing before
        self.committing = True
        try:
            if not forward:  # whatever becomes of the link: the workers are back, and are not to be led forward again
                self.now = self._before
            if rollout.moves_link:
                await self.put_link(target.version, target.digest)
            if forward:
                self._before = self.now
                hold, because = rollout.hold, f"newer than {target.version}, {chosen(rollout.because)}"
                await self.keep(pos.served(self.now, target, linked=rollout.moves_link), hold, because)
            else:
                await self.keep(self._before)
            with suppress(CannotKeep):  # done is done
                await self._validation.scan()  # an earlier scan would take the old link for an operator's
        finally:
            self.committing = False
            self._happened()
