"""No request waits in one worker while another idles: every run of the model by every worker, looked at afterwards."""

from __future__ import annotations

import functools
import http.client
import io
import itertools
import os
import signal
import time
import wave
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest
from tests.balance import (
    Run,
    idle_while_waiting,
    most_at_once,
    runs_in,
)
from tests.house import House, Load, clip
from tests.support import PATIENCE_SECONDS, eventually
from tests.system.conftest import Build
from tests.versions import good_version

from modelward.worker.scheduling import fairness

pytestmark = [pytest.mark.system, pytest.mark.alone]

WORKERS = 2


@pytest.fixture(scope="module")
def shared(build_shared: Build) -> House:
    house = build_shared(workers={"count": WORKERS}, logs={"level": "debug"})
    good_version(house.models, "dtmf-v1.0")
    return house.start("dtmf-v1.0")


@pytest.fixture
def town(shared: House) -> House:
    eventually(lambda: len(shared.workers()) == WORKERS)
    shared.await_serving("dtmf-v1.0")
    return shared


@functools.cache
def spoken(times: int) -> bytes:
    """A clip of 2.5 s so many times in a row."""
    with wave.open(io.BytesIO(clip())) as one:
        parameters, frames = one.getparams(), one.readframes(one.getnframes())
    whole = io.BytesIO()
    with wave.open(whole, "wb") as out:
        out.setparams(parameters)
        out.writeframes(frames * times)
    return whole.getvalue()


LONG, SHORT = 10, 1


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@contextmanager
def all_at_one(house: House) -> Iterator[tuple[Load, int]]:
    """Eight clients whose kept-alive connections all belong to one worker: the load, and that worker's pid."""
    first, second = house.worker_pids()
    load = Load(house.port, 8, True, lambda: spoken(LONG), 0.0)
    try:
        with stopped(second):
            load.begin()
            eventually(lambda: len(load.seconds) >= 8)
        yield load, first
    finally:
        load.end()


def trace(house: House, since: float, count: int) -> list[Run]:
    """The runs that were asked for since then, once there are `count`."""

    def found() -> list[Run] | None:
        runs = [run for run in runs_in(house.log_dir) if run.asked > since]
        return runs if len(runs) >= count else None

    return eventually(found) or []


def check(runs: list[Run]) -> None:
    """Fails when something waited although a slot was free."""
    spells = sorted(idle_while_waiting(runs, WORKERS))
    waited = sum(run.began - run.asked for run in runs)
    print(
        f"{len(runs)} runs by {dict(Counter(run.worker for run in runs))}, {sum(r.ended - r.began for r in runs):.2f} s"
        f" of work, {waited:.2f} s waited; beside a free slot {sum(spells):.3f} s, {len(spells)} times, longest"
        f" {max(spells, default=0):.3f} s, median {spells[len(spells) // 2] if spells else 0:.4f} s"
    )
    assert waited > 0
    assert most_at_once(runs) == WORKERS
    # Between one run's end and the next one's beginning two threads, or two workers, have to get a processor from
    # everything else that runs here. Without sharing, all the waiting is beside a free slot.
    assert sum(spells) < 0.3 * waited


@pytest.mark.parametrize("keep_alive", [True, False], ids=["keep-alive", "a connection each"])
@pytest.mark.parametrize("clips", [(LONG,), (LONG, SHORT, SHORT)], ids=["even", "uneven"])
def test_no_request_waits_while_a_slot_is_free(town: House, keep_alive: bool, clips: tuple[int, ...]) -> None:
    since, turns = time.monotonic(), itertools.cycle(clips)
    with town.load(8, keep_alive=keep_alive, audio=lambda: spoken(next(turns)), pause_seconds=0) as load:
        eventually(lambda: len(load.seconds) >= 60)
    assert load.failures == []
    check(trace(town, since, len(load.seconds)))


def test_a_worker_with_all_the_clients_uses_what_its_idle_sibling_leaves(town: House) -> None:
    with all_at_one(town) as (load, _):
        since, seen = time.monotonic(), len(load.seconds)
        eventually(lambda: len(load.seconds) >= seen + 40)
        until = time.monotonic()
    assert load.failures == []
    runs = [run for run in trace(town, since, 40) if run.ended < until]
    assert len({run.worker for run in runs}) == 1
    check(runs)


def test_whoever_has_no_run_to_ask_for_is_answered_while_all_slots_are_busy(town: House) -> None:
    with town.load(8, audio=lambda: spoken(LONG), pause_seconds=0) as load:
        eventually(lambda: len(load.seconds) >= 8)
        since, probes = time.monotonic(), []
        for _ in range(20):
            with closing(http.client.HTTPConnection("127.0.0.1", town.port, timeout=PATIENCE_SECONDS)) as probe:
                began = time.monotonic()
                probe.request("GET", "/health")
                assert probe.getresponse().status == 200
                probes.append((began, time.monotonic()))
    assert load.failures == []
    runs = trace(town, since, 1)
    ended = sorted(sum(began < run.ended < answered for run in runs) for began, answered in probes)
    print(f"runs that ended while a probe waited: {ended}")
    assert ended[len(ended) // 2] < 3, "it stood in the line, where it had been the ninth"


def test_what_a_killed_worker_had_is_free_at_once(town: House) -> None:
    with all_at_one(town) as (load, pid):
        os.kill(pid, signal.SIGKILL)
        since, seen = time.monotonic(), len(load.seconds)
        eventually(lambda: len(load.seconds) >= seen + 20)
        until = time.monotonic()
    assert len(load.failures) == len(load.broken) <= 8
    eventually(lambda: len(town.workers()) == WORKERS and pid not in {w["pid"] for w in town.workers()})
    check([run for run in trace(town, since, 20) if run.ended < until])


def test_a_worker_that_hangs_with_all_slots_does_not_keep_its_sibling_from_answering(town: House) -> None:
    with all_at_one(town) as (load, pid):
        with stopped(pid):
            since = time.monotonic()
            for _ in range(3):
                assert town.transcribe(spoken(SHORT))[0] == 200
            until = time.monotonic()
        seen = len(load.seconds)
        eventually(lambda: len(load.seconds) >= seen + 8)
    assert load.failures == []
    waits = [run.began - run.asked for run in trace(town, since, 3) if run.began < until]
    assert len(waits) >= 3
    assert max(waits[1:]) < fairness.PATIENCE_SECONDS, "patience is lost once, not for each request"


def test_the_workers_go_on_sharing_when_the_daemon_is_dead(town: House) -> None:
    town.kill()
    try:
        with all_at_one(town) as (load, _):
            since, seen = time.monotonic(), len(load.seconds)
            eventually(lambda: len(load.seconds) >= seen + 20)
            until = time.monotonic()
        assert load.failures == []
        check([run for run in trace(town, since, 20) if run.ended < until])
    finally:
        town.start("dtmf-v1.0")
