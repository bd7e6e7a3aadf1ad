"""A trace as an SVG picture: the runs, a row for each that there were at once, and below them who waited. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from tests.bench import svg
from tests.bench.svg import COLOURS, LEFT, WIDTH

Run = tuple[str, float, float, float]  # the worker; when the run was asked for, began and ended, seconds

RIGHT, ROW, BAR, HIGH = 20, 30, 22, 12


def timeline(title: str, runs: Sequence[Run], begin: float, end: float) -> str:
    """The time from `begin` to `end`, a colour for each worker: one may run what another leaves room for."""
    scale = (WIDTH - LEFT - RIGHT) / (end - begin)

    def x(at: float) -> float:
        return LEFT + (min(max(at, begin), end) - begin) * scale

    names, rows = sorted({run[0] for run in runs}), _rows(runs)
    legend, y = svg.legend([f"runs of {name}" for name in names])
    top, body = y, []
    for number, row in enumerate(rows, 1):
        body.append(f'<text x="{LEFT - 8}" y="{y + BAR - 6}" text-anchor="end">at once: {number}</text>')
        for worker, _, began, ended in (run for run in row if run[3] > begin and run[2] < end):
            wide = max(x(ended) - x(began) - 1, 0.5)  # one pixel of paper between two runs
            colour = COLOURS[names.index(worker) % len(COLOURS)]
            body.append(f'<rect x="{x(began):.1f}" y="{y}" width="{wide:.1f}" height="{BAR}" fill="{colour}"/>')
        y += ROW
    steps = _waiting(runs)
    most = max((number for _, number in steps), default=0)
    bottom = y + HIGH * most
    path = [f"M{x(begin):.1f} {bottom}"]
    for at, number in steps:
        if at <= end:
            path.append(f"H{x(at):.1f}V{bottom - HIGH * number}")
    body.append(f'<path d="{"".join(path)}H{x(end):.1f}V{bottom}Z" fill="#c9c9c9"/>')
    body.append(f'<text x="{LEFT - 8}" y="{bottom - 2}" text-anchor="end">waiting, up to {most}</text>')
    second = int(begin)
    while (second := second + 1) <= end:
        body.append(f'<path d="M{x(second):.1f} {top - 4}V{bottom + 4}" stroke="#222" stroke-width="0.5"/>')
        body.append(f'<text x="{x(second):.1f}" y="{bottom + 17}" text-anchor="middle">{second} s</text>')
    return svg.sheet(title, bottom + 26, [*legend, *body])


def _rows(runs: Sequence[Run]) -> list[list[Run]]:
    """Each run in the first row that has nothing in progress when it begins."""
    rows: list[list[Run]] = []
    for run in sorted(runs, key=lambda run: run[2]):
        for row in rows:
            if row[-1][3] <= run[2]:
                row.append(run)
                break
        else:
            rows.append([run])
    return rows


def _waiting(runs: Sequence[Run]) -> list[tuple[float, int]]:
    """(moment, how many were asked for and had not begun from then on)."""
    changes = sorted([(asked, 1) for _, asked, _, _ in runs] + [(began, -1) for _, _, began, _ in runs])
    steps, number = [], 0
    for at, change in changes:
        number += change
        steps.append((at, number))
    return steps
