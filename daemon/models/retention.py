"""Decides which versions may be removed to keep the model root small. Pure: each has its reason.

A version that is live, previous, held, serving or otherwise needed stays, and so does one younger than `min_age`. Of
the rest the `keep` highest stay. A version of unknown age counts as young.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Final

from msgspec import Struct

from ..version_order import order_key

DAY_SECONDS: Final = 86_400.0


class Kept(Struct, frozen=True):
    """A version as retention sees it. `newest_seconds`: wall time of the latest change to anything in it."""

    name: str
    bytes: int
    newest_seconds: float
    arrived: float = 0.0
    busy: bool = False  # still being copied or judged


class Removal(Struct, frozen=True):
    name: str
    bytes: int
    because: str


def plan(
    versions: Iterable[Kept],
    keep: int,
    protected: Collection[str],
    now: float,
    min_age: float = DAY_SECONDS,
) -> tuple[Removal, ...]:
    """What to remove, lowest first. `protected`: live, previous, held and serving names; `now`: wall seconds."""
    beyond = _ranked(versions, protected)[max(0, keep) :]
    old = [v for v in beyond if now - v.newest_seconds >= min_age]
    return tuple(Removal(v.name, v.bytes, f"beyond keep={keep}, unused for {_days(now, v)}") for v in reversed(old))


def reasons(
    versions: Iterable[Kept], keep: int, protected: Mapping[str, str], now: float, min_age: float = DAY_SECONDS
) -> dict[str, str]:
    """Of each version why it stays, "" when the plan removes it. `protected`: as for the plan, each with its reason."""
    versions = tuple(versions)
    newest = _ranked(versions, protected)[: max(0, keep)]
    kept = dict.fromkeys((v.name for v in versions), f"younger than {min_age / DAY_SECONDS:g} d")
    kept |= dict.fromkeys((v.name for v in newest), f"among the {keep} newest besides those in use (models.keep)")
    kept |= {v.name: "still being copied or judged" for v in versions if v.busy}
    kept |= {v.name: protected[v.name] for v in versions if v.name in protected}
    return kept | {removal.name: "" for removal in plan(versions, keep, protected, now, min_age)}


def _ranked(versions: Iterable[Kept], protected: Collection[str]) -> list[Kept]:
    """Those that nothing but `keep` and their age lets stay, highest first."""
    free = [v for v in versions if v.name not in protected and not v.busy]
    return sorted(free, key=lambda v: order_key(v.name, v.arrived), reverse=True)


def _days(now: float, version: Kept) -> str:
    return f"{(now - version.newest_seconds) / DAY_SECONDS:.1f} days"
