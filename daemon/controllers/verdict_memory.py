"""Stores verdicts and applies them again to the same bytes, under the same conditions.

It validates nothing. Invariant: an acceptance is applied only while its artifact is whole.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from msgspec import Struct

from ...worker.shared.installed_release import installed
from ..config.load import Config
from ..models import verdict as v
from ..models.artifacts import is_whole
from ..models.catalog import Catalog, CatalogEntry
from ..models.lifecycle import VersionState
from ..models.snapshot import RootSeen
from ..state.async_store import AsyncStore, CannotKeep
from ..state.store import Sighting, Store
from .vouched_version import vouched_sums

MOST_GONE: Final = 100


class SignedBefore(Struct, frozen=True):
    """The highest number of an accepted signature, what was accepted under one name, and the SHA-256 of the SHA256SUMS
    that the fleet's record wants."""

    sequence: int = 0
    digests: tuple[str, ...] = ()
    vouched_sums: str = ""


class VerdictMemory:
    """The verdicts on the versions of `catalog`."""

    def __init__(self, config: Callable[[], Config], async_store: AsyncStore, catalog: Catalog) -> None:
        self._config, self._async_store, self._catalog = config, async_store, catalog
        self._sightings: dict[str, Sighting] = {}

    async def start(self) -> None:
        """Raises CannotKeep."""
        self._sightings = await self._async_store.do(lambda store: store.sightings())

    async def remember(self, entry: CatalogEntry, fingerprint: str, verdict: v.Verdict, conditions: str) -> None:
        """Stores a verdict on these bytes of `entry`. Raises CannotKeep."""
        sighting = Sighting(fingerprint, verdict.digest, entry.arrived)
        record = v.to_record(verdict)

        def keep(store: Store) -> None:
            if verdict.accepted and verdict.sequence:  # first: it must not be missing where the verdict is kept
                store.take_version(entry.name, verdict.digest, verdict.sequence)
            store.remember_verdict(entry.name, sighting, conditions, record)

        await self._async_store.do(keep)
        self._sightings.pop(entry.name, None)
        self._sightings[entry.name] = sighting  # the last in order

    async def signed_before(self, name: str, now: float) -> SignedBefore:
        """What a signature is compared with; nothing while none is required. Raises CannotKeep."""
        config = self._config()
        if not config.validation.public_keys:
            return SignedBefore()
        sequence, digests, row = await self._async_store.do(
            lambda store: (store.highest_sequence(), store.taken_digests(name), store.taken_record())
        )
        vouched = await asyncio.to_thread(vouched_sums, config.fleet, row, now)
        return SignedBefore(sequence, digests, vouched)

    async def forget(self, name: str) -> None:
        """Forgets the verdict, so that the version is validated again."""
        self._sightings.pop(name, None)
        with suppress(CannotKeep):  # logged; it is judged anew all the same
            await self._async_store.do(lambda store: store.forget([name]))

    async def forget_gone(self, present: set[str]) -> None:
        """Keeps, of the versions that are gone, only the last that were validated."""
        gone = [name for name in self._sightings if name not in present][:-MOST_GONE]
        if gone:
            with suppress(CannotKeep):  # logged; the next scan tries again
                await self._async_store.do(lambda store: store.forget(gone))
                for name in gone:
                    self._sightings.pop(name, None)

    async def recall(self, sight: RootSeen) -> None:
        """Verdicts on bytes that were judged before, under the same conditions, with their artifact still there."""
        conditions = ""
        for seen in sight.versions:
            entry, known = self._catalog.get(seen.name), self._sightings.get(seen.name)
            if entry is None or entry.state is not VersionState.SEEN or known is None:
                continue
            conditions = conditions or await asyncio.to_thread(self.conditions)
            entry.arrived = min(entry.arrived, known.arrived)
            if known.fingerprint != seen.fingerprint:
                continue
            try:
                record = await self._async_store.do(
                    lambda store, name=entry.name, digest=known.digest, under=conditions: store.verdict(  # type: ignore[misc]
                        name, digest, under
                    )
                )
            except CannotKeep:
                return  # logged; they are judged anew, and everything else in this round goes on
            with suppress(ValueError):
                if record is None or not await asyncio.to_thread(_usable, verdict := v.from_record(record)):
                    continue
                if self._catalog.get(seen.name) is entry and entry.state is VersionState.SEEN:
                    self._catalog.recall(seen.name, known.digest, verdict, entry.arrived)

    def conditions(self) -> str:
        """What a verdict depends on besides the version's bytes; under others the version is validated again. For a
        thread: it reads which releases are installed.
        """
        config = self._config()
        rules = config.validation.model_copy(update={"compile": "off"})  # no form of a version decides about it
        parts: list[Any] = [rules, config.models.kind, config.workers.threads, config.workers.providers]
        parts += [version for package in ("onnxruntime", "modelward") if (version := installed(package))]
        return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def _usable(verdict: v.Verdict) -> bool:
    """A rejection stands by itself; an acceptance needs its artifact. For a thread."""
    return not verdict.accepted or is_whole(verdict.artifact)
