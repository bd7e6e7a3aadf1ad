"""The pages that name tests, of faults and of reports that were tried, name those that exist, and no line lacks one."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FAULTS = re.compile(r"\| \d+ \|")
REPORTS = re.compile(r"\| .*::")


def rows(page: str, line_begins: re.Pattern[str]) -> list[list[str]]:
    return [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in (ROOT / page).read_text(encoding="utf-8").splitlines()
        if line_begins.match(line)
    ]


@cache
def named_in(path: Path) -> set[str]:
    found = ast.parse(path.read_text(encoding="utf-8")).body
    return {entry.name for entry in found if isinstance(entry, ast.FunctionDef | ast.AsyncFunctionDef)}


@pytest.mark.parametrize(
    ("page", "line_begins", "below"), [("docs/faults.md", FAULTS, ""), ("docs/clients.md", REPORTS, "tests/")]
)
def test_every_test_that_is_named_exists(page: str, line_begins: re.Pattern[str], below: str) -> None:
    for row in rows(page, line_begins):
        nodes = re.findall(r"`([^`]+)`", row[-1])
        assert nodes, row
        for node in nodes:
            file, _, name = (below + node).partition("::")
            assert (ROOT / file).is_file() and name in named_in(ROOT / file), (row, node)


def test_every_fault_has_its_number_its_promise_and_a_test() -> None:
    faults = rows("docs/faults.md", FAULTS)
    assert [row[0] for row in faults] == [str(number) for number in range(1, len(faults) + 1)]
    for number, fault, promise, kept in faults:
        assert fault and promise
        assert "::" in kept, (number, fault)


def test_every_report_that_was_tried_has_what_happens_and_a_test() -> None:
    tables = (ROOT / "docs/clients.md").read_text(encoding="utf-8").partition("## Tried and kept")[2]
    lines = [line for line in tables.splitlines() if line.startswith("| ") and not line.startswith("| report |")]
    assert len(lines) == len(rows("docs/clients.md", REPORTS)) > 50
    assert all(len(row) == 3 and all(row) for row in rows("docs/clients.md", REPORTS))
