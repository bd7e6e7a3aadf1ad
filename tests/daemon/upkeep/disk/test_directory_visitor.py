"""Directories that go as a whole: renamed away first, never while anything in them is used or wanted."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.daemon.upkeep.sweeping import (
    DAY,
    make,
    names,
    of,
    orders,
    run,
    spared,
)
from tests.faults import dies_in_a_child

from modelward.daemon.upkeep.disk import reasons
from modelward.daemon.upkeep.disk.quota import ClassRule, Margin
from modelward.daemon.upkeep.disk.remover import Budget


@pytest.fixture
def root(tmp_path: Path) -> Path:
    found = tmp_path / "versions"
    found.mkdir()
    return found


def rule(root: Path, **limits: object) -> ClassRule:
    given = {"max_age_seconds": DAY} | limits
    return ClassRule("versions", str(root), unit="directory", **given)  # type: ignore[arg-type]


def version(root: Path, name: str, *, age: float = 30 * DAY) -> Path:
    make(root / name / "model.onnx", 8192, age_seconds=age)
    make(root / name / "deep/tokens.txt", 100, age_seconds=age)
    return root / name


def there(root: Path) -> list[str]:
    return sorted(p.name for p in root.iterdir() if p.name != ".trash")


def test_a_whole_version_goes_and_its_neighbours_stay_whole(root: Path) -> None:
    version(root, "v1")
    version(root, "v2", age=0)
    outcome = run(orders([rule(root)]))
    assert there(root) == ["v2"]
    assert len(names(root / "v2")) == 2
    assert not list((root / ".trash").iterdir())
    assert of(outcome).removed["older than 1d"][0] == 1


def test_the_youngest_file_makes_the_age_of_a_version(root: Path) -> None:
    version(root, "v1")
    make(root / "v1/added-later", age_seconds=0)
    run(orders([rule(root)]))
    assert there(root) == ["v1"]


def test_what_is_live_serving_or_held_stays_and_says_so(root: Path) -> None:
    for name in ("v1", "v2", "v3"):
        version(root, name)
    wanted = {"v1": "live", "v2": "w0 serves it"}
    outcome = run(orders([rule(root, max_bytes=1)]), keep=lambda name: lambda unit: wanted.get(unit, ""))
    assert there(root) == ["v1", "v2"]
    assert {words: number for words, (number, _) in of(outcome).spared.items()} == {
        "kept: live": 1,
        "kept: w0 serves it": 1,
    }
    assert "kept by name" in of(outcome).shortfall


def test_who_may_stay_is_asked_again_right_before_the_removal(root: Path) -> None:
    for name in ("v1", "v2"):
        version(root, name)
    asked: list[str] = []

    def keep(unit: str) -> str:
        asked.append(unit)
        return "a swap to it began meanwhile" if asked.count(unit) > 1 else ""

    run(orders([rule(root)]), keep=lambda name: keep)
    assert there(root) == ["v1", "v2"]


def test_a_version_in_which_any_file_is_open_stays_whole(root: Path) -> None:
    version(root, "v1")
    with open(root / "v1/deep/tokens.txt"):
        outcome = run(orders([rule(root)]))
    assert len(names(root / "v1")) == 2
    assert spared(outcome, reasons.IN_USE) == 1


def test_versions_that_are_all_younger_than_the_minimum_age_stay(root: Path) -> None:
    for i in range(5):
        version(root, f"v{i}", age=60)
    run(orders([rule(root, max_bytes=1, max_files=1)]))
    assert len(there(root)) == 5


def test_a_link_among_versions_is_left_alone(root: Path) -> None:
    version(root, "v1", age=0)
    (root / "current").symlink_to("v1")
    run(orders([rule(root, max_files=1)]))
    assert (root / "current").is_symlink()


def test_a_crash_at_any_call_leaves_a_version_whole_or_in_the_trash_and_it_is_finished_later(root: Path) -> None:
    died, at = True, 0
    while died:
        at += 1
        version(root, "v1")
        died = dies_in_a_child(lambda files: run(orders([rule(root)]), files=files), at)  # type: ignore[arg-type,return-value]
        assert not (root / "v1").exists() or len(names(root / "v1")) == 2, f"torn by dying at call {at}"
        if (root / "v1").exists():
            run(orders([rule(root)]))
        else:
            run(orders([rule(root, max_age_seconds=0)]))
        assert there(root) == []
        assert not list((root / ".trash").iterdir()), f"trash left after dying at call {at}"
    assert at > 30


def test_a_big_version_may_take_several_sweeps_to_delete_and_is_out_of_sight_at_once(root: Path) -> None:
    for i in range(100):
        make(root / f"v1/d{i % 7}/{i}")
    outcome = run(orders([rule(root)], budget=Budget(files=30, bytes=0, seconds=0)))
    assert there(root) == []
    assert outcome.more
    for _ in range(5):
        outcome = run(orders([rule(root)], budget=Budget(files=30, bytes=0, seconds=0)))
    assert not outcome.more
    assert names(root / ".trash") == []


def test_a_trash_that_others_may_enter_is_not_used(root: Path) -> None:
    version(root, "v1")
    (root / ".trash").mkdir(mode=0o755)
    os.chmod(root / ".trash", 0o777)
    outcome = run(orders([rule(root)]))
    assert there(root) == ["v1"]
    assert ".trash" in of(outcome).note


def test_a_full_disk_takes_versions_that_nobody_needs(root: Path) -> None:
    for i in range(4):
        version(root, f"v{i}", age=(10 - i) * DAY)
    given = orders([rule(root, max_age_seconds=0)], min_free=Margin(fraction=1.0), target_free=Margin(fraction=1.0))
    run(given, keep=lambda name: lambda unit: "live" if unit == "v0" else "")
    assert there(root) == ["v0"]
