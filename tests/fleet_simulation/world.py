"""A fleet in one process: the product's own planners for machines and keeper, with simulated time, network and disks.

A machine is asked what it does when something changed for it; polls and reports without news are counted and not done.
Broken promises are collected in `broken`. Everything follows from the seed.
"""

from __future__ import annotations

import hashlib
import heapq
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from msgspec.structs import replace
from tests.fleet_simulation.machines import CHUNK_BYTES, DAY, HOUR, Chances, SimulatedMachine, machines

from modelward.daemon.fleet.acceptance import accept, in_force
from modelward.daemon.fleet.agent_planner import (
    AgentFacts,
    AgentStep,
    FetchedPart,
    LocalVersion,
    plan,
)
from modelward.daemon.fleet.membership import wave_of
from modelward.daemon.fleet.record import FleetRecord, encode
from modelward.daemon.fleet.reports import MachineReport, ReceivedReport
from modelward.daemon.fleet.signature import SignedRecord
from modelward.daemon.fleet.waves import WaveProgress, next_step, resumed

POLL_SECONDS = 60.0
JUDGE_SECONDS = 90.0
BAKE_SECONDS = 30.0
VERIFY_SECONDS = 2.0

Bad = Callable[[SimulatedMachine, str], bool]


@dataclass
class Work:
    """What was done, for the figures."""

    plans: int = 0
    keeper_steps: int = 0
    reports: int = 0
    wakes: int = 0
    fetches: int = 0
    bytes: dict[str, int] = field(default_factory=dict)


def signed(record: FleetRecord) -> SignedRecord:
    """As if a key had signed it."""
    data = encode(record)
    return SignedRecord(record, hashlib.sha256(data).hexdigest(), data)


class Fleet:
    """`bad(machine, version)`: whether its judgement there rejects it. `with_keeper` False: waves open by time."""

    def __init__(
        self, count: int, seed: int, start: float, bad: Bad, chances: Chances | None = None, *, with_keeper: bool = True
    ) -> None:
        self.now, self.start, self.bad = start, start, bad
        self.keeper_seconds = POLL_SECONDS if count <= 10_000 else 10 * POLL_SECONDS
        self.machines = machines(count, seed, chances or Chances(), start)
        self.chance = random.Random(seed)
        self.offered: SignedRecord | None = None
        self.records: dict[int, SignedRecord] = {}
        self.progress: WaveProgress | None = WaveProgress() if with_keeper else None
        self.changed = True
        self.first_failure: dict[int, tuple[float, int]] = {}
        self.opened: list[tuple[float, int, int]] = []
        self.halts: list[str] = []
        self.done: dict[int, float] = {}
        self.served: dict[str, dict[float, int]] = {}
        self.broken: list[str] = []
        self.work = Work()
        self._events: list[tuple[float, int, int, int, str]] = []
        self._number = 0
        for index, machine in enumerate(self.machines):
            machine.report = MachineReport(machine.machine.name, machine.machine.labels)
            for _, end in machine.away:
                self._at(end, index, "back")

    # events

    def _at(self, when: float, index: int, kind: str) -> None:
        self._number += 1
        turn = 0
        if index >= 0 and kind != "back":
            self.machines[index].turn += 1
            turn = self.machines[index].turn
        heapq.heappush(self._events, (when, self._number, index, turn, kind))

    def _wake(self, index: int) -> None:
        """At its next poll, or sooner when a watch wakes it: both are spread."""
        self.work.wakes += 1
        self._at(self.now + self.chance.uniform(0, POLL_SECONDS), index, "look")

    def publish(self, record: FleetRecord) -> None:
        """The engine has another record now."""
        self.offered = signed(record)
        self.records[record.sequence] = self.offered
        self.changed = True
        for index, machine in enumerate(self.machines):
            if machine.reachable(self.now):
                self._wake(index)

    def offer_again(self, sequence: int) -> None:
        """An attacker on the server offers an old record."""
        self.offered = self.records[sequence]
        for index, machine in enumerate(self.machines):
            if machine.reachable(self.now):
                self._wake(index)

    def run(self, until: float) -> None:
        """Goes on until that time. The keeper acts each minute in which something is new; each ten in large fleets."""
        keeper = self.now
        while self.now < until:
            upto = min(until, keeper + self.keeper_seconds)
            while self._events and self._events[0][0] <= upto:
                self.now, _, index, turn, kind = heapq.heappop(self._events)
                machine = self.machines[index]
                if kind == "back":
                    self._wake(index)
                elif turn == machine.turn:
                    self._event(index, machine, kind)
            self.now = keeper = upto
            self._keeper()

    # the keeper

    def received(self) -> Iterator[ReceivedReport]:
        for machine in self.machines:
            assert machine.report is not None
            yield ReceivedReport(machine.report, machine.last_seen(self.now))

    def _keeper(self) -> None:
        if self.offered is None or self.progress is None or not self.changed:
            return
        record = max(self.records.values(), key=lambda each: each.record.sequence).record
        self.work.keeper_steps += 1
        step = next_step(record, self.progress, self.received(), self.now)
        if step.do == "open":
            self._check_open(record, step.wave)
            self.opened.append((self.now, record.sequence, step.wave))
        elif step.do == "halt" and not self.progress.halted:
            self.halts.append(step.because)
        elif step.do == "done":
            self.done.setdefault(record.sequence, self.now)
        if step.progress != self.progress:
            self.progress = step.progress
            for index, machine in enumerate(self.machines):
                if machine.reachable(self.now) and self._concerned(record, machine):
                    self._wake(index)
        timed = step.do == "wait" and step.until > 0
        self.changed = step.do == "open" or timed or self.now % HOUR < self.keeper_seconds

    def _concerned(self, record: FleetRecord, machine: SimulatedMachine) -> bool:
        wave = wave_of(record.waves, machine.machine)
        assert self.progress is not None
        return wave is not None and wave < self.progress.open and machine.serving != record.version

    def resume(self) -> None:
        """The operator lets it go on."""
        assert self.progress is not None
        self.progress, self.changed = resumed(self.progress), True
        for index, machine in enumerate(self.machines):
            if machine.reachable(self.now):
                self._wake(index)

    # one machine

    def _event(self, index: int, machine: SimulatedMachine, kind: str) -> None:
        if kind == "judged":
            self._judged(machine)
        elif kind == "live":
            self._live(machine)
        elif kind == "verified":
            self._verified(machine)
        if machine.reachable(self.now):
            self._look(index, machine)

    def _look(self, index: int, machine: SimulatedMachine) -> None:
        offered, now = self.offered, self.now + machine.skew
        if offered is None:
            return
        if machine.offered != offered.digest:
            machine.offered, machine.offered_at = offered.digest, self.now
        answer = accept(offered, machine.last, now, self.now - machine.offered_at)
        if answer.do == "take":
            assert answer.taken is not None
            if machine.last is not None and answer.taken.sequence <= machine.last.sequence:
                self.broken.append(f"{machine.machine.name} took {answer.taken.sequence} after {machine.last.sequence}")
            machine.last, machine.followed = answer.taken, offered.record.sequence
            machine.taken_at = self.now
        if machine.last is None:
            if answer.do == "wait":
                self._at(self.now + HOUR, index, "look")
            return
        followed = self.records[machine.followed]
        record = followed.record
        facts = AgentFacts(
            machine.machine,
            machine.begun,
            machine.root.get(record.version),
            machine.serving,
            machine.part,
            free_bytes=0 if self.now < machine.full_until else 1 << 40,
            ended=in_force(followed, machine.last, now),
            followed_seconds=self.now - machine.taken_at,
        )
        self.work.plans += 1
        step = plan(record, self.progress, facts, now)
        machine.begun = step.begun
        self._report(machine, record, step)
        self._do(index, machine, record, step)

    def _do(self, index: int, machine: SimulatedMachine, record: FleetRecord, step: AgentStep) -> None:
        if step.do in ("fetch", "rename", "activate"):
            self._check_begin(machine, record)
        if step.do == "fetch":
            self._fetch(index, machine, record)
        elif step.do == "discard":
            machine.part = None
            self._at(self.now + 1, index, "look")
        elif step.do == "verify":
            self._at(self.now + VERIFY_SECONDS, index, "verified")
        elif step.do == "rename":
            machine.part = None
            machine.root[record.version] = LocalVersion(True, "judging")
            self._at(self.now + JUDGE_SECONDS, index, "judged")
        elif step.do == "judge_again":
            machine.root[record.version] = LocalVersion(True, "judging")
            self._at(self.now + JUDGE_SECONDS, index, "judged")
        elif step.do == "activate":
            self._at(self.now + BAKE_SECONDS, index, "live")
        elif machine.full_until > self.now and step.outcome == "blocked":
            self._at(machine.full_until, index, "look")
        elif step.until:
            late = max(0.0, -machine.skew) if self.progress is not None else 0.0
            self._at(max(self.now + 30, step.until - machine.skew - late), index, "look")

    def _fetch(self, index: int, machine: SimulatedMachine, record: FleetRecord) -> None:
        """Until it is complete, the network goes, or the agent dies."""
        self.work.fetches += 1
        part = machine.part or FetchedPart(record.manifest_sha256, record.sequence)
        missing = record.bytes - part.bytes
        seconds = missing / machine.rate
        cut = machine.next_cut(self.now) - self.now
        if machine.killed and part.bytes < machine.killed * record.bytes:
            cut = min(cut, (machine.killed * record.bytes - part.bytes) / machine.rate)
            machine.killed = 0.0
        got = missing if seconds <= cut else int(cut * machine.rate)
        self.work.bytes[record.version] = self.work.bytes.get(record.version, 0) + got
        there = part.bytes + got
        complete = there >= record.bytes
        if not complete:
            there -= there % CHUNK_BYTES
        wrong = part.wrong if part.sequence == record.sequence else 0
        there = max(part.bytes, there)
        machine.part = FetchedPart(record.manifest_sha256, record.sequence, there, complete, False, wrong)
        self._at(self.now + min(seconds, cut), index, "fetched")

    def _verified(self, machine: SimulatedMachine) -> None:
        part = machine.part
        if part is None or not part.complete:
            return
        if machine.wrong_bytes:
            machine.wrong_bytes = False
            machine.part = replace(part, bytes=0, complete=False, wrong=part.wrong + 1)
        else:
            machine.part = replace(part, complete=True, verified=True)

    def _judged(self, machine: SimulatedMachine) -> None:
        for version, seen in list(machine.root.items()):
            if seen.state == "judging":
                bad = self.bad(machine, version)
                state, why = ("rejected", "golden error rate 0.42, at most 0.10") if bad else ("accepted", "")
                machine.root[version] = LocalVersion(True, state, why)  # type: ignore[arg-type]

    def _live(self, machine: SimulatedMachine) -> None:
        version = self.records[machine.begun.sequence].record.version
        if self.bad(machine, version):
            self.broken.append(f"{machine.machine.name} serves {version}, which is bad there")
        if version not in machine.root or machine.root[version].state != "accepted":
            self.broken.append(f"{machine.machine.name} serves {version}, which was not accepted")
            return
        for other, seen in machine.root.items():
            machine.root[other] = LocalVersion(True, seen.state, seen.because, live=other == version)
        machine.serving = version

    def _report(self, machine: SimulatedMachine, record: FleetRecord, step: AgentStep) -> None:
        new = MachineReport(
            machine.machine.name, machine.machine.labels, record.sequence, step.begun.attempt, step.outcome,
            step.because if step.outcome == "failed" else "", machine.serving,
        )  # fmt: skip
        if new == machine.report:
            return
        machine.report, self.changed = new, True
        self.work.reports += 1
        if step.outcome == "failed":
            wave = wave_of(record.waves, machine.machine)
            assert wave is not None
            self.first_failure.setdefault(record.sequence, (self.now, wave))

    # promises

    def _check_begin(self, machine: SimulatedMachine, record: FleetRecord) -> None:
        wave = wave_of(record.waves, machine.machine)
        if wave is None:
            self.broken.append(f"{machine.machine.name} is in no wave and began")
        elif self.progress is not None and (
            self.progress.sequence == record.sequence and (wave >= self.progress.open or self.progress.halted)
        ):
            self.broken.append(f"{machine.machine.name} of wave {wave + 1} began, {self.progress}")
        elif max(self.now, self.now + machine.skew) < record.earliest(wave):
            self.broken.append(f"{machine.machine.name} began before {record.earliest(wave)}")

    def _check_open(self, record: FleetRecord, wave: int) -> None:
        """After a failure that counts no wave may open; and not without a success before."""
        if wave == 1:
            return
        own = [m for m in self.machines if (w := wave_of(record.waves, m.machine)) is not None and w < wave - 1]
        assert self.progress is not None
        failed = [
            m for m in own
            if m.report is not None and m.report.sequence == record.sequence and m.report.outcome == "failed"
            and m.report.attempt >= self.progress.attempt
        ]  # fmt: skip
        if len(failed) > record.waves[wave - 2].max_errors:
            self.broken.append(f"wave {wave} of {record.sequence} opened after {len(failed)} failures")
        last = [m for m in own if wave_of(record.waves, m.machine) == wave - 2]
        if record.waves[wave - 2].percent and all(m.report is None for m in last):
            return  # it held nobody that was ever seen, and opens nothing by itself
        if not any(m.report is not None and m.report.outcome == "serving" and m.reachable(self.now) for m in last):
            self.broken.append(f"wave {wave} of {record.sequence} opened without a success")

    def check_end(self, slack: float = 1.1) -> list[str]:
        """What was promised and is not so, at the end."""
        broken = list(self.broken)
        sizes = {each.record.version: each.record.bytes for each in self.records.values()}
        for version, got in self.work.bytes.items():
            if got > len(self.machines) * sizes[version] * slack:
                broken.append(
                    f"{version} took {got / sizes[version]:.1f} times its size for {len(self.machines)} machines"
                )
        for machine in self.machines:
            if machine.serving != "v1" and machine.root[machine.serving].state != "accepted":
                broken.append(
                    f"{machine.machine.name} serves {machine.serving}, which is {machine.root[machine.serving]}"
                )
        return broken

    def serving(self) -> dict[str, int]:
        """How many machines serve each version."""
        found = dict[str, int]()
        for machine in self.machines:
            found[machine.serving] = found.get(machine.serving, 0) + 1
        return found


__all__ = ["DAY", "HOUR", "Chances", "Fleet"]
