"""The accepted versions that are not chosen because their names cannot be compared, as a snapshot has them. Pure."""

from __future__ import annotations

from ..models.unchosen import unchosen
from .activation_facts import standing
from .snapshot import Snapshot


def unchosen_versions(seen: Snapshot) -> dict[str, str]:
    """The reason for each by its name; none where only the operator chooses."""
    if seen.config.models.activation != "auto":
        return {}
    position, held = seen.activation.position, seen.activation.held
    versions = [standing(entry, held) for entry in seen.versions.entries]
    return unchosen(versions, position.word, position.previous)
