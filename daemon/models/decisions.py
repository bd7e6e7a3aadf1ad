"""What `activation_policy.decide` may answer. Each carries its reason, in the words that log, CLI and panel print.

`hold` lists the versions to hold once the decision was carried out. Whoever carries one out records it: `serving` and,
when the link names it afterwards, `committed`.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

Origin = Literal["operator", "auto", "start", "rollback"]


class Keep(Struct, frozen=True):
    """Nothing to do."""

    because: str


class Activate(Struct, frozen=True):
    """Roll these bytes out; when the workers proved them, make the link name the version unless it does.

    Without `move_link` the link stays as it is: the version serves until the link's word can be followed.
    """

    version: str
    digest: str
    origin: Origin
    because: str
    hold: tuple[str, ...] = ()
    move_link: bool = True


class Acknowledge(Struct, frozen=True):
    """The link names a version whose bytes are served: `committed` and the served name become this; no rollout."""

    version: str
    digest: str
    because: str
    hold: tuple[str, ...] = ()


class MakeLink(Struct, frozen=True):
    """The bytes are served under another name: the link moves, and the workers take the name without a rollout."""

    version: str
    digest: str
    because: str
    hold: tuple[str, ...] = ()


class AwaitVerdict(Struct, frozen=True):
    """This version is wanted and not judged: what serves serves on; judge it before all others."""

    version: str
    because: str


class RestoreLink(Struct, frozen=True):
    """The link must not stay as it is: put it back to what is served, and say so."""

    version: str
    digest: str
    because: str


class Complain(Struct, frozen=True):
    """Something is wrong that only the operator can mend: say so, once for the same reason. Nothing else changes."""

    because: str
    version: str = ""
    digest: str = ""


class Refuse(Struct, frozen=True):
    """The request by command cannot be granted; nothing changes."""

    because: str


class Already(Struct, frozen=True):
    """The request by command is fulfilled already."""

    version: str
    because: str


Decision = Keep | Activate | Acknowledge | MakeLink | AwaitVerdict | RestoreLink | Complain | Refuse | Already
