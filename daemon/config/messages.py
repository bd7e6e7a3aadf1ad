"""Makes lines for the operator from the mistakes in a configuration: the key, what is wrong, what
would be right.

Pure. A key is dotted and has list indexes: `monitor.alert[0].above`. No line repeats a value that may be secret.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from ..units import describe
from .schema import Config
from .schema_base import (
    ConfigTable,
    Found,
    Location,
    Mistaken,
)
from .validators import nearest

_TABLE_TWICE: Final = re.compile(r"Cannot declare \((.*)\) twice")
_QUOTED: Final = re.compile(r"'([^']*)'")
_EXPECTED: Final = {
    "list": "a list, in [ ]",
    "table": "a table",
    "switch": "true or false",
    "missing": "this key has no default here",
}


def in_words(error: Mistaken) -> dict[Location, str]:
    """One line for each mistake, in the order of their places."""
    return {found.place: f"{dotted(found.place)}: {_sentence(found)}" for found in error.found}


def dotted(place: Location) -> str:
    """("monitor", "alert", 0, "above") -> "monitor.alert[0].above"."""
    text = ""
    for part in place:
        text += f"[{part}]" if isinstance(part, int) else f".{printable(part)}" if text else printable(part)
    return text


def printable(key: str) -> str:
    """A key from the file, shortened and safe for a terminal."""
    safe = key if key.isprintable() else ascii(key)[1:-1]
    return safe if len(safe) <= 60 else safe[:57] + "…"


def no_toml(said: str, lines: int) -> str:
    """A file that is no TOML: what the parser found, and what helps where it has something twice."""
    end = f"at the end, line {lines}"
    said = said.replace("at end of document", end)
    place = said[said.rindex("(") :] if said.endswith(")") else ""
    if table := _TABLE_TWICE.match(said):
        name = ".".join(_QUOTED.findall(table[1]))
        return f"the file: the table [{printable(name)}] is there twice {place}; write its keys into the first one"
    if said.startswith("Cannot overwrite a value"):
        return f"the file: a key is there twice {place}; keep one of them"
    return f"the file: no TOML: {said}"


def _sentence(found: Found) -> str:
    kind, place, value = found.kind, found.place, found.value
    if kind == "value":
        return found.sentence
    if kind == "unknown":
        return unknown_key(str(place[-1]), _keys_at(place[:-1]))
    if kind == "choice":
        choices = _choices(place)
        near = nearest(str(value), choices)
        meant = f"; did you mean {describe(near)}?" if near else ""
        return f"{describe(value)} is none of the choices; {', '.join(map(describe, choices))}{meant}"
    if kind == "missing":
        return f"is missing; {_EXPECTED[kind]}"
    shown = "this" if place[:1] == ("alerts",) else describe(value)
    return f"{shown} cannot stand here; {_EXPECTED.get(kind, 'a value of another kind')}"


def unknown_key(key: str, known: Iterable[str]) -> str:
    """The message about a key that does not exist, with the nearest one that does."""
    choices = list(known)
    near = nearest(key.lower(), choices)
    if near:
        return f"no such key; did you mean {describe(near)}?"
    return f"no such key; the keys here are {', '.join(choices)}"


def _model_at(place: Location) -> type[ConfigTable] | None:
    """The model that describes the table at a place; None for what is no table."""
    model: type[ConfigTable] | None = Config
    for part in place:
        if isinstance(part, str):
            model = submodel(model, part) if model else None
    return model


def submodel(model: type[ConfigTable], key: str) -> type[ConfigTable] | None:
    """The model behind a key: of the table itself, or of each entry of a list of tables."""
    for name, field in model.model_fields.items():
        if (field.alias or name) == key:
            for candidate in (field.annotation, *getattr(field.annotation, "__args__", ())):
                if isinstance(candidate, type) and issubclass(candidate, ConfigTable):
                    return candidate
    return None


def keys_of(model: type[ConfigTable]) -> list[str]:
    """The keys of a table as they are written in the file."""
    return [field.alias or name for name, field in model.model_fields.items()]


def _keys_at(place: Location) -> list[str]:
    model = _model_at(place)
    return keys_of(model) if model else []


def _choices(place: Location) -> list[str]:
    model = _model_at(place[:-1])
    field = model.model_fields.get(str(place[-1])) if model else None
    return [str(choice) for choice in getattr(field.annotation, "__args__", ())] if field else []
