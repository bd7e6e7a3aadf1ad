"""The pictures of the page, made from the figures alone. Pure."""

from __future__ import annotations

from typing import Any

from tests.bench import sums, svg
from tests.bench.kinds import KINDS, PICTURE, Results
from tests.bench.precision import SECTION, Precision
from tests.bench.tables import length
from tests.bench.timeline import timeline

TRACE_SECONDS = 4.0


def pictures(results: Results) -> dict[str, str]:
    """File name → SVG, of the sections that were measured, for each kind."""
    found = {}
    for kind, sections in results.items():
        for precision, name in SECTION.items():
            if name in sections and sums.drawn(sections[name]):
                found[PICTURE.format(name, kind)] = _serving(precision, KINDS[kind], sections[name])
        if "sharing" in sections:
            found[PICTURE.format("sharing", kind)] = _sharing(KINDS[kind], sections["sharing"])
        if "replacing" in sections:
            found[PICTURE.format("replacing", kind)] = _replacing(KINDS[kind], sections["replacing"])
    return found


def _serving(precision: Precision, kind: str, section: dict[str, Any]) -> str:
    """Seconds of audio transcribed a second: clips of all lengths on one scale."""
    cells = sums.drawn(section)
    series: dict[str, list[float | None]] = {}
    edges: dict[str, list[tuple[float, float] | None]] = {}
    for name, facts in section["systems"].items():
        if "missing" in facts or name == "pipeline":
            continue
        spreads = [sums.spread(rate) if (rate := sums.rate(cell, name)) else None for cell in cells]
        scales = [cell["clip_seconds"] for cell in cells]
        pairs = list(zip(spreads, scales, strict=True))
        series[facts["title"]] = [s.median * scale if s else None for s, scale in pairs]
        edges[facts["title"]] = [(s.low * scale, s.high * scale) if s else None for s, scale in pairs]
    groups = [f"clips of {length(cell['clip_seconds'])}" for cell in cells]
    title = f"Serving {sums.DRAWN_CLIENTS} clients, {precision}, {kind}"
    return svg.bars(title, "seconds of audio a second", groups, series, decimals=0, spread=edges)


def _sharing(kind: str, section: dict[str, Any]) -> str:
    """The load whose clips differ most, from when all clients have asked to a few seconds later."""
    what, found = list(section["loads"].items())[-1]
    runs = [(worker, asked, began, ended) for worker, asked, began, ended in found["trace"]]
    end = min(1.0 + TRACE_SECONDS, max(run[3] for run in runs))
    title = f"{section['slots']} workers, {section['clients']} clients, {what}, {kind}: every run"
    return timeline(title, runs, min(1.0, end / 2), end)


def _replacing(kind: str, section: dict[str, Any]) -> str:
    systems = [system for system in section["systems"].values() if "swaps" in system]
    longest = [max(sums.swaps(system, "longest_seconds"), default=0.0) for system in systems]
    series: dict[str, list[float | None]] = {
        "longest answer while replacing": [*longest],
        "99th percentile undisturbed": [system["steady"]["p99_seconds"] for system in systems],
    }
    groups = [
        f"{system['title']}" + (f" ({failed:.0f} failed)" if (failed := sum(sums.swaps(system, "failed"))) else "")
        for system in systems
    ]
    return svg.bars(f"Replacing the model under load, {kind}", "seconds", groups, series, decimals=2)
