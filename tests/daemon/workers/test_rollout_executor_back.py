"""Rollouts that fail or are called off: everybody goes back, and what could not be done is said."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest
from tests.daemon.workers.rollouts import (
    LONG,
    QUICK,
    V1,
    V2,
    canary,
    run,
    steps,
    under_way,
)
from tests.daemon.workers.room import room, target
from tests.support import PATIENCE_SECONDS, soon

from modelward.daemon.errors import ModelwardError
from modelward.daemon.workers.overlap import Way
from modelward.daemon.workers.rollout_executor import Rollout
from modelward.daemon.workers.rollout_planner import RolloutPolicy


def test_figures_worse_than_the_old_versions_bring_all_back(tmp_path: Path) -> None:
    async def work() -> None:
        async with room(tmp_path, wanted=2, serve=V1, scripts={"": {V2: "fails"}}) as it:
            rollout = await it.executor.run(it.rollout(V2), LONG)
            assert rollout.outcome.startswith("50 of 100 requests failed (50.0%), 0.0% on the old version")
            assert rollout.blame
            assert it.serving() == {"w1": V1, "w2": V1}

    run(work)


@pytest.mark.parametrize("before_the_link", [True, False])
def test_called_off_it_goes_back_until_the_link_moved_and_is_nobodys_fault(
    tmp_path: Path, before_the_link: bool
) -> None:
    async def work() -> None:
        async with room(tmp_path, wanted=2, serve=V1) as it:
            policy = LONG if before_the_link else RolloutPolicy(canary=0, bake_seconds=3600)
            going = under_way(it, it.rollout(V2), policy)
            if before_the_link:
                await canary(it)
            else:
                await soon(lambda: it.links)
            it.executor.cancel("v3 is wanted now")
            it.executor.cancel("and v4 too")
            rollout = await asyncio.wait_for(going, PATIENCE_SECONDS)
            assert not rollout.blame
            assert rollout.succeeded is not before_the_link
            version = V1 if before_the_link else V2
            assert it.serving() == {"w1": version, "w2": version}
            if before_the_link:
                assert rollout.outcome == "v3 is wanted now; still serving v1"

    run(work)


def test_with_nothing_under_way_there_is_nothing_to_call_off(tmp_path: Path) -> None:
    async def work() -> None:
        async with room(tmp_path) as it:
            it.executor.cancel("never mind")

    run(work)


def test_who_does_not_go_back_is_replaced(tmp_path: Path) -> None:
    async def work() -> None:
        scripts: dict[str, dict[str, object]] = {"w1": {V1: "refuse"}, "w2": {V2: "refuse"}}
        async with room(tmp_path, wanted=2, serve="v0", scripts=scripts) as it:
            it.welcome = type(it.welcome)(V1, target(V1).artifact, 0.5)
            rollout = await it.executor.run(
                it.rollout(V2, old=V1), RolloutPolicy(1, 0.0, reload_timeout_seconds=PATIENCE_SECONDS)
            )
            assert not rollout.succeeded
            assert rollout.outcome == (
                "worker w2 refused it: bad graph; worker w1 refused it: bad graph; w1, w2 did not go back;"
                " still serving v1"
            )
            assert rollout.blame
            it.wake.set()
            await it.all_serve(V1, 2)
            assert {"w1", "w2"}.isdisjoint(it.serving())
            assert all(e.retired for e in it.ended)

    run(work)


def test_a_link_that_can_not_be_moved_brings_all_back_and_blames_nobody(tmp_path: Path) -> None:
    def refuse(rollout: Rollout, forward: bool) -> None:
        raise ModelwardError("cannot move current: No space left on device")

    async def work() -> None:
        async with room(tmp_path, wanted=2, serve=V1) as it:
            it.before_link = refuse
            rollout = await it.executor.run(it.rollout(V2), QUICK)
            assert rollout.outcome == "cannot move current: No space left on device; still serving v1"
            assert not rollout.blame
            assert not rollout.link_moved
            assert it.serving() == {"w1": V1, "w2": V1}

    run(work)


def test_after_the_link_moved_a_crash_puts_everything_back_as_far_as_can_be(tmp_path: Path) -> None:
    async def work() -> None:
        async with room(tmp_path, wanted=2, serve=V1) as it:
            going = under_way(it, it.rollout(V2), RolloutPolicy(canary=0, bake_seconds=3600))
            await soon(lambda: it.links)
            os.kill(it.pid("w2"), signal.SIGSEGV)
            rollout = await going
            assert it.links == [V2, V1]
            assert rollout.outcome.endswith("; still serving v1")
            await it.all_serve(V1, 2)

    run(work)


def test_a_link_that_can_not_be_put_back_is_said(tmp_path: Path) -> None:
    def only_forward(rollout: Rollout, forward: bool) -> None:
        if not forward:
            raise ModelwardError("cannot move current: Read-only file system")

    async def work() -> None:
        async with room(tmp_path, wanted=1, serve=V1) as it:
            it.before_link = only_forward
            going = under_way(it, it.rollout(V2), RolloutPolicy(canary=0, bake_seconds=3600))
            await soon(lambda: it.links)
            os.kill(it.pid("w1"), signal.SIGSEGV)
            rollout = await going
            assert "; cannot move current: Read-only file system; " in rollout.outcome
            assert rollout.decided

    run(work)


def test_without_room_for_two_versions_it_is_refused_before_anything_is_given_up(tmp_path: Path) -> None:
    async def work() -> None:
        async with room(tmp_path, wanted=2, serve=V1) as it:
            it.way = Way.REFUSE, "loading takes 900MiB, 100MiB are available"
            rollout = await it.executor.run(it.rollout(V2), QUICK)
            assert rollout.outcome == (
                "no room for two versions: loading takes 900MiB, 100MiB are available; still serving v1"
            )
            assert not rollout.blame
            assert "prepare" not in steps(rollout)
            assert it.serving() == {"w1": V1, "w2": V1}

    run(work)


@pytest.mark.parametrize("refused", [False, True])
def test_unloading_first_the_workers_take_turns_and_all_come_back_when_one_refuses(
    tmp_path: Path, refused: bool
) -> None:
    async def work() -> None:
        scripts: dict[str, dict[str, object]] = {"w2": {V2: "refuse"}} if refused else {}
        async with room(tmp_path, wanted=3, serve=V1, scripts=scripts) as it:
            it.way = Way.UNLOAD_FIRST, "tight"
            going = under_way(
                it, it.rollout(V2), RolloutPolicy(canary=3, bake_seconds=0.1, reload_timeout_seconds=PATIENCE_SECONDS)
            )
            fewest = 3
            while not going.done():
                fewest = min(fewest, len(it.registry.serving()))
                await it.registry.changed(0.01)
            assert fewest == 2
            assert (await going).succeeded is not refused
            version = V1 if refused else V2
            assert it.serving() == {"w1": version, "w2": version, "w3": version}

    run(work)


def test_a_worker_astray_is_brought_in_line_also_where_there_is_no_room(tmp_path: Path) -> None:
    async def work() -> None:
        async with room(tmp_path, wanted=1, serve=V1) as it:
            it.way = Way.REFUSE, "tight"
            rollout = await it.executor.run(it.rollout(V2, old=""), QUICK)
            assert rollout.succeeded, rollout.outcome
            assert it.serving() == {"w1": V2}

    run(work)
