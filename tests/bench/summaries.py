"""The tables that put the kinds of processors side by side, one column or row for each. Pure."""

from __future__ import annotations

from typing import Any

from tests.bench import sums
from tests.bench.tables import length, table

Measured = dict[str, dict[str, Any]]
"""By the words of the kind: the figures of one section."""


def factors(measured: Measured) -> str:
    """Clips a second against the best other, cell by cell."""
    cells: dict[tuple[float, int], dict[str, str]] = {}
    for kind, section in measured.items():
        for cell in section["cells"]:
            best, factor = sums.best_other(cell), sums.against_best(cell)
            if factor is not None:
                key = (cell["clip_seconds"], cell["clients"])
                cells.setdefault(key, {})[kind] = f"{factor.text()}, {section['systems'][best]['title']}"
    rows = [
        (length(seconds), str(clients), *(found.get(kind, "–") for kind in measured))
        for (seconds, clients), found in sorted(cells.items())
    ]
    text = "Clips a second, modelward times the best other server, and which that is:\n\n"
    return text + table(("clips", "clients", *measured), rows) + _cpu(measured)


def _cpu(measured: Measured) -> str:
    """What holds on a busy machine too."""
    lengths = sorted({cell["clip_seconds"] for section in measured.values() for cell in section["cells"]})
    rows = []
    for seconds in lengths:
        row = [length(seconds)]
        for section in measured.values():
            cells = [cell for cell in section["cells"] if cell["clip_seconds"] == seconds]
            found = [share for cell in cells if (share := sums.cpu_against_least(cell)) is not None]
            row.append(sums.spread(found).text() if found else "–")
        rows.append(row)
    return "\nCPU time a clip, the least of another server over modelward's:\n\n" + table(("clips", *measured), rows)


def swaps(measured: Measured) -> str:
    """Of modelward alone."""
    rows = []
    for kind, section in measured.items():
        ours = section["systems"].get(sums.OURS, {})
        if "swaps" not in ours:
            continue
        failed, requests = sum(sums.swaps(ours, "failed")), sum(sums.swaps(ours, "requests"))
        firsts, lasts = (sums.swaps(ours, f"{which}_seconds") for which in ("first", "last"))
        rows.append(
            (
                kind,
                *(sums.spread(values).text() if values else "never" for values in (firsts, lasts)),
                f"{failed:.0f} of {requests:.0f}",
                sums.spread(sums.swaps(ours, "longest_seconds")).text(3),
                f"{sums.stall(ours):.2f}",
            )
        )
    head = ("modelward", "first new answer, s", "last, s", "failed", "longest answer, s", "longest / steady p99")
    return table(head, rows)


def idle(measured: Measured) -> str:
    """Memory, CPU time and wake-ups of each supervisor on each kind."""
    rows = []
    for kind, section in measured.items():
        for system in section["systems"].values():
            if "rss" in system:
                figures = (f"{system['rss'] * 2**20 / 1e6:.1f}", f"{system['cpu_ms_per_minute']:.1f}")
                rows.append((kind, system["title"], *figures, f"{system['switches_per_second']:.2f}"))
    return table(("processor", "supervisor", "RSS, MB", "CPU, ms a minute", "wake-ups a second"), rows)
