"""Bars in groups, as an SVG picture: one function, no library, the same bytes for the same numbers.

Decides sizes and places only; what is shown is the caller's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

COLOURS = ("#0b6e4f", "#c46a1b", "#3f6fb5", "#8c4a86", "#7a7a7a", "#b5a33f", "#b03a3a")
WIDTH, LEFT, RIGHT, BAR, GAP, GROUP_GAP = 760, 130, 90, 15, 2, 16


def bars(
    title: str,
    unit: str,
    groups: Sequence[str],
    series: Mapping[str, Sequence[float | None]],
    *,
    decimals: int = 1,
    spread: Mapping[str, Sequence[tuple[float, float] | None]] | None = None,
) -> str:
    """Horizontal bars: one group for each of `groups`, one bar for each of `series` in it; None is left out.

    `spread` gives the smallest and largest of what a bar is the median of: a thin line on it.
    """
    values = [value for row in series.values() for value in row if value is not None]
    ends = [pair[1] for row in (spread or {}).values() for pair in row if pair is not None]
    scale = (WIDTH - LEFT - RIGHT) / (max([*values, *ends], default=1.0) or 1.0)
    lines, y = legend(list(series))
    body = []
    for number, group in enumerate(groups):
        start = y
        for colour, (name, row) in zip(COLOURS, series.items(), strict=False):
            value = row[number]
            if value is None:
                continue
            end = LEFT + value * scale
            body.append(f'<rect x="{LEFT}" y="{y}" width="{max(end - LEFT, 0.5):.1f}" height="{BAR}" fill="{colour}"/>')
            pair = (spread or {}).get(name, [None] * len(groups))[number]
            if pair is not None:
                low, high = (LEFT + edge * scale for edge in pair)
                middle = y + BAR / 2
                body.append(f'<path d="M{low:.1f} {middle}H{high:.1f}" stroke="#222" stroke-width="1.5"/>')
                end = max(end, high)
            body.append(f'<text x="{end + 5:.1f}" y="{y + BAR - 3}">{value:.{decimals}f}</text>')
            y += BAR + GAP
        body.append(f'<text x="{LEFT - 8}" y="{(start + y) / 2 + 3:.1f}" text-anchor="end">{escape(group)}</text>')
        y += GROUP_GAP
    return sheet(title, y, [f'<text x="{WIDTH - 12}" y="22" text-anchor="end">{escape(unit)}</text>', *lines, *body])


def sheet(title: str, height: int, parts: Sequence[str]) -> str:
    """A white picture of WIDTH by `height` with its title and these parts."""
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        'font-family="sans-serif" font-size="12" fill="#222">',
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
        f'<text x="12" y="22" font-size="15" font-weight="bold">{escape(title)}</text>',
    )
    return "\n".join([*head, *parts, "</svg>", ""])


def legend(names: Sequence[str]) -> tuple[list[str], int]:
    """The legend's lines, in as many rows as it needs, and where the bars begin."""
    out, x, y = [], 12.0, 36
    for colour, name in zip(COLOURS, names, strict=False):
        wide = 30 + 6.1 * len(name)
        if x + wide > WIDTH:
            x, y = 12.0, y + 18
        out.append(f'<rect x="{x:.0f}" y="{y}" width="11" height="11" fill="{colour}"/>')
        out.append(f'<text x="{x + 15:.0f}" y="{y + 10}" font-size="11">{escape(name)}</text>')
        x += wide
    return out, y + 28
