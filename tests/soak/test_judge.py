"""The soak's judges find what is broken, and excuse only what was never promised."""

from __future__ import annotations

import gzip
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from tests.soak import judge
from tests.soak.clients import Request
from tests.soak.lines import Gatherer, Lines, read_access
from tests.soak.town import Kill
from tests.soak.watcher import Holding, Serving, medians


def asked(number: int = 1, *, status: int = 200, began: float = 10.0, port: int = 7, version: str = "v1") -> Request:
    return Request(f"soak-0-{number}", began, began + 0.1, port, True, status, version, "5")


KILL = Kill(1, frozenset({7}), 10.05, 10.2)


def test_a_request_in_flight_in_a_killed_worker_is_excused_and_no_other() -> None:
    assert judge.failures([asked(status=0)], [KILL]) == []
    assert judge.failures([asked(status=0, port=8)], [KILL]) != []
    assert judge.failures([asked(status=0, began=11.0)], [KILL]) != []
    soon = Request("soak-0-1", 10.3, 10.31, 7, True, 0, "", "")  # a kept connection: the client learns of the death now
    assert judge.failures([soon], [KILL]) == []
    assert judge.failures([replace(soon, kept_alive=False)], [KILL]) != []
    assert judge.failures([asked(status=503)], [KILL]) != []


def test_an_answer_has_to_be_of_a_version_that_served_meanwhile() -> None:
    serving = Serving()
    for at, versions in ((9.0, {"v1"}), (9.9, {"v1"}), (10.3, {"v1", "v2"}), (11.0, {"v2"}), (12.0, {"v2"})):
        serving.add(at, frozenset(versions))
    styles = {"v1": "5", "v2": "5", "v3": "five"}
    assert judge.answers([asked()], serving, styles) == []
    assert judge.answers([asked(version="v2")], serving, styles) == []  # the look after it ended saw it
    assert judge.answers([asked(began=11.5)], serving, styles) != []
    assert "not of the version" in judge.answers([asked(version="v3")], serving, styles)[0]


def test_a_version_that_served_between_two_looks_is_known_by_the_workers_word() -> None:
    serving = Serving()
    for at in (9.9, 10.0, 10.3, 10.4):
        serving.add(at, frozenset({"v1"}))
    styles = {"v1": "5", "v2": "5"}
    brief = asked(version="v2")
    assert judge.answers([brief], serving, styles) != []
    serving.said(brief.ended + 0.01, "v2")
    assert judge.answers([brief], serving, styles) == []
    assert judge.answers([asked(version="v2", began=9.0)], serving, styles) != []


def test_a_line_that_is_lost_doubled_or_of_nobody_is_found() -> None:
    one = [asked(1)]
    assert judge.access_log(one, Lines(Counter({"soak-0-1": 1})), []) == []
    assert "more than once" in judge.access_log(one, Lines(Counter({"soak-0-1": 2})), [])[0]
    assert "no line" in judge.access_log(one, Lines(), [])[0]
    assert "nobody made" in judge.access_log(one, Lines(Counter({"soak-0-1": 1, "soak-0-2": 1})), [])[0]


def test_lines_that_a_full_disk_cost_have_to_be_counted() -> None:
    two = [asked(1), asked(2)]
    assert judge.access_log(two, Lines(dropped=2, notes=1), []) == []
    assert judge.access_log(two, Lines(dropped=1, notes=1), []) != []


def test_a_worker_killed_just_after_its_answer_may_not_have_logged_it() -> None:
    assert judge.access_log([asked(began=9.8)], Lines(), [KILL]) == []
    assert judge.access_log([asked(began=8.0)], Lines(), [KILL]) != []


def test_a_torn_line_without_a_writer_that_says_so_is_found() -> None:
    assert judge.access_log([], Lines(torn=1), []) != []
    assert judge.access_log([], Lines(torn=1, notes=1), []) == []


def test_a_whole_line_behind_the_half_of_another_is_read() -> None:
    found = read_access(b'{"time":"x","work{"time":"y","request":"soak-1-2"}\n{"time":"z","request":"other"}\n\n')
    assert (dict(found.requests), found.torn, found.mended) == ({"soak-1-2": 1}, 1, 1)


def test_dropped_lines_are_added_up() -> None:
    found = read_access(b'{"event":"dropped 3 lines: No space left"}\n{"event":"dropped 4 lines: x"}\n')
    assert (found.dropped, found.notes) == (7, 2)


def test_an_archive_counts_once_plain_and_compressed_and_also_when_it_is_given_up(tmp_path: Path) -> None:
    line = b'{"time":"x","request":"soak-0-1"}\n'
    gatherer, archive = Gatherer(tmp_path), tmp_path / "access.log.20260102T030405.123456Z"
    archive.write_bytes(line)
    gatherer.look()
    archive.with_name(archive.name + ".gz").write_bytes(gzip.compress(line))
    archive.unlink()
    gatherer.look()
    archive.with_name(archive.name + ".gz").unlink()
    (tmp_path / "access.log").write_bytes(b'{"time":"y","request":"soak-0-2"}\n')
    gatherer.look()
    assert gatherer.access().requests == Counter({"soak-0-1": 1, "soak-0-2": 1})


def test_a_rollout_without_an_outcome_is_found_unless_its_daemon_was_killed() -> None:
    begun = [{"event": "rollout", "rollout": "a"}, {"event": "rollout", "rollout": "b", "because": judge.CONVERGE}]
    done = [{"kind": "activated", "rollout": {"id": "a"}}]
    assert judge.rollouts(begun, done, 0) == ([], 1, 0)
    assert judge.rollouts(begun, [], 0)[0] != []
    assert judge.rollouts(begun, [], 1) == ([], 1, 1)


@pytest.mark.parametrize(("kind", "state", "right"), [("", "accepted", True), ("", "rejected", False)])
def test_a_verdict_has_to_fit_the_version(kind: str, state: str, right: bool) -> None:
    versions = {"v1": {"state": state, "verdict": None}}
    assert (judge.verdicts(versions, {"v1": kind}, set()) == []) is right
    assert (judge.verdicts(versions, {"v1": "garbage"}, set()) == []) is not right
    assert judge.verdicts(versions, {"v1": "slow"}, {"slow"}) == []


def test_growth_is_found_between_the_halves_of_a_time() -> None:
    mib = 1 << 20
    held = [Holding(float(i), "worker", 1, (80 if i < 10 else 120) * mib, 12) for i in range(20)]
    assert judge.growth("worker", medians(held, "worker", "rss_bytes", 0, 20)) != []
    assert judge.growth("worker", medians(held, "worker", "rss_bytes", 10, 20)) == []


def test_an_archive_that_went_by_its_age_is_found() -> None:
    step = {"action": "dropped", "path": "/log/access.log.1", "because": "older than 30d"}
    full = {**step, "because": "the disk is full: the oldest archive goes"}
    assert judge.by_age([{"kind": "rotated", "rotation": {"steps": [step]}}, {"kind": "sweep"}])
    assert not judge.by_age([{"kind": "rotated", "rotation": {"steps": [full]}}])
