"""Versions: what `GET /v1/versions` answers. The words are those of the contract."""

from __future__ import annotations

from typing import Any

from msgspec import UNSET, Struct, UnsetType


class GateReport(Struct, frozen=True):
    """One check of a version. `warning` is set, and true, when it passed with a warning."""

    gate: str
    passed: bool
    seconds: float
    because: str
    warning: bool | UnsetType = UNSET


class VerdictReport(Struct, frozen=True):
    """The judgement of a version and the gates that made it."""

    accepted: bool
    because: str
    gates: list[GateReport]


class VersionReport(Struct, frozen=True):
    """One version. `state` is seen, settling, validating, accepted or rejected; `bytes` is its size on the disk.

    `serving` names the workers that answer with it. `compiled` is about the form that workers load: `form`, `because`
    or `compiling`, and what the compiler reported of its gains. `arrived` is RFC 3339 in UTC. `held_because` is there
    when it is held, `unchosen_because` when its name cannot be compared with the live one's, `waiting` when it waits
    for something. `must_stay` is why it cannot be deleted.
    """

    version: str
    digest: str
    state: str
    verdict: VerdictReport | None
    bytes: int
    live: bool
    held: bool
    serving: list[str]
    compiled: dict[str, Any]
    arrived: str
    held_because: str | UnsetType = UNSET
    unchosen_because: str | UnsetType = UNSET
    waiting: str | UnsetType = UNSET
    must_stay: str | UnsetType = UNSET


class IgnoredDirectory(Struct, frozen=True):
    """A directory of the model root that is no version because of its name, or a link in place of one."""

    name: str
    because: str


class VersionsAnswer(Struct, frozen=True):
    """Every version, in the order of their names."""

    versions: list[VersionReport]
    ignored: list[IgnoredDirectory]
