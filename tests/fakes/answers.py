"""Answers of the admin API from the few fields that a test is about: the others are empty, as in a daemon at rest."""

from __future__ import annotations

import functools
import re
from types import UnionType
from typing import Any, TypeVar, get_args, get_origin

import msgspec

from modelward.daemon.api.app import ROUTES
from modelward.daemon.api.openapi import answers_of
from modelward.daemon.cli.client import ApiAnswer, Client

T = TypeVar("T", bound=msgspec.Struct)
_PLACE = re.compile(r"\{\w+\}")
KINDS = {(method, path): answers_of(handler) for method, path, handler, _ in ROUTES}
"""What each route may answer with."""


def made(kind: type[T], given: dict[str, Any]) -> T:
    """The answer; what it has no field for is a mistake of the test."""
    answer = msgspec.convert(filled(kind, given), kind)
    assert given.keys() <= _fields(kind)[0].keys(), (kind, given)
    return answer


def filled(kind: Any, given: Any) -> Any:
    """`given` with every field that it lacks."""
    kinds = get_args(kind) if isinstance(kind, UnionType) else (kind,)
    for each in kinds:
        if isinstance(given, list) and get_origin(each) is list:
            return [filled(get_args(each)[0], entry) for entry in given]
        if isinstance(given, dict) and isinstance(each, type) and issubclass(each, msgspec.Struct):
            types, required = _fields(each)
            empty = {name: _empty(types[name]) for name in required}
            return {k: filled(types[k], v) if k in types else v for k, v in (empty | given).items()}
    return given


@functools.cache
def _fields(kind: type[msgspec.Struct]) -> tuple[dict[str, Any], list[str]]:
    """The types of all fields by name, and the names of those that must be there."""
    found = msgspec.structs.fields(kind)
    return {f.encode_name: f.type for f in found}, [f.encode_name for f in found if f.required]


def _empty(kind: Any) -> Any:
    if isinstance(kind, UnionType):
        return None
    kind = get_origin(kind) or kind
    return {} if issubclass(kind, msgspec.Struct) else kind()


def misfit(method: str, target: str, data: Any) -> str:
    """Why this is not the answer that the API's description has for a request; "" when it is, to the last field."""
    place = target.partition("?")[0]
    kinds = next(k for (m, path), k in KINDS.items() if m == method and re.fullmatch(_PLACE.sub("[^/]+", path), place))
    reasons = []
    for kind in kinds:
        try:
            if (again := msgspec.to_builtins(msgspec.convert(data, kind))) == data:
                return ""
            reasons.append(f"{kind.__name__}: {again} is not {data}")
        except msgspec.ValidationError as e:
            reasons.append(f"{kind.__name__}: {e}")
    return "; ".join(reasons)


class CheckedClient(Client):
    """The command line's client; an answer that is not as the API describes it fails the test that asked."""

    def _ask(self, method: str, target: str, *rest: Any) -> ApiAnswer:
        answer = super()._ask(method, target, *rest)
        assert not (why := misfit(method, target, answer.data)), f"{method} {target}: {why}"
        return answer
