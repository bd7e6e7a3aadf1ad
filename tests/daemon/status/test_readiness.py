"""Ready means that workers answer, or that there is nothing to serve; busy, that something is on its way to serving."""

from __future__ import annotations

import pytest

from modelward.daemon.config.load import Config
from modelward.daemon.models.catalog import CatalogEntry
from modelward.daemon.models.lifecycle import VersionState
from modelward.daemon.models.snapshot import Missing, RootSeen, VersionSeen
from modelward.daemon.status.readiness import FIRST_LOOK_SECONDS, is_busy, may_answer
from modelward.daemon.status.serving_state import Position
from modelward.daemon.status.snapshot import ActivationSeen, Snapshot, VersionsSeen, WorkersSeen
from modelward.daemon.workers.peer import WorkerPeer

SETTLE = Config().models.settle


def seen(
    *peers: WorkerPeer, state: VersionState | None = None, now: float = 0, judging: bool = False, rollout: bool = False
) -> Snapshot:
    entries = (CatalogEntry(VersionSeen(name="v1", fingerprint="f"), state, 0.0, 0.0, 0.0),) if state else ()
    versions = VersionsSeen(RootSeen((1, 2), Missing(), ()), entries, judging)
    return Snapshot(now, 0.0, Config(), versions, ActivationSeen(Position(), busy=rollout), WorkersSeen(peers))


SERVES = WorkerPeer("w1", 4, False, 0.0, serving="v1")
IDLE = WorkerPeer("w2", 5, False, 0.0)
LOADS = WorkerPeer("w3", 6, False, 0.0, loading="v1")


@pytest.mark.parametrize(
    ("peers", "busy", "ready"),
    [((), False, False), ((IDLE,), False, True), ((IDLE,), True, False), ((SERVES, IDLE), True, True)],
)
def test_ready_are_workers_that_answer_or_that_have_nothing_to_serve(
    peers: tuple[WorkerPeer, ...], busy: bool, ready: bool
) -> None:
    assert may_answer(seen(*peers), busy=busy) is ready


@pytest.mark.parametrize(
    ("snapshot", "busy"),
    [
        (seen(IDLE), False),
        (seen(LOADS), True),
        (seen(judging=True), True),
        (seen(rollout=True), True),
        (seen(state=VersionState.SETTLING), True),
        (seen(state=VersionState.ACCEPTED), False),
        (seen(state=VersionState.SETTLING, now=SETTLE + FIRST_LOOK_SECONDS + 1), False),
    ],
)
def test_busy_is_whatever_may_still_lead_to_serving(snapshot: Snapshot, busy: bool) -> None:
    assert is_busy(snapshot, began=0.0) is busy
