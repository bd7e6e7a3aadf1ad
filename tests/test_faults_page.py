"""The page of faults names tests that exist, and leaves no line without one."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in (ROOT / "docs/faults.md").read_text(encoding="utf-8").splitlines()
    if re.match(r"\| \d+ \|", line)
]


@cache
def named_in(path: Path) -> set[str]:
    found = ast.parse(path.read_text(encoding="utf-8")).body
    return {entry.name for entry in found if isinstance(entry, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_every_test_that_is_named_exists() -> None:
    for _, fault, _, kept in ROWS:
        for node in re.findall(r"`([^`]+)`", kept):
            file, _, name = node.partition("::")
            assert (ROOT / file).is_file() and name in named_in(ROOT / file), (fault, node)


def test_every_fault_has_its_number_its_promise_and_a_test() -> None:
    assert [row[0] for row in ROWS] == [str(number) for number in range(1, len(ROWS) + 1)]
    for number, fault, promise, kept in ROWS:
        assert fault and promise
        assert "::" in kept, (number, fault)
