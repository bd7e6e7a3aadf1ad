"""How long a daemon waits for the workers of the one before it."""

from __future__ import annotations

from modelward.daemon.workers.former_workers import FormerWorkers
from modelward.daemon.workers.peer import WorkerPeer
from modelward.daemon.workers.replacement import LOST_SECONDS

HERE = [WorkerPeer(name="w2", pid=1, attached=False, joined=0.0)]


def test_nobody_is_waited_for_when_nobody_was_left() -> None:
    former = FormerWorkers((), 5.0)
    assert former.deadline is None
    assert not former.in_time(5.0)
    assert list(former.overdue([], 1000.0)) == []


def test_who_is_not_back_by_the_deadline_is_named_once() -> None:
    former = FormerWorkers({"w1", "w2"}, 5.0)
    assert former.deadline == 5.0 + LOST_SECONDS
    assert former.in_time(5.0 + LOST_SECONDS)
    assert list(former.overdue(HERE, 5.0 + LOST_SECONDS)) == []
    assert [name for name, _ in former.overdue(HERE, 5.1 + LOST_SECONDS)] == ["w1"]
    assert former.deadline is None
    assert list(former.overdue([], 100.0)) == []
