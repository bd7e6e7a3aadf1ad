"""The tables of docs/worker-protocol.md: each message with its fields, from worker/protocol.py."""

from __future__ import annotations

from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import msgspec

from modelward.worker import protocol

_WORDS = {
    int: "number",
    float: "number",
    str: "text",
    bool: "true or false",
    dict[str, str]: "object of texts",
    tuple[str, ...]: "list of texts",
}


def tables() -> dict[str, str]:
    """The messages of either side."""
    return {"from-worker": _table(protocol.FromWorker), "from-daemon": _table(protocol.FromDaemon)}


def kinds() -> set[str]:
    """Every message's kind, as it stands in "type"."""
    return {_kind(message) for union in (protocol.FromWorker, protocol.FromDaemon) for message in get_args(union)}


def _table(union: Any) -> str:
    rows = ["| type | fields | meaning |", "|---|---|---|"]
    for message in get_args(union):
        fields = "<br>".join(_field(field) for field in msgspec.structs.fields(message))
        rows.append(f"| `{_kind(message)}` | {fields or '-'} | {' '.join((message.__doc__ or '').split())} |")
    return "\n".join(rows) + "\n"


def _kind(message: Any) -> str:
    return str(message.__struct_config__.tag)


def _field(field: msgspec.structs.FieldInfo) -> str:
    kind = _words(field.type)
    default = field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()
    if default is msgspec.NODEFAULT:
        return f"`{field.name}`: {kind}, always"
    return f"`{field.name}`: {kind}, else `{msgspec.json.encode(default).decode()}`"


def _words(kind: Any) -> str:
    """A type, with its bounds where it has any; what may be null besides is said by the default."""
    if get_origin(kind) in (Union, UnionType):
        (kind,) = (each for each in get_args(kind) if each is not NoneType)
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return "object of " + ", ".join(f"`{field.name}`" for field in msgspec.structs.fields(kind))
    if get_origin(kind) is not Annotated:
        return _WORDS[kind]
    bare, meta = get_args(kind)
    if meta.max_length is not None:
        return f"{_WORDS[bare]} of at most {meta.max_length} characters"
    return f"{_WORDS[bare]} {meta.ge:g} to {meta.le:g}"
