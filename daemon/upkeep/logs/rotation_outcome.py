"""What a rotation is asked to do, and what came of it, in the API's shape. Pure."""

from __future__ import annotations

from typing import Any

from msgspec import Struct, field

from ...units import shown
from .rotation_policy import RotationPolicy


class LogSet(Struct, frozen=True):
    """Files of one directory under one policy. `patterns` are names or globs of the last component."""

    directory: str
    patterns: tuple[str, ...]
    policy: RotationPolicy
    own: bool = False


class RotationStep(Struct, frozen=True):
    """One thing done (or that would be) or left; `action` is rotated, dropped, packed, cleaned or spared."""

    action: str
    path: str
    because: str
    archive: str = ""
    bytes: int = 0


class RotationOutcome(Struct):
    """`tell_writers`: files of writers that reopen were renamed, so ask every writer, then call `compress`."""

    steps: list[RotationStep] = field(default_factory=list)
    tell_writers: bool = False
    trouble: list[str] = field(default_factory=list)
    dry_run: bool = False

    def as_json(self) -> dict[str, Any]:
        """For the API and for history."""
        return {
            "dry_run": self.dry_run,
            "steps": [
                {
                    "action": step.action,
                    "path": shown(step.path),
                    "because": shown(step.because),
                    "archive": shown(step.archive),
                    "bytes": step.bytes,
                }
                for step in self.steps
            ],
            "tell_writers": self.tell_writers,
            "trouble": [shown(sentence) for sentence in self.trouble],
        }


def cannot(verb: str, path: str, error: OSError) -> str:
    """The sentence about something that failed."""
    return f"cannot {verb} {path}: {error.strerror or error}"
