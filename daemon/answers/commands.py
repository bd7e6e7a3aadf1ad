"""Commands: what the requests that change something answer, and how a request is refused."""

from __future__ import annotations

from msgspec import Struct

from .versions import VersionReport


class CommandAccepted(Struct, frozen=True):
    """The command is accepted and not decided yet: the answer with status 202 to a request that does not wait."""

    accepted: bool
    message: str


class CommandOutcome(Struct, frozen=True):
    """The command is decided: whether it succeeded, and the sentence for the operator."""

    success: bool
    message: str


class ValidateOutcome(CommandOutcome, frozen=True):
    """A version was judged: whether it is accepted, and the version as it is now."""

    version: VersionReport


class ConfigChange(Struct, frozen=True):
    """One key that changed, with both values as they would be written, and when the new one holds."""

    key: str
    old: str
    new: str
    applies: str


class ReloadOutcome(CommandOutcome, frozen=True):
    """The configuration was taken up whole, or refused for these mistakes."""

    changes: list[ConfigChange]
    mistakes: list[str]


class PanelLinkAnswer(Struct, frozen=True):
    """A URL that logs one browser in within `seconds`; 0, and no `token_file`, where the panel asks for no token.

    `hosts` are the further names under which browsers reach the panel, through a proxy.
    """

    url: str
    seconds: float
    token_file: str
    hosts: list[str] = []


class ErrorReport(Struct, frozen=True):
    """What is wrong, for people, and its kind, for programs."""

    message: str
    type: str
    code: str


class ErrorAnswer(Struct, frozen=True):
    """A request that was refused."""

    error: ErrorReport
