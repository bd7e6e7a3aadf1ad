"""Keeps the figures and writes what is made of them: docs/benchmarks.json, docs/benchmarks.md and the pictures.

The figures are by kind of processor (`kinds`), then by section: a run replaces those of its own kind alone. The page
and the pictures are pure functions of the figures (`render`, `charts`); nothing else goes into them.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from tests.bench import charts, render
from tests.bench.kinds import PICTURE, Results, kind_of

FIGURES, PAGE, IMAGES = "benchmarks.json", "benchmarks.md", "images"


def load(docs: Path) -> Results:
    """Every kind's sections; {} when nothing was measured yet."""
    path = docs / FIGURES
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else {}


def put(results: Results, name: str, measured: dict[str, Any]) -> None:
    """A section that was measured, among those of its kind."""
    sections = results.setdefault(kind_of(measured["machine"]), {})
    sections[name] = merged(sections.get(name), measured)


def take(results: Results, others: Results) -> None:
    """The sections of another file, each in the place of that of the same kind and name."""
    for kind, sections in others.items():
        results.setdefault(kind, {}).update(sections)


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


def save(docs: Path, results: Results) -> None:
    docs.mkdir(parents=True, exist_ok=True)
    text = json.dumps(results, indent=1, ensure_ascii=False)
    (docs / FIGURES).write_text(_compact(text) + "\n", encoding="utf-8")


def _compact(text: str) -> str:
    """Lists and objects without any inside on one line each: the file is read in diffs. A string has no line break."""

    def joined(found: re.Match[str]) -> str:
        return re.sub(r"\n\s*", " ", found[0])

    return re.sub(r"\{[^{}\[\]]*(?:\[[^{}\[\]]*\][^{}\[\]]*)*\}", joined, re.sub(r"\[[\s\d.,eE+-]*\]", joined, text))


def write(docs: Path, results: Results) -> None:
    """The page and its pictures; pictures of earlier runs that have no section any more go."""
    (docs / IMAGES).mkdir(parents=True, exist_ok=True)
    (docs / PAGE).write_text(render.page(results), encoding="utf-8")
    for earlier in (docs / IMAGES).glob(PICTURE.format("*", "*")):
        earlier.unlink()
    for name, picture in charts.pictures(results).items():
        (docs / IMAGES / name).write_text(picture, encoding="utf-8")
