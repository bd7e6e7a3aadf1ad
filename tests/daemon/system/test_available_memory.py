"""How much memory is left, by the machine's figures and by those of the groups above us."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.daemon.groups import tree

from modelward.daemon.system.available_memory import available_bytes, capacity, whole_bytes

BOTH = pytest.mark.parametrize("first", [True, False], ids=["version 1", "version 2"])


@BOTH
def test_without_a_limit_the_machine_decides(tmp_path: Path, first: bool) -> None:
    t = tree(tmp_path, first=first, kib=1000)
    assert available_bytes(t.proc, t.root) == 1000 * 1024
    assert whole_bytes(t.proc, t.root) == 2000 * 1024


@BOTH
def test_the_tightest_group_above_us_decides(tmp_path: Path, first: bool) -> None:
    t = tree(tmp_path, first=first, ours="/system.slice/modelward.service")
    t.memory("/system.slice", 5000, 1000)
    t.memory("/system.slice/modelward.service", None, 900)
    assert available_bytes(t.proc, t.root) == 4000
    assert whole_bytes(t.proc, t.root) == 5000


def test_an_unreadable_machine_gives_no_figure(tmp_path: Path) -> None:
    assert available_bytes(tmp_path / "nowhere", tmp_path) is None


def test_this_machine_has_some() -> None:
    assert (available_bytes() or 0) > 1 << 20
    assert capacity().processors >= 1
    assert (capacity().memory_bytes or 0) >= (available_bytes() or 0)
