"""A trace as an SVG picture: a row of bars for each worker, and below them how many requests waited. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from tests.bench.svg import COLOURS, LEFT, WIDTH

Run = tuple[str, float, float, float]  # the worker; when the run was asked for, began and ended, seconds

RIGHT, TOP, ROW, BAR, HIGH = 20, 40, 30, 22, 12


def timeline(title: str, runs: Sequence[Run], begin: float, end: float) -> str:
    """The time from `begin` to `end`."""
    scale = (WIDTH - LEFT - RIGHT) / (end - begin)

    def x(at: float) -> float:
        return LEFT + (min(max(at, begin), end) - begin) * scale

    body, y = [], TOP
    for colour, worker in zip(COLOURS, sorted({run[0] for run in runs}), strict=False):
        body.append(f'<text x="{LEFT - 8}" y="{y + BAR - 6}" text-anchor="end">{escape(worker)} runs</text>')
        for _, _, began, ended in (run for run in runs if run[0] == worker and run[3] > begin and run[2] < end):
            wide = max(x(ended) - x(began) - 1, 0.5)  # one pixel of paper between two runs
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
        body.append(f'<path d="M{x(second):.1f} {TOP - 4}V{bottom + 4}" stroke="#222" stroke-width="0.5"/>')
        body.append(f'<text x="{x(second):.1f}" y="{bottom + 17}" text-anchor="middle">{second} s</text>')
    height = bottom + 26
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        'font-family="sans-serif" font-size="12" fill="#222">',
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
        f'<text x="12" y="22" font-size="15" font-weight="bold">{escape(title)}</text>',
    )
    return "\n".join([*head, *body, "</svg>", ""])


def _waiting(runs: Sequence[Run]) -> list[tuple[float, int]]:
    """(moment, how many were asked for and had not begun from then on)."""
    changes = sorted([(asked, 1) for _, asked, _, _ in runs] + [(began, -1) for _, _, began, _ in runs])
    steps, number = [], 0
    for at, change in changes:
        number += change
        steps.append((at, number))
    return steps
