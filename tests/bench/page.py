"""Keeps the figures and writes what is made of them: docs/benchmarks.json, docs/benchmarks.md and the pictures.

The page and the pictures are pure functions of the figures (`render`, `charts`); nothing else goes into them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.bench import charts, render

FIGURES, PAGE, IMAGES = "benchmarks.json", "benchmarks.md", "images"


def load(docs: Path) -> dict[str, Any]:
    """Every section's figures; {} when nothing was measured yet."""
    path = docs / FIGURES
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else {}


def merged(before: dict[str, Any] | None, measured: dict[str, Any]) -> dict[str, Any]:
    """`measured` over `before`: parts that can be measured one at a time stay when only others were measured.

    Those are the cells of a list under "cells" (by clip length and clients) and the entries of "systems".
    """
    if before is None or _covers(measured, before):
        return measured
    together = {**before, **measured, "runs": [*before.get("runs", []), *measured["runs"]]}
    if "cells" in measured:
        cells = {_key(cell): cell for cell in (*before.get("cells", []), *measured["cells"])}
        together["cells"] = [cells[key] for key in sorted(cells)]
    if "systems" in measured:
        together["systems"] = {**before.get("systems", {}), **measured["systems"]}
    return together


def _covers(measured: dict[str, Any], before: dict[str, Any]) -> bool:
    """Whether nothing of `before` would stay."""
    cells = {_key(cell) for cell in before.get("cells", [])} <= {_key(cell) for cell in measured.get("cells", [])}
    return cells and before.get("systems", {}).keys() <= measured.get("systems", {}).keys()


def _key(cell: dict[str, Any]) -> tuple[float, int]:
    return cell["clip_seconds"], cell["clients"]


def save(docs: Path, results: dict[str, Any]) -> None:
    docs.mkdir(parents=True, exist_ok=True)
    text = json.dumps(results, indent=1, ensure_ascii=False)
    (docs / FIGURES).write_text(_compact(text) + "\n", encoding="utf-8")


def _compact(text: str) -> str:
    """Lists of numbers on one line each: the file is looked at in diffs."""
    import re

    return re.sub(r"\[[\s\d.,eE+-]*\]", lambda found: " ".join(found[0].split()), text)


def write(docs: Path, results: dict[str, Any]) -> None:
    (docs / IMAGES).mkdir(parents=True, exist_ok=True)
    (docs / PAGE).write_text(render.page(results), encoding="utf-8")
    for name, picture in charts.pictures(results).items():
        (docs / IMAGES / name).write_text(picture, encoding="utf-8")
