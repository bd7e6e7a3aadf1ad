"""The decisions that `activation_policy.decide` may return. Each has its reason, in the words of log, CLI and panel.

`hold` lists the versions to hold after the decision was carried out. The caller then records `serving`, and `committed`
when the link names the version.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

Origin = Literal["operator", "auto", "start", "rollback"]


class Keep(Struct, frozen=True):
    """Nothing to do."""

    because: str


class Activate(Struct, frozen=True):
    """Bring these bytes to the workers; once the workers proved them, the link is set to the version.

    Without `move_link` the link stays: the version serves until the version on the link can.
    """

    version: str
    digest: str
    origin: Origin
    because: str
    hold: tuple[str, ...] = ()
    move_link: bool = True


class Acknowledge(Struct, frozen=True):
    """The link names a version whose bytes are served already: `committed` and the served name become this, without a
    rollout.
    """

    version: str
    digest: str
    because: str
    hold: tuple[str, ...] = ()


class MakeLink(Struct, frozen=True):
    """The bytes are served under another name: the link moves, and the workers take the new name without a rollout."""

    version: str
    digest: str
    because: str
    hold: tuple[str, ...] = ()


class AwaitVerdict(Struct, frozen=True):
    """This version is wanted and has no verdict: it is validated first, and the workers serve what they do."""

    version: str
    because: str


class RestoreLink(Struct, frozen=True):
    """The link must not stay: set it back to what is served, and report that."""

    version: str
    digest: str
    because: str


class Complain(Struct, frozen=True):
    """Only the operator can repair this: report it, once for the same reason. Nothing else changes."""

    because: str
    version: str = ""
    digest: str = ""


class Refuse(Struct, frozen=True):
    """The command cannot be carried out; nothing changes."""

    because: str


class Already(Struct, frozen=True):
    """What the command requests is so already."""

    version: str
    because: str


Decision = Keep | Activate | Acknowledge | MakeLink | AwaitVerdict | RestoreLink | Complain | Refuse | Already
