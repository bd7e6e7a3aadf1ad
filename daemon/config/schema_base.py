"""Tables of a configuration file as frozen objects: fields from annotations, every mistake found at
once.

It is small on purpose: a general library for this keeps ten megabytes of a daemon that runs for months. It does not
know what the keys mean. Invariant: an instance has only values that passed their checks, and never changes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import (
    Annotated,
    Any,
    ClassVar,
    Final,
    Literal,
    NamedTuple,
    Self,
    dataclass_transform,
    get_args,
    get_origin,
    get_type_hints,
)

from msgspec import Struct

Location = tuple[int | str, ...]
NOTHING: Final[Any] = object()
"""A default that is not there."""


class Found(NamedTuple):
    """One mistake. `kind` is one of KINDS; `sentence` is the check's own for "value"."""

    kind: str
    place: Location
    value: object
    sentence: str = ""


KINDS: Final = ("value", "unknown", "choice", "missing", "list", "table", "switch")


class Mistaken(ValueError):
    """A table with mistakes; `found` has all of them."""

    def __init__(self, found: tuple[Found, ...]) -> None:
        super().__init__("; ".join(f"{'.'.join(map(str, f.place))}: {f.sentence or f.kind}" for f in found))
        self.found = found


class Check(NamedTuple):
    """For an `Annotated`: returns the value in our own unit. Raises ValueError with what is wrong and what would be
    right.
    """

    run: Callable[[object], object]


class FieldInfo(Struct):
    """A field: `alias` is its key where that is no name for Python; a `default_factory` is given the fields before."""

    default: Any = NOTHING
    default_factory: Callable[[dict[str, Any]], Any] | None = None
    alias: str | None = None
    description: str | None = None
    annotation: Any = None
    metadata: tuple[Any, ...] = ()

    def is_required(self) -> bool:
        return self.default is NOTHING and self.default_factory is None


def Field(
    default: Any = NOTHING,
    *,
    default_factory: Callable[[dict[str, Any]], Any] | None = None,
    alias: str | None = None,
    description: str | None = None,
) -> Any:
    """The facts about a field besides its type."""
    return FieldInfo(default, default_factory, alias, description)


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(Field,))
class ConfigTable:
    """Base of every table. A field is an annotation; `model_fields` lists them in the order of the class."""

    model_fields: ClassVar[dict[str, FieldInfo]] = {}

    def __init_subclass__(cls) -> None:
        fields: dict[str, FieldInfo] = {}
        for name, hint in get_type_hints(cls, include_extras=True).items():
            if get_origin(hint) is ClassVar:
                continue
            given = cls.__dict__.get(name, NOTHING)
            if name not in cls.__annotations__:  # a field of a base class, taken as it stands
                fields[name] = cls.model_fields[name]
                continue
            info = given if isinstance(given, FieldInfo) else FieldInfo(given)
            plain = get_origin(hint) is Annotated
            info.annotation, info.metadata = (get_args(hint)[0], get_args(hint)[1:]) if plain else (hint, ())
            fields[name] = info
            if given is not NOTHING:
                delattr(cls, name)
        cls.model_fields = fields

    def __init__(self, **given: Any) -> None:
        """Raises Mistaken."""
        values, found = _fields(type(self), given, ())
        if found:
            raise Mistaken(tuple(found))
        self.__dict__.update(values)

    @classmethod
    def model_validate(cls, table: object) -> Self:
        """The table as an instance. Raises Mistaken with every mistake."""
        value, found = _table(cls, table, ())
        if found:
            raise Mistaken(tuple(found))
        return value  # type: ignore[no-any-return]

    def model_copy(self, *, update: Mapping[str, Any]) -> Self:
        """The same with some fields replaced, unchecked."""
        copy = object.__new__(type(self))
        copy.__dict__.update(self.__dict__, **update)
        return copy

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"cannot set {name}: a {type(self).__name__} never changes")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"cannot delete {name}: a {type(self).__name__} never changes")

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other.__dict__ == self.__dict__

    def __hash__(self) -> int:
        return hash((type(self), *self.__dict__.values()))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self.__dict__.items())})"


def _table(model: type[ConfigTable], value: object, place: Location) -> tuple[Any, list[Found]]:
    if isinstance(value, model):
        return value, []
    if not isinstance(value, dict):
        return None, [Found("table", place, value)]
    values, found = _fields(model, value, place)
    if found:
        return None, found
    made = object.__new__(model)
    made.__dict__.update(values)
    return made, []


def _fields(model: type[ConfigTable], given: Mapping[str, Any], place: Location) -> tuple[dict[str, Any], list[Found]]:
    values: dict[str, Any] = {}
    found: list[Found] = []
    keys = {info.alias or name for name, info in model.model_fields.items()}
    for name, info in model.model_fields.items():
        key = info.alias or name
        if key in given:
            hint = Annotated[info.annotation, *info.metadata] if info.metadata else info.annotation
            value, wrong = _value(hint, given[key], (*place, key))
            found += wrong
            if not wrong:
                values[name] = value
        elif info.default_factory is not None:
            if not found:  # it may rest on a field that is mistaken
                values[name] = info.default_factory(values)
        elif info.default is NOTHING:
            found.append(Found("missing", (*place, key), None))
        else:
            values[name] = info.default
    found += [Found("unknown", (*place, key), value) for key, value in given.items() if key not in keys]
    return values, found


def _value(hint: Any, value: object, place: Location) -> tuple[Any, list[Found]]:
    """One value by the type of its field: a table, a list of one type, a choice, a switch, or what a check makes."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        try:
            for check in arguments[1:]:
                value = check.run(value)
        except ValueError as e:
            return None, [Found("value", place, value, str(e))]
        return value, []
    if origin is Literal:
        good = any(type(value) is type(choice) and value == choice for choice in arguments)
        return value, [] if good else [Found("choice", place, value)]
    if origin is tuple:
        return _entries(arguments[0], value, place)
    if hint is bool:
        return value, [] if isinstance(value, bool) else [Found("switch", place, value)]
    return _table(hint, value, place)


def _entries(hint: Any, value: object, place: Location) -> tuple[Any, list[Found]]:
    if not isinstance(value, tuple):
        return None, [Found("list", place, value)]
    read = [_value(hint, entry, (*place, index)) for index, entry in enumerate(value)]
    return tuple(entry for entry, _ in read), [mistake for _, wrong in read for mistake in wrong]
