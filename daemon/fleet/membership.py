"""In which wave a machine is: by its labels, or by a stable hash of its name. Pure.

A wave holds the machines of all waves before it. Invariant: the same machine has the same place in each record, so that
"5 %" are always the same ones, and a larger share holds the smaller one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from msgspec import Struct

from .record import FleetWave

_STEPS: Final = 10_000


class FleetMachine(Struct, frozen=True):
    """A machine of the fleet. `name` never changes. What it reports is one too."""

    name: str
    labels: tuple[str, ...] = ()


@lru_cache(maxsize=1 << 17)  # a keeper asks for each machine, each minute
def place(name: str) -> float:
    """From 0.00 to 99.99: a machine is in the first so many percent."""
    hashed = hashlib.sha256(b"modelward fleet\n" + name.encode(errors="replace")).digest()
    return int.from_bytes(hashed[:8], "big") % _STEPS / 100


def wave_of(waves: Sequence[FleetWave], machine: FleetMachine) -> int | None:
    """The first wave that holds the machine, from 0; None for none."""
    at = place(machine.name)
    for index, wave in enumerate(waves):
        if at < wave.percent or (wave.labels and not set(wave.labels).isdisjoint(machine.labels)):
            return index
    return None
