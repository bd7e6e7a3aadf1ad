"""A link that was left at another place is no operator's move: it is made to name what is live, once, with a record."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from tests.support import PATIENCE_SECONDS

from modelward.daemon.config.load import parse
from modelward.daemon.controllers.link_placement import LinkPlacement
from modelward.daemon.models.activation_policy import Named
from modelward.daemon.models.snapshot import (
    LinkFound,
    LinkState,
    Missing,
    Names,
    NotALink,
    RootAbsent,
    RootSeen,
    Sight,
    VersionSeen,
)
from modelward.daemon.state.async_store import AsyncStore
from modelward.daemon.state.store import HistoryEntry, Store
from modelward.daemon.system.background import Background
from modelward.daemon.system.clock import SystemClock

LIVE = Named("v1.1", "d" * 64)
ASIDE = "/state/current"
STALE = Names("v1.0")


def seen(at: str, state: LinkState, *, fixed: str = "", names: tuple[str, ...] = ("v1.0", "v1.1")) -> RootSeen:
    versions = tuple(VersionSeen(name, name) for name in names)
    return RootSeen((1, 2), state, versions, linked=LinkFound(at, fixed))


def moves(place: Path, *sights: tuple[str, Sight], live: Named | None = LIVE, able: bool = True) -> list[str]:
    """What the link was made to name, by one daemon for each sight; the root comes with each."""
    moved: list[str] = []
    history: list[HistoryEntry] = []

    async def move(version: str, digest: str, because: str) -> bool:
        assert live is not None
        assert digest == live.digest and because.endswith(f"it names {version}, which is live")
        moved.append(version)
        return able

    async def work() -> None:
        clock = SystemClock()
        background = Background(clock, happened=lambda: None)
        background.install()
        store = AsyncStore(Store(place / "state.db", clock), history.append)
        for root, sight in sights:
            placement = LinkPlacement(lambda r=root: parse(f'[models]\nroot = "{r}"', "t"), store, move)  # type: ignore[misc]
            await placement.start()
            assert await placement.follow(sight, live) is (able or not moved)
        await store.close()
        background.end()

    asyncio.run(asyncio.wait_for(work(), PATIENCE_SECONDS))
    assert [entry.kind for entry in history] == ["link-restored" for _ in moved if able]
    return moved


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (seen("current", Names("v1.1")), seen(ASIDE, STALE)),
        (seen(ASIDE, Names("v1.1")), seen("current", STALE)),
        (seen("current", Names("v1.1")), seen("stable", Missing())),
    ],
)
def test_a_link_at_a_new_place_is_made_to_name_what_is_live(tmp_path: Path, before: Sight, after: Sight) -> None:
    assert moves(tmp_path, ("/m", before), ("/m", after), ("/m", after)) == ["v1.1"]


@pytest.mark.parametrize(
    "after",
    [
        ("/m", seen("current", STALE)),  # moved by an operator
        ("/other", seen(ASIDE, STALE)),  # another root
        ("/m", seen(ASIDE, Names("v1.1"))),
        ("/m", seen(ASIDE, STALE, fixed="cannot write")),  # only others move it
        ("/m", seen(ASIDE, NotALink("a directory"))),
        ("/m", seen(ASIDE, STALE, names=("v1.0",))),
        ("/m", RootAbsent("gone")),
    ],
)
def test_any_other_link_is_left_as_it_is(tmp_path: Path, after: tuple[str, Sight]) -> None:
    assert moves(tmp_path, ("/m", seen("current", Names("v1.1"))), after) == []


def test_the_first_daemon_takes_the_link_as_it_is_and_so_does_one_without_a_record(tmp_path: Path) -> None:
    assert moves(tmp_path, ("/m", seen(ASIDE, STALE))) == []
    assert moves(tmp_path, ("/m", seen("current", STALE)), live=None) == []


def test_a_link_that_cannot_be_moved_is_tried_again_and_never_followed(tmp_path: Path) -> None:
    sights = [("/m", seen(ASIDE, STALE))] * 2
    assert moves(tmp_path, ("/m", seen("current", Names("v1.1"))), *sights, able=False) == ["v1.1", "v1.1"]
