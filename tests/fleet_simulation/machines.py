"""The machines of a simulated fleet: what befalls each is drawn once, from the seed and its number."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from modelward.daemon.fleet.acceptance import LastTaken
from modelward.daemon.fleet.agent_planner import BegunRecord, FetchedPart, LocalVersion
from modelward.daemon.fleet.membership import FleetMachine
from modelward.daemon.fleet.reports import MachineReport

HOUR, DAY = 3600.0, 86_400.0
FOR_EVER = 1e12
CHUNK_BYTES = 128 << 10
"""What a fetch that is cut off loses at most."""


@dataclass(frozen=True)
class Chances:
    """Shares of the machines that something befalls."""

    away: float = 0.05
    gone: float = 0.01
    cut_region: bool = True
    clock: float = 0.02
    full_disk: float = 0.005
    killed: float = 0.05
    wrong_bytes: float = 0.002
    canaries: float = 0.01
    arm: float = 0.1


@dataclass(slots=True)
class SimulatedMachine:
    """`away` are the times without network, in order. `skew` is added to the time by its clock. `killed` are the shares
    of a fetch at which its agent dies once. `full_until`: there is no room before."""

    machine: FleetMachine
    rate: float
    skew: float = 0.0
    away: tuple[tuple[float, float], ...] = ()
    killed: float = 0.0
    wrong_bytes: bool = False
    full_until: float = 0.0
    serving: str = "v1"
    root: dict[str, LocalVersion] = field(default_factory=dict)
    last: LastTaken | None = None
    followed: int = 0
    taken_at: float = 0.0
    offered_at: float = 0.0
    offered: str = ""
    begun: BegunRecord = BegunRecord()
    part: FetchedPart | None = None
    report: MachineReport | None = None
    turn: int = 0
    """Which event of it is the current one: earlier ones count no more."""

    def reachable(self, now: float) -> bool:
        return not any(start <= now < end for start, end in self.away)

    def next_cut(self, now: float) -> float:
        """When its network goes next."""
        return min((start for start, _ in self.away if start > now), default=FOR_EVER)

    def last_seen(self, now: float) -> float:
        """When a report of it was last received: it reports each minute while it is reachable."""
        return next((start for start, end in self.away if start <= now < end), now)


def machines(count: int, seed: int, chances: Chances, start: float) -> list[SimulatedMachine]:
    """The fleet at `start`."""
    return [_machine(number, random.Random(f"{seed}:{number}"), chances, start) for number in range(count)]


def _machine(number: int, chance: random.Random, chances: Chances, start: float) -> SimulatedMachine:
    region = number % 20
    labels = [f"region={region}", "arm" if chance.random() < chances.arm else "x86"]
    if chance.random() < chances.canaries or number == 0:
        labels.append("canary")
    away = list[tuple[float, float]]()
    if chance.random() < chances.gone:
        away.append((start + chance.uniform(-DAY, DAY), FOR_EVER))
    elif chance.random() < chances.away:
        gone = start + chance.uniform(-DAY, 2 * DAY)
        away.append((gone, gone + chance.expovariate(1 / (8 * HOUR)) + 60))
    elif chances.cut_region and region == 7:
        away.append((start + 2 * HOUR, start + 5 * HOUR))
    made = SimulatedMachine(
        FleetMachine(f"shop-{number}", tuple(labels)),
        rate=min(20e6, max(20e3, chance.lognormvariate(14, 1.2))),
        away=tuple(away),
    )
    if chance.random() < chances.clock:
        made.skew = chance.choice([-DAY, DAY]) * chance.random()
    if chance.random() < chances.killed:
        made.killed = chance.random()
    made.wrong_bytes = chance.random() < chances.wrong_bytes
    if chance.random() < chances.full_disk:
        made.full_until = start + chance.uniform(HOUR, 2 * DAY)
    return made
