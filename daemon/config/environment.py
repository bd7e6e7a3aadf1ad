"""Reads keys of the configuration from variables of the environment: MODELWARD_WORKERS__COUNT=2 is `workers.count`.

Pure: variables and the content of secret files in, tables out, as a file would give them. Values are not checked here:
the checks of the schema do that for every source. Invariant: a variable that looks like a key is used or is a mistake.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, Final, NamedTuple, get_args, get_origin

from .messages import dotted, keys_of, submodel
from .schema import Config
from .schema_base import ConfigTable, FieldInfo, Location
from .validators import nearest

PREFIX: Final = "MODELWARD_"
DEFAULTS: Final = "MODELWARD_DEFAULTS"
"""Names a file whose values count as the defaults, as an image brings one."""
ORIGIN: Final = "the environment"
MAX_CHARS: Final = 64 * 1024
MAX_LINE_CHARS: Final = 16 * 1024  # tomllib reads a dotted key in the square of its length
SECRETS: Final = frozenset(
    {
        ("alerts", "to"),
        ("alerts", "route", "critical"),
        ("alerts", "route", "warning"),
        ("alerts", "webhook"),
        ("alerts", "heartbeat"),
    }
)
"""Keys that a variable may give as the path of a file, by _FILE at its end. Tokens are paths already."""
_FILE: Final = "_FILE"
_NUMBER: Final = re.compile(r"[+-]?\d{1,30}(\.\d{1,30})?", re.ASCII)
_TABLES: Final = "write a list of tables in TOML or JSON; docs/configuration.md has an example"


class FromEnvironment(NamedTuple):
    """`tables` as a file would give them, `variables` the name behind each place, and one line for each mistake."""

    tables: dict[str, Any]
    variables: dict[Location, str]
    mistakes: tuple[str, ...]

    def behind(self, place: Location) -> tuple[Location, str]:
        """The key that holds a place, and its variable; ((), "") when another source gave it."""
        for end in range(len(place), 0, -1):
            if name := self.variables.get(place[:end], ""):
                return place[:end], name
        return (), ""

    def keys(self) -> list[str]:
        """The keys that have their values from here."""
        return [dotted(place) for place in self.variables]


NONE: Final = FromEnvironment({}, {}, ())


@cache
def variables() -> dict[str, tuple[Location, FieldInfo]]:
    """Every key of the schema by its variable."""
    return {_variable(place): (place, field) for place, field in _fields(Config, ())}


def secret_files(environ: Mapping[str, str]) -> dict[str, str]:
    """The paths of files that hold values, by the variables that name them."""
    names = {_variable(place) + _FILE for place in SECRETS}
    return {name: environ[name] for name in sorted(names & environ.keys()) if environ[name]}


def keys(environ: Mapping[str, str]) -> list[str]:
    """The keys that the environment gives, dotted; what is in secret files is not needed for that."""
    return read(environ, dict.fromkeys(secret_files(environ), "")).keys()


def read(environ: Mapping[str, str], contents: Mapping[str, str]) -> FromEnvironment:
    """All keys that the environment gives. `contents` has the text of each of `secret_files`."""
    tables: dict[str, Any] = {}
    found: dict[Location, str] = {}
    mistakes: list[str] = []
    for name in sorted(filter(_is_meant, environ)):
        key = name.removesuffix(_FILE) if name in contents else name
        known = variables().get(key)
        if known is None:
            if not (name.endswith(_FILE) and not environ[name] and _secret(name)):
                mistakes.append(f"{_shown(name)}: {_unknown(name)}")
            continue
        place, field = known
        if place in found:
            mistakes.append(f"{name}: is given beside {found[place]}; one of them")
            continue
        try:
            value = _value(field, contents[name], lines=True) if name in contents else _value(field, environ[name])
        except ValueError as e:
            mistakes.append(f"{name}: {e}")
            continue
        found[place] = name
        _put(tables, place, value)
    return FromEnvironment(tables, found, tuple(mistakes))


def over(upper: Mapping[str, Any], lower: Mapping[str, Any]) -> dict[str, Any]:
    """Both tables in one: what `upper` has counts. A list counts as a whole; what is no table where one belongs
    stays, because it is a mistake of its own.
    """
    merged = dict(lower)
    for key, value in upper.items():
        if isinstance(value, dict) and key in merged:
            below = merged[key]
            merged[key] = over(value, below) if isinstance(below, dict) else below
        else:
            merged[key] = value
    return merged


def _fields(model: type[ConfigTable], place: Location) -> Iterator[tuple[Location, FieldInfo]]:
    for name, field in model.model_fields.items():
        key = field.alias or name
        if isinstance(field.annotation, type) and issubclass(field.annotation, ConfigTable):
            yield from _fields(field.annotation, (*place, key))
        else:
            yield (*place, key), field


def _variable(place: Location) -> str:
    return PREFIX + "__".join(str(part).upper() for part in place)


@cache
def _single() -> dict[str, str]:
    """The variables with one underscore where two belong, which is easily written."""
    return {name.replace("__", "_"): name for name in variables()}


def _is_meant(name: str) -> bool:
    return name.startswith(PREFIX) and ("__" in name[len(PREFIX) :] or name in _single())


def _secret(name: str) -> bool:
    known = variables().get(name.removesuffix(_FILE))
    return known is not None and known[0] in SECRETS


def _unknown(name: str) -> str:
    if name in _single():
        return f"no such key; did you mean {_single()[name]}?"
    path = [part.lower() for part in name.removeprefix(PREFIX).split("__")]
    model: type[ConfigTable] | None = Config
    for part in path:
        model = submodel(model, part) if model is not None else None
    if model is not None:
        return f"is a table; a variable for each key, like {name}__{keys_of(model)[0].upper()}"
    if name.endswith(_FILE) and name.removesuffix(_FILE) in variables():
        secrets = ", ".join(sorted(_variable(place) + _FILE for place in SECRETS))
        return f"only what may be secret is read from a file: {secrets}"
    near = nearest(name.removeprefix(PREFIX).upper(), (each.removeprefix(PREFIX) for each in variables()))
    return f"no such key; did you mean {PREFIX}{near}?" if near else f"no such key; {PREFIX}<TABLE>__<KEY>"


def _shown(name: str) -> str:
    safe = name if name.isprintable() else ascii(name)[1:-1]
    return safe if len(safe) <= 100 else safe[:97] + "…"


def _value(field: FieldInfo, text: str, *, lines: bool = False) -> object:
    """What a file would hold in place of this text. Raises ValueError, which does not repeat it."""
    if len(text) > MAX_CHARS:
        raise ValueError(f"is too long; at most {MAX_CHARS} characters")
    annotation = field.annotation
    if get_origin(annotation) is tuple:
        return _list(get_args(annotation)[0], text, lines=lines)
    if lines:
        text = text.strip()
    if annotation is bool:
        return {"true": True, "false": False}.get(text.strip().lower(), text)
    if {int, float} & {annotation, *get_args(annotation)}:
        return _number(text.strip())
    return text


def _number(text: str) -> object:
    if not _NUMBER.fullmatch(text):
        return text
    return float(text) if "." in text else int(text)


def _list(entry: object, text: str, *, lines: bool) -> list[Any]:
    """`[...]` as TOML or JSON; else texts, separated by commas, in a file one on each line."""
    text = text.strip()
    if text.startswith("["):
        return _structured(text)
    if isinstance(entry, type) and issubclass(entry, ConfigTable) and text:
        raise ValueError(f"is no list; {_TABLES}")
    parts = [line for line in text.splitlines() if not line.startswith("#")] if lines else text.split(",")
    return [part.strip() for part in parts if part.strip()]


def _structured(text: str) -> list[Any]:
    if any(len(line) > MAX_LINE_CHARS for line in text.splitlines()):
        raise ValueError(f"a line is too long; at most {MAX_LINE_CHARS} characters")
    for parse in (_toml, json.loads):
        try:
            value = parse(text)
        except (ValueError, RecursionError):
            continue
        if isinstance(value, list):
            return value
    raise ValueError('is a list neither in TOML nor in JSON; like ["a", "b"]')


def _toml(text: str) -> object:
    tables = tomllib.loads("value=" + text)
    return tables["value"] if len(tables) == 1 else None


def _put(tables: dict[str, Any], place: Location, value: object) -> None:
    for part in place[:-1]:
        tables = tables.setdefault(str(part), {})
    tables[str(place[-1])] = value
