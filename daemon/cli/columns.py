"""The columns that a text takes in a terminal; texts that are cut, filled or broken at a column.

Pure. A Chinese character takes two columns, a combining sign none. Invariant: a text that is broken loses nothing but
spaces.
"""

from __future__ import annotations

import unicodedata


def width(text: str) -> int:
    """Columns a terminal needs: two for East Asian wide characters, none for combining ones."""
    if text.isascii():
        return len(text)
    return sum(_columns(character) for character in text)


def _columns(character: str) -> int:
    if unicodedata.combining(character) or unicodedata.category(character) in {"Mn", "Me", "Cf"}:
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def shorten(text: str, columns: int) -> str:
    """The text in at most `columns` columns, with an ellipsis when something was cut."""
    if width(text) <= columns:
        return text
    kept, used = "", 0
    for character in text:
        if used + _columns(character) > columns - 1:
            break
        kept, used = kept + character, used + _columns(character)
    return kept + "…"


def padded(text: str, columns: int) -> str:
    """The text with spaces behind it, up to a width."""
    return text + " " * (columns - width(text))


def broken(text: str, columns: int) -> list[str]:
    """Lines of at most so many columns. A word of letters stays whole where it fits into a line."""
    lines, line = list[str](), ""
    for piece in _pieces(text):
        if line and width(line) + width(piece) > columns:
            lines.append(line.rstrip())
            line = ""
        line += piece if line else piece.lstrip()
    return [*lines, line.rstrip()] if line.strip() else lines


def _pieces(text: str) -> list[str]:
    """Each wide character with the sign that follows it, and each run of others up to a space."""
    pieces: list[str] = []
    for character in text:
        joins = pieces and (
            character in "，。；：、！？）】」"
            or (character.isascii() and pieces[-1][-1].isascii() and pieces[-1][-1] != " ")
        )
        if joins:
            pieces[-1] += character
        else:
            pieces.append(character)
    return pieces
