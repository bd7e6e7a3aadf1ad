"""What the daemon knows of itself and of the version that a fleet wants, as facts for its planner. It changes nothing.

Invariant: a version on its way to the workers counts as one that is judged, so that no machine reports its end before
it is decided.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

from msgspec import Struct

from ...worker.shared.checksums import MAX_SUMS_BYTES, SUMS
from ..config.load import Config
from ..fleet.agent_planner import LocalVersion
from ..models.activation_policy import FLEET_CHOSE
from ..models.catalog import CatalogEntry
from ..models.lifecycle import VersionState
from ..state.async_store import AsyncStore
from ..system.clock import Clock
from ..system.safe_read import kernel_text, open_regular
from .activation import Activation
from .validation import Validation
from .wakeups import Wakeups


class FleetAccess(Struct, frozen=True):
    """The parts of the daemon that the agent reads and uses."""

    config: Callable[[], Config]
    clock: Clock
    validation: Validation
    activation: Activation
    async_store: AsyncStore
    wakeups: Wakeups
    rename: Callable[..., None]


def local_version(entry: CatalogEntry | None, same: bool, activation: Activation) -> LocalVersion | None:
    """The version of the wanted name. `same`: it has the wanted list of files."""
    if entry is None:
        return None
    position, because = activation.position, entry.verdict.because if entry.verdict else ""
    word, serving = position.word, position.serving
    live = word is not None and serving is not None and word.name == entry.name and serving.digest == entry.digest
    on_its_way = not live and entry.state is VersionState.ACCEPTED and is_on_its_way(entry, activation)
    if entry.state is VersionState.REJECTED:
        return LocalVersion(same, "rejected", because or "it was rejected")
    if entry.state is not VersionState.ACCEPTED or on_its_way:
        return LocalVersion(same, "judging", entry.waiting)
    return LocalVersion(same, "accepted", because, live, held_by_operator(entry.name, activation))


def held_by_operator(version: str, activation: Activation) -> bool:
    """Whether it is held on this machine, and not because a fleet went back from it."""
    held = activation.held.get(version, "")
    return bool(held) and not held.endswith(FLEET_CHOSE)


def is_on_its_way(entry: CatalogEntry, activation: Activation) -> bool:
    """Whether it is requested, waits for its form, is brought to the workers, or will be tried again."""
    commands = (activation.command, activation.rollouts.command)
    if any(command is not None and command.asked.version == entry.name for command in commands):
        return True
    current = activation.executor.current
    if current is not None and current.target.digest == entry.digest:
        return True
    return activation.choice.waiting[0] == entry.name or activation.rollouts.waits(entry.digest)


def manifest_sha256(version: Path) -> str:
    """The SHA-256 of a version's list of files; "" without one. On a thread. Raises OSError."""
    try:
        with open_regular(version / SUMS) as file:
            return hashlib.sha256(file.read(MAX_SUMS_BYTES + 1)).hexdigest()
    except FileNotFoundError:
        return ""


def processor() -> str:
    """Its name and how many there are, "" where the kernel does not give it."""
    try:
        lines = kernel_text("/proc/cpuinfo").splitlines()
    except OSError:
        return ""
    named = next((line.partition(":")[2].strip() for line in lines if line.startswith(("model name", "Model"))), "")
    return f"{named or os.uname().machine}, {os.cpu_count()}"
