"""The table of pieces with which a model writes: read from `tokens.json` or `tokens.txt`, and the meaning of each
piece.

Reading is strict: a table with a gap or a double id would silently give wrong text, so it is refused. Separators are
ASCII only, because some pieces are Unicode spaces or line separators themselves.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Final

from msgspec import Struct

MAX_BYTES: Final = 16 << 20
_SPACE: Final = "\u2581"  # sentencepiece's mark for a space before a word
_TAG: Final = re.compile(r"<\|(.*)\|>", re.DOTALL)
_BYTE: Final = re.compile(r"<0x([0-9A-Fa-f]{2})>")
_CONTROL: Final = frozenset({"<unk>", "<s>", "</s>", "<pad>", "<blk>", "<blank>"})


class BadTokenTable(ValueError):
    """A token table that cannot be used; the text names the file and the cause."""


class Vocabulary(Struct, frozen=True):
    """Pieces by id. Built once for each model, then only read."""

    pieces: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.pieces)

    def tag(self, token: int) -> str:
        """The name in a tag piece: "zh" for `<|zh|>`; "" for any other piece."""
        match = _TAG.fullmatch(self.pieces[token])
        return match[1] if match else ""

    def byte(self, token: int) -> int | None:
        """The value of a byte piece: 0xE4 for `<0xE4>`; None for any other piece."""
        match = _BYTE.fullmatch(self.pieces[token])
        return int(match[1], 16) if match else None

    def text(self, token: int) -> str:
        """The text of a piece: "" for tags and control pieces, U+2581 as a space."""
        piece = self.pieces[token]
        if piece in _CONTROL or _TAG.fullmatch(piece):
            return ""
        return piece.replace(_SPACE, " ")


def read(path: Path) -> Vocabulary:
    """The table in a `.json` file (array, position = id) or a `.txt` file (`piece id` in each line). Raises
    BadTokenTable.
    """
    try:
        with path.open("rb") as f:
            data = f.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise BadTokenTable(f"cannot read {path.name}: larger than {MAX_BYTES} bytes")
        text = data.decode("utf-8-sig")
        pieces = _from_json(text) if path.suffix == ".json" else _from_lines(text)
    except BadTokenTable:
        raise
    except (OSError, UnicodeDecodeError, ValueError, RecursionError) as e:
        cause = e.strerror if isinstance(e, OSError) else str(e)
        raise BadTokenTable(f"cannot read {path.name}: {cause}") from e
    if not pieces:
        raise BadTokenTable(f"cannot read {path.name}: it holds no tokens")
    return Vocabulary(pieces)


def _from_json(text: str) -> tuple[str, ...]:
    value = json.loads(text)
    if not isinstance(value, list):
        raise ValueError(f"expected an array of texts, found {type(value).__name__}")
    for position, piece in enumerate(value):
        if not isinstance(piece, str):
            raise ValueError(f"entry {position} is {type(piece).__name__}, expected text")
        piece.encode()  # a half of a surrogate pair could never be sent to a client
    return tuple(value)


def _from_lines(text: str) -> tuple[str, ...]:
    table: dict[int, str] = {}
    for number, raw in enumerate(text.split("\n"), start=1):
        line = raw.rstrip("\r")
        if not line.strip(" \t"):
            continue
        piece, token = _split(line, number)
        if token in table:
            raise ValueError(f"line {number}: id {token} appears twice")
        table[token] = piece
    missing = next((token for token in range(len(table)) if token not in table), None)
    if missing is not None:
        raise ValueError(f"id {missing} is missing among {len(table)} tokens")
    return tuple(table[token] for token in range(len(table)))


def _split(line: str, number: int) -> tuple[str, int]:
    """`piece id`, cut at the last ASCII blank; a line with only a number is the piece of one space."""
    stripped = line.rstrip(" \t")
    cut = max(stripped.rfind(" "), stripped.rfind("\t"))
    piece, digits = stripped[: max(cut, 0)].strip(" \t"), stripped[cut + 1 :]
    if not (digits.isascii() and digits.isdigit() and len(digits) < 10):
        raise ValueError(f"line {number} ends in {digits[:40]!r}, expected an id")
    return piece or " ", int(digits)
