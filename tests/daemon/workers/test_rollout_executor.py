"""Rollouts with workers that obey, refuse, hang, lie and die: real processes on a real socket."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from pathlib import Path

import pytest
from tests.daemon.workers.rollouts import (
    BAKED,
    IMPATIENT,
    LONG,
    QUICK,
    V1,
    V2,
    canary,
    moved,
    run,
    steps,
    under_way,
)
from tests.daemon.workers.room import room
from tests.support import soon

from modelward.daemon.answers.rollouts import RolloutWorker
from modelward.daemon.workers.rollout_planner import RolloutPolicy
from modelward.worker import protocol as p
from modelward.worker.shared.progress import ProcessReading


def test_all_workers_are_moved_the_canary_first_and_the_link_last(tmp_path: Path) -> None:
    async def work() -> None:
        async with room(tmp_path, wanted=3, serve=V1) as it:
            rollout = await it.executor.run(it.rollout(V2), BAKED)
            assert rollout.succeeded
            assert (rollout.state, rollout.outcome, rollout.blame) == ("done", "serving v2", False)
            assert it.serving() == {"w1": V2, "w2": V2, "w3": V2}
            assert it.links == [V2]
            done = [step for step in steps(rollout) if step not in ("preparing", "baking")]
            assert done == ["prepare", "commit", "prepare", "prepare", "commit", "link", "done"]
            assert rollout.answer().workers == [RolloutWorker(f"w{i}", "moved") for i in (1, 2, 3)]
            assert it.executor.current is None
            assert it.registry.moving_to is None

    run(work)


@pytest.mark.parametrize("who", ["w1", "w2", "w3"])
def test_one_refusal_brings_all_back_and_the_version_is_to_blame(tmp_path: Path, who: str) -> None:
    async def work() -> None:
        async with room(tmp_path, wanted=3, serve=V1, scripts={who: {V2: "refuse"}}) as it:
            rollout = await it.executor.run(it.rollout(V2), QUICK)
            assert not rollout.succeeded
            assert rollout.outcome == f"worker {who} refused it: bad graph; still serving v1"
            assert rollout.blame
            assert it.serving() == {"w1": V1, "w2": V1, "w3": V1}
            assert it.links == []
            assert it.ended == []
            assert rollout.id == "r1"

    run(work)


def test_a_worker_that_goes_on_loading_may_take_longer_than_its_time(tmp_path: Path) -> None:
    async def work() -> None:
        async with room(tmp_path, wanted=2, serve=V1, scripts={"w2": {V2: "hang"}}) as it:
            state, seen = "R", 0

            def read(pid: int) -> ProcessReading:
                nonlocal seen
                seen += 1
                return ProcessReading(time.monotonic(), 0.0, state=state)

            it.read = read
            going = under_way(it, it.rollout(V2), IMPATIENT)
            await soon(lambda: seen > 3)
            assert not going.done()
            state = "T"
            rollout = await going
            assert rollout.outcome.startswith("worker w2 did not finish preparing in 0.5 s: it is stopped by a signal")
            assert not rollout.blame

    run(work)


@pytest.mark.parametrize("how", ["hang", "hang at commit", "no commit"])
def test_a_worker_that_does_not_come_along_in_time_ends_it(tmp_path: Path, how: str) -> None:
    async def work() -> None:
        async with room(tmp_path, wanted=2, serve=V1, scripts={"w2": {V2: how}}) as it:
            rollout = await it.executor.run(it.rollout(V2), IMPATIENT)
            assert rollout.outcome.startswith("worker w2 ")
            assert rollout.outcome.endswith("; still serving v1")
            assert it.serving() == {"w1": V1, "w2": V1}
            assert it.links == []

    run(work)


@pytest.mark.parametrize(
    ("number", "blamed"), [(signal.SIGSEGV, True), (signal.SIGABRT, True), (signal.SIGKILL, False)]
)
def test_a_canary_that_crashes_ends_it_and_one_that_was_killed_does_not(
    tmp_path: Path, number: signal.Signals, blamed: bool
) -> None:
    async def work() -> None:
        async with room(tmp_path, wanted=2, serve=V1) as it:
            going = under_way(it, it.rollout(V2), LONG if blamed else BAKED)
            name = await canary(it)
            os.kill(it.pid(name), number)
            rollout = await going
            assert rollout.succeeded is not blamed
            assert rollout.blame is blamed
            await it.all_serve(V1 if blamed else V2, 2)
            assert it.links == ([] if blamed else [V2])
            if blamed:
                assert (
                    rollout.outcome
                    == f"worker {name} (died of {number.name}) died while it served it; still serving v1"
                )

    run(work)


def test_a_crash_whose_hangup_is_seen_long_before_its_death_lets_nothing_happen_in_between(tmp_path: Path) -> None:
    async def work() -> None:
        async with room(tmp_path, wanted=3, serve=V1) as it:
            going = under_way(it, it.rollout(V2), LONG)
            name = await canary(it)
            os.kill(it.pid(name), signal.SIGUSR2)
            rollout = await going
            assert rollout.blame
            assert [step.worker for step in rollout.steps if step.step == "prepare"] == [name]
            assert it.links == []
            await it.all_serve(V1, 3)

    run(work)


def test_killed_again_and_again_it_may_be_the_version_after_all(tmp_path: Path) -> None:
    async def work() -> None:
        async with room(tmp_path, wanted=3, serve=V1) as it:
            going = under_way(it, it.rollout(V2), LONG)
            for deaths in (1, 2, 3):
                name = await canary(it)
                os.kill(it.pid(name), signal.SIGKILL)
                await soon(lambda: len(it.ended) == deaths)  # noqa: B023 - awaited here
            rollout = await going
            assert not rollout.succeeded
            assert "died of SIGKILL" in rollout.outcome

    run(work)


def test_a_worker_told_to_leave_by_somebody_is_not_held_against_the_version(tmp_path: Path) -> None:
    async def work() -> None:
        async with room(tmp_path, wanted=2, serve=V1) as it:
            going = under_way(it, it.rollout(V2), BAKED)
            name = await canary(it)
            os.kill(it.pid(name), signal.SIGTERM)
            rollout = await going
            assert rollout.succeeded, rollout.outcome
            await it.all_serve(V2, 2)

    run(work)


def test_the_death_of_a_worker_on_the_old_version_is_no_argument(tmp_path: Path) -> None:
    async def work() -> None:
        async with room(tmp_path, wanted=2, serve=V1) as it:
            going = under_way(it, it.rollout(V2), BAKED)
            name = await canary(it)
            other = next(n for n in it.serving() if n != name)
            os.kill(it.pid(other), signal.SIGSEGV)
            rollout = await going
            assert rollout.succeeded, rollout.outcome
            await it.all_serve(V2, 2)

    run(work)


def test_the_watch_goes_on_while_a_newcomer_loads_the_old_version(tmp_path: Path) -> None:
    async def work() -> None:
        async with room(tmp_path, wanted=2, serve=V1, scripts={"w3": {"*": 0.3}}) as it:
            going = under_way(it, it.rollout(V2), BAKED)
            name = await canary(it)
            since = it.clock.monotonic()
            os.kill(it.pid(next(n for n in it.serving() if n != name)), signal.SIGKILL)
            await soon(lambda: len(moved(it)) == 2)
            assert it.clock.monotonic() - since >= 0.5, "its emptiness cut the watch short"
            assert (await going).succeeded

    run(work)


def test_a_newcomer_that_never_loads_the_old_version_is_given_the_new_one(tmp_path: Path) -> None:
    async def work() -> None:
        async with room(tmp_path, wanted=2, serve=V1, scripts={"w3": {"*": "slow"}}) as it:
            os.kill(it.pid("w1"), signal.SIGKILL)
            await soon(lambda: "w3" in it.serving())
            rollout = await it.executor.run(it.rollout(V2), RolloutPolicy(1, 0.0, reload_timeout_seconds=0.7))
            assert rollout.succeeded, rollout.outcome
            assert it.serving() == {"w2": V2, "w3": V2}

    run(work)


def test_the_first_version_of_all_is_loaded_without_ceremony(tmp_path: Path) -> None:
    async def work() -> None:
        async with room(tmp_path, wanted=2) as it:
            await soon(lambda: len(it.registry.peers()) == 2)
            rollout = await it.executor.run(it.rollout(V2, old=""), LONG)
            assert rollout.succeeded
            assert it.serving() == {"w1": V2, "w2": V2}

    run(work)


def test_a_first_version_that_is_refused_leaves_nothing_to_go_back_to(tmp_path: Path) -> None:
    async def work() -> None:
        async with room(tmp_path, wanted=1, scripts={"": {V2: "refuse"}}) as it:
            await soon(lambda: it.registry.peers())
            rollout = await it.executor.run(it.rollout(V2, old=""), LONG)
            assert rollout.outcome == "worker w1 refused it: bad graph; nothing else is there to serve"
            assert it.serving() == {"w1": ""}

    run(work)


def test_with_no_worker_at_all_it_gives_up_in_time_and_blames_nobody(tmp_path: Path) -> None:
    async def work() -> None:
        async with room(tmp_path) as it:
            rollout = await it.executor.run(it.rollout(V2, old=""), IMPATIENT)
            assert rollout.outcome.startswith("no worker came up in 0.5 s")
            assert not rollout.blame

    run(work)


def test_a_worker_that_joins_anew_in_the_middle_is_asked_anew(tmp_path: Path) -> None:
    async def work() -> None:
        async with room(tmp_path, wanted=2, serve=V1) as it:
            going = under_way(it, it.rollout(V2), BAKED)
            name = await canary(it)
            for each in it.serving():
                os.kill(it.pid(each), signal.SIGUSR1)
            await soon(lambda: sum(e.kind == "left" for e in it.events) == 2)
            rollout = await going
            assert rollout.succeeded, rollout.outcome
            assert it.serving() == {"w1": V2, "w2": V2}
            assert sum(s.worker == name and s.step == "prepare" for s in rollout.steps) == 1, "it kept the target"

    run(work)


def test_an_attached_worker_takes_part_like_any_other(tmp_path: Path) -> None:
    async def attached(path: Path) -> None:
        reader, writer = await asyncio.open_unix_connection(str(path))
        writer.write(p.encode(p.Hello(pid=1, name="mine", serving=V1)))
        try:
            async for line in reader:
                match p.decode_from_daemon(line):
                    case p.Prepare(rollout, version):  # it can't load aside: it answers at once, loads at the commit
                        offered = version
                        writer.write(p.encode(p.Prepared(rollout, version)))
                    case p.Commit(rollout):
                        writer.write(p.encode(p.Serving(rollout, offered)))
        finally:
            writer.close()

    async def work() -> None:
        async with room(tmp_path, wanted=1, serve=V1) as it:
            mine = asyncio.create_task(attached(it.socket))
            await soon(lambda: len(it.registry.peers()) == 2)
            rollout = await it.executor.run(it.rollout(V2), QUICK)
            assert rollout.succeeded, rollout.outcome
            assert it.serving() == {"w1": V2, "mine": V2}
            mine.cancel()
            await asyncio.wait({mine})

    run(work)


def test_an_attached_worker_that_lies_about_what_it_serves_is_cut_off_and_the_rollout_goes_on(tmp_path: Path) -> None:
    async def work() -> None:
        async with room(tmp_path, wanted=1, serve=V1) as it:
            with socket.socket(socket.AF_UNIX) as liar:
                liar.connect(str(it.socket))
                liar.setblocking(False)
                liar.send(p.encode(p.Hello(pid=1, name="a", serving=V1)))
                await soon(lambda: len(it.registry.peers()) == 2)
                going = under_way(it, it.rollout(V2), QUICK)
                await soon(lambda: (it.registry.peer("a") or it.registry.peers()[0]).rollout == "r1")
                liar.send(p.encode(p.Serving("r1", "v7")))
                assert (await going).succeeded
                assert it.serving() == {"w1": V2}

    run(work)


@pytest.mark.parametrize("serving", [V1, ""])
def test_an_attached_worker_that_never_answers_is_left_out_and_the_version_not_blamed(
    tmp_path: Path, serving: str
) -> None:
    async def deaf(path: Path) -> None:
        while True:
            reader, writer = await asyncio.open_unix_connection(str(path))
            try:
                writer.write(p.encode(p.Hello(pid=1, name="deaf", serving=serving)))
                while await reader.read(65536):
                    pass
            finally:
                writer.close()

    async def work() -> None:
        async with room(tmp_path, wanted=1, serve=V1) as it:
            mine = asyncio.create_task(deaf(it.socket))
            await soon(lambda: len(it.registry.peers()) == 2)
            rollout = await it.executor.run(it.rollout(V2), IMPATIENT)
            assert rollout.succeeded, rollout.outcome
            assert ("left out" in steps(rollout)) is bool(serving)
            assert it.serving()["w1"] == V2
            mine.cancel()
            await asyncio.wait({mine})

    run(work)


def test_the_steps_kept_are_bounded_and_told_as_they_happen(tmp_path: Path) -> None:
    async def work() -> None:
        async with room(tmp_path, wanted=1, serve=V1) as it:
            rollout = await it.executor.run(it.rollout(V2), QUICK)
            assert it.progress[-1] == "done"
            assert len(it.progress) == len(rollout.steps)
            answer = rollout.answer()
            assert (answer.id, answer.version, answer.old_version, answer.decided) == ("r1", V2, V1, True)

    run(work)
