"""Puts made text between its marks in a page that people write: `<!-- made: NAME -->` and `<!-- end: NAME -->`."""

from __future__ import annotations

import re
from collections.abc import Mapping


def filled(page: str, made: Mapping[str, str]) -> str:
    """The page with each made part in its place. Raises ValueError when a part has no place, or a place no part."""
    places = re.findall(r"<!-- made: ([a-z-]+) -->", page)
    if sorted(places) != sorted(made):
        raise ValueError(f"places {sorted(places)}, parts {sorted(made)}")
    for name, text in made.items():
        between = re.compile(rf"(<!-- made: {name} -->\n).*?(<!-- end: {name} -->)", re.DOTALL)
        page, count = between.subn(lambda m, text=text: m[1] + text + m[2], page)  # type: ignore[misc]
        if count != 1:
            raise ValueError(f"{name} has no end")
    return page
