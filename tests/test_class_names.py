"""A class is named once in the whole tree: a reader who searches for it finds it."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[1]
CLASS = re.compile(r"^ *class (\w+)[(:\[]", re.MULTILINE)


def test_no_class_name_stands_twice() -> None:
    found: dict[str, list[str]] = defaultdict(list)
    for top in ("daemon", "worker"):
        for path in sorted((ROOT / top).rglob("*.py")):
            for name in CLASS.findall(path.read_text(encoding="utf-8")):
                found[name].append(path.relative_to(ROOT).as_posix())
    assert len(found) > 300
    assert {name: files for name, files in found.items() if len(files) > 1} == {}
