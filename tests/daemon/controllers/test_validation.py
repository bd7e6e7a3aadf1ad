"""What Validation does when the store fails, and when it asks for another round."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from tests.daemon.fleet.records import KEY
from tests.support import PATIENCE_SECONDS, soon

from modelward.daemon.config.load import parse
from modelward.daemon.controllers.validation import RETRY_SECONDS, Validation
from modelward.daemon.controllers.verdict_memory import MOST_GONE, SignedBefore, VerdictMemory
from modelward.daemon.fleet.manifest import sign_version
from modelward.daemon.models import verdict as v
from modelward.daemon.models.lifecycle import VersionState
from modelward.daemon.models.snapshot import Missing, RootSeen, VersionSeen
from modelward.daemon.models.verdict import Changing
from modelward.daemon.state.async_store import AsyncStore
from modelward.daemon.state.store import Sighting, Store
from modelward.daemon.system.background import Background
from modelward.daemon.system.clock import SystemClock
from modelward.worker.shared.minisign_keys import public_line

CLOCK = SystemClock()


def validation(
    path: Path,
    async_store: AsyncStore,
    progress: Callable[[str, object], None] = lambda version, message: None,
    public_keys: str = "[]",
) -> Validation:
    place = {name: json.dumps(str(path / name)) for name in ("models", "run", "state", "cache")}
    config = parse(
        f"""
        [models]
        root = {place["models"]}
        settle = 0.05
        [validation]
        alert_after = 0
        public_keys = {public_keys}
        [control]
        runtime_dir = {place["run"]}
        state_dir = {place["state"]}
        cache_dir = {place["cache"]}
        """,
        "test",
    )
    return Validation(lambda: config, clock=CLOCK, async_store=async_store, happened=lambda: None, progress=progress)


def run(path: Path, test: Callable[[Store, AsyncStore], Coroutine[Any, Any, None]]) -> None:
    async def whole() -> None:
        store = Store(path / "state" / "state.db", CLOCK)
        async_store = AsyncStore(store, lambda entry: None)
        try:
            await asyncio.wait_for(test(store, async_store), PATIENCE_SECONDS)
        finally:
            await async_store.close()

    for name in ("v1.0", "v1.1"):
        (path / "models" / name).mkdir(parents=True)
        (path / "models" / name / "model.onnx").write_text(name)
    asyncio.run(whole())


async def all_rejected(path: Path, store: Store, async_store: AsyncStore) -> None:
    """Whoever looks next finds every version rejected."""
    one = validation(path, async_store)
    await one.start()
    await one.scan()
    for entry in one.catalog.entries():
        sighting = Sighting(entry.seen.fingerprint, f"digest of {entry.name}", 1.0)
        verdict = v.to_record(v.Verdict(False, "no", digest=sighting.digest))
        store.remember_verdict(entry.name, sighting, one.verdicts.conditions(), verdict)


def test_a_store_that_cannot_be_read_costs_verdicts_and_not_the_look(tmp_path: Path) -> None:
    async def test(store: Store, async_store: AsyncStore) -> None:
        await all_rejected(tmp_path, store, async_store)
        second = validation(tmp_path, async_store)
        await second.start()
        store.close()
        assert await second.scan() == ""
        assert [e.state for e in second.catalog.entries()] == [VersionState.SEEN, VersionState.SEEN]

    run(tmp_path, test)


def test_while_a_validator_works_time_alone_makes_nothing_due(tmp_path: Path) -> None:
    async def test(store: Store, async_store: AsyncStore) -> None:
        one = validation(tmp_path, async_store)
        await one.start()
        await one.scan()

        def begun() -> bool:
            one.next("", None)
            return one.busy

        assert not begun()
        assert one.next_due() is not None, "two versions settle"
        await soon(begun)
        assert one.next_due() is None, "one is judged, the other one waits for that"
        await soon(lambda: not one.busy)
        assert one.next_due() is not None

    run(tmp_path, test)


def test_a_version_that_changes_under_the_validator_though_no_look_sees_it_is_left_longer_and_longer(
    tmp_path: Path,
) -> None:
    async def test(store: Store, async_store: AsyncStore) -> None:
        one = validation(tmp_path, async_store)
        await one.start()
        await one.scan()
        entry = one.catalog.entries()[0]
        pauses = []
        for _ in range(5):
            entry.state = VersionState.VALIDATING
            await one._decided(entry, entry.seen.fingerprint, Changing("it changed while it was read"))
            pauses.append(round(entry.due - CLOCK.monotonic()))
        assert pauses[:2] == [0, 0] and pauses[2:] == [round(s) for s in RETRY_SECONDS[:3]]
        assert entry.waiting == "not judged yet: it changed while it was read"
        assert one.unjudged == {entry.name: "it changed while it was read"}
        entry.state = VersionState.VALIDATING
        await one._decided(entry, "other files", Changing("it changed while it was read"))
        assert round(entry.due - CLOCK.monotonic()) == 0, "a look saw it change: it is a copy under way"

    run(tmp_path, test)


def test_a_version_that_cannot_be_judged_is_tried_again_later_and_at_once_when_asked_for(
    tmp_path: Path,
) -> None:
    async def test(store: Store, async_store: AsyncStore) -> None:
        (tmp_path / "models" / "v1.1" / "model.onnx").unlink()
        (tmp_path / "models" / "v1.1").rmdir()
        (tmp_path / "cache").write_text("no directory")
        one = validation(tmp_path, async_store)
        await one.start()
        await one.scan()

        async def attempt(wanted: str) -> float:
            """Judges once; how long the next attempt is away."""

            def begun() -> bool:
                one.next(wanted, None)
                return one.busy

            await soon(begun)
            await soon(lambda: not one.busy)
            (entry,) = one.catalog.entries()
            assert entry.state is VersionState.SETTLING
            assert entry.waiting.startswith("not judged yet: ")
            return entry.due - CLOCK.monotonic()

        assert 10 < await attempt("") <= 15
        one.next("", None)
        assert not one.busy, "it waits"
        one.at_once("v1.0")
        assert 10 < await attempt("") <= 15
        assert 10 < await attempt("v1.0") <= 15, "a link that comes to name it asks for it"
        one.next("v1.0", None)
        assert not one.busy, "a link that goes on naming it does not"

    run(tmp_path, test)


def test_the_pauses_between_attempts_grow_to_ten_minutes() -> None:
    assert RETRY_SECONDS[0] == 15
    assert RETRY_SECONDS[-1] == 600
    assert all(a < b for a, b in pairwise(RETRY_SECONDS))


def test_trouble_of_the_machine_while_a_version_is_looked_through_is_no_rejection(tmp_path: Path) -> None:
    because = "cannot read it: Too many open files"
    trouble = VersionSeen("v1.0", because, error=because, passing=True)

    async def test(store: Store, async_store: AsyncStore) -> None:
        one = validation(tmp_path, async_store)
        began = CLOCK.monotonic()
        long_ago = began - 60
        one.catalog.update(RootSeen((1, 1), Missing(), (trouble,)), long_ago, 0.0)
        one.next("", None)
        assert one.hindered("v1.0") == f"not judged yet: {because}", "whoever waits is answered"
        assert not one.undecided("v1.0")
        (entry,) = one.catalog.entries()
        assert entry.state is VersionState.SETTLING and began + 15 < entry.due <= CLOCK.monotonic() + 15

        readable = VersionSeen("v1.0", "f", bytes=3, files=1, writing=False)
        one.catalog.update(RootSeen((1, 1), Missing(), (readable,)), long_ago, 0.0)
        entry.state = VersionState.ACCEPTED
        assert one.catalog.update(RootSeen((1, 1), Missing(), (trouble,)), long_ago, 0.0) == []
        assert (entry.state, entry.seen) == (VersionState.ACCEPTED, readable), "what was seen last still holds"

    run(tmp_path, test)


def test_a_version_that_cannot_be_looked_through_is_rejected_also_while_another_one_is_judged(tmp_path: Path) -> None:
    because = "cannot read it: Permission denied"

    async def test(store: Store, async_store: AsyncStore) -> None:
        one = validation(tmp_path, async_store)
        await one.start()
        await one.scan()

        def begun() -> bool:
            one.next("", None)
            return one.busy

        await soon(begun)
        seen = [entry.seen for entry in one.catalog.entries()]
        closed = VersionSeen("v1.2", because, error=because)
        one.catalog.update(RootSeen((1, 1), Missing(), (*seen, closed)), CLOCK.monotonic() - 60, 0.0)
        one.next("", None)
        entry = one.catalog.get("v1.2")
        assert entry is not None and entry.verdict is not None and one.busy
        assert (entry.state, entry.verdict.because) == (VersionState.REJECTED, because)
        assert [gate.gate for gate in entry.verdict.gates] == ["layout"]
        assert "v1.2" not in store.sightings(), "it is looked through anew each time"
        await one.stop()

    run(tmp_path, test)


def test_of_many_versions_that_came_and_went_little_is_kept(tmp_path: Path) -> None:
    async def test(store: Store, async_store: AsyncStore) -> None:
        one = validation(tmp_path, async_store)
        await one.start()
        batch: list[Path] = []
        for number in range(4 * MOST_GONE):
            (directory := tmp_path / "models" / f"v{number}.0.0").mkdir()
            batch.append(directory)
            if len(batch) < 100:
                continue
            await one.scan()
            for directory in batch:
                entry = one.catalog.get(directory.name)
                assert entry is not None
                entry.state = VersionState.VALIDATING
                if directory is batch[0]:
                    directory.rmdir()
                    await one.scan()  # its verdict, or why there is none, comes when it is gone
                    await one._decided(entry, "", v.NotJudged("the disk is full"))
                    await one._decided(entry, "", Changing("it changed while it was read"))
                else:
                    await one._decided(entry, entry.seen.fingerprint, v.Verdict(False, "no", digest=directory.name))
                    directory.rmdir()
            await one.scan()
            batch.clear()
        assert MOST_GONE <= len(store.sightings()) <= MOST_GONE + 2
        assert (
            f"v{4 * MOST_GONE - 1}.0.0" in store.sightings()
            and store.verdict("v1.0.0", "v1.0.0", one.verdicts.conditions()) is None
        )
        held = {name: len(value) for name, value in vars(one).items() if isinstance(value, dict | list | set)}
        assert max(held.values()) <= MOST_GONE + 2 and len(one.catalog.entries()) == 2, held
        again = validation(tmp_path, async_store)
        await again.start()
        (tmp_path / "models" / "v1.0").rename(tmp_path / "models" / "v3.0")
        await again.scan()
        assert len(again.verdicts._sightings) <= MOST_GONE + 2

    run(tmp_path, test)


def test_a_version_that_comes_back_as_it_was_keeps_its_verdict(tmp_path: Path) -> None:
    async def test(store: Store, async_store: AsyncStore) -> None:
        await all_rejected(tmp_path, store, async_store)
        one = validation(tmp_path, async_store)
        await one.start()
        (tmp_path / "models" / "v1.0").rename(tmp_path / "aside")
        await one.scan()
        (tmp_path / "aside").rename(tmp_path / "models" / "v1.0")
        await one.scan()
        back = one.catalog.get("v1.0")
        assert back is not None and back.state is VersionState.REJECTED

    run(tmp_path, test)


def test_what_somebody_asks_for_is_judged_next_and_a_rejection_is_forgotten(tmp_path: Path) -> None:
    async def test(store: Store, async_store: AsyncStore) -> None:
        await all_rejected(tmp_path, store, async_store)
        one = validation(tmp_path, async_store)
        await one.start()
        await one.scan()
        assert {e.state for e in one.catalog.entries()} == {VersionState.REJECTED}
        await one.validate_again("v1.1")
        await one.scan()
        asked = one.catalog.get("v1.1")
        assert asked is not None and (asked.state, asked.verdict) == (VersionState.SETTLING, None)
        assert set(store.sightings()) == {"v1.0"}
        assert one.undecided("v1.1") and not one.undecided("v1.0")

        def begun() -> bool:
            one.next("", None)
            return one.busy

        await soon(begun)
        assert asked.state is VersionState.VALIDATING
        await one.validate_again("v9.9")  # there is none
        await one.stop()

    run(tmp_path, test)


@pytest.mark.parametrize("where", ["before it begins", "while the validator reports"])
def test_a_version_whose_judgement_ends_by_an_unexpected_error_is_tried_again_with_the_reason(
    tmp_path: Path, where: str
) -> None:
    before, broken = where == "before it begins", True

    def fault(name: str) -> None:
        if before and broken and name == "judgement":
            raise RuntimeError("nobody thought of it")

    def progress(version: str, message: object) -> None:
        if not before and broken:
            raise RuntimeError("nobody thought of it")

    async def test(store: Store, async_store: AsyncStore) -> None:
        nonlocal broken
        background = Background(CLOCK, fault=fault)
        background.install()
        began = CLOCK.monotonic()
        one = validation(tmp_path, async_store, progress)
        await one.start()
        await one.scan()

        def begun() -> bool:
            one.next("v1.0", None)
            return one.busy

        await soon(begun)
        await soon(lambda: not one.busy)
        entry = one.catalog.get("v1.0")
        assert entry is not None and entry.state is VersionState.SETTLING
        assert entry.waiting.startswith("not judged yet: an error in the daemon")
        assert before or entry.waiting.endswith("RuntimeError: nobody thought of it")
        assert began + 15 < entry.due <= CLOCK.monotonic() + 15
        assert [f.part for f in background.failures.current()] == ["judgement"]
        broken = False
        one.at_once("v1.0")
        await soon(begun)
        await soon(lambda: not one.busy)
        assert entry.state is VersionState.REJECTED, "no model at all"

    run(tmp_path, test)


def test_numbers_of_accepted_signatures_are_kept_and_bind_what_comes_after(tmp_path: Path) -> None:
    async def test(store: Store, async_store: AsyncStore) -> None:
        one = validation(tmp_path, async_store)
        await one.scan()
        entry = one.catalog.entries()[0]
        for verdict in (
            v.Verdict(True, "", digest="aa", artifact="/a", sequence=7),
            v.Verdict(False, "", digest="bb", sequence=9),
        ):
            await one.verdicts.remember(entry, "f", verdict, "c")
        assert store.highest_sequence() == 7
        assert await one.verdicts.signed_before(entry.name, 0.0) == SignedBefore()  # no signature is required
        key = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3"
        signed = VerdictMemory(
            lambda: parse(f'[validation]\npublic_keys = ["{key}"]', "test"), async_store, one.catalog
        )
        assert await signed.signed_before(entry.name, 0.0) == SignedBefore(7, ("aa",))
        assert await signed.signed_before("other", 0.0) == SignedBefore(7)

    run(tmp_path, test)


def test_an_old_signed_version_is_rejected_by_the_number_of_a_newer_one(tmp_path: Path) -> None:
    async def test(store: Store, async_store: AsyncStore) -> None:
        for name, sequence in (("v1.0", 6), ("v1.1", 8)):
            (tmp_path / "models" / name / "tokens.txt").write_text("a 0")
            sign_version(tmp_path / "models" / name, KEY, f"modelward sequence={sequence}")
        store.take_version("v0.9", "of before", 7)
        one = validation(tmp_path, async_store, public_keys=f'["{public_line(KEY.public)}"]')
        await one.start()
        await one.scan()

        def judged() -> bool:
            one.next("", None)
            return all(entry.verdict is not None for entry in one.catalog.entries())

        await soon(judged)
        because = {entry.name: entry.verdict.because for entry in one.catalog.entries() if entry.verdict is not None}
        assert "has the number 6, and number 7 was accepted before" in because["v1.0"]
        assert "number" not in because["v1.1"]

    run(tmp_path, test)
