"""What this machine has to do with a fleet: `GET /v1/fleet`."""

from __future__ import annotations

from msgspec import Struct


class FleetRecordReport(Struct, frozen=True):
    """The record that is followed. `waves` is how many it has."""

    sequence: int
    version: str
    issued: str
    expires: str
    bytes: int
    waves: int
    hold: bool


class FleetWaveReport(Struct, frozen=True):
    """The machines of one wave, those of earlier ones not included; see docs/fleet.md for what each counts."""

    wave: int
    open: bool
    serving: int
    failed: int
    pending: int
    blocked: int
    silent: int
    late: int


class FleetRollout(Struct, frozen=True):
    """How far the record has come, as the keeper on this machine sees it. `state` is open, wait, halt or done."""

    state: str
    because: str
    waves: list[FleetWaveReport]


class FleetAnswer(Struct, frozen=True):
    """`server` is "" where there is no fleet. `wave` counts from 1; 0: no wave holds this machine.

    `outcome` is what this machine reports, `because` the reason. `away_seconds` is for how long the server has not been
    reached, `away` why; `refused` is why the record that is offered is not followed. `rollout` is set where this
    machine is the keeper that acts.
    """

    server: str
    machine: str = ""
    labels: list[str] = []
    keeper: bool = False
    wave: int = 0
    outcome: str = ""
    because: str = ""
    fetched_bytes: int = 0
    away_seconds: float = 0.0
    away: str = ""
    refused: str = ""
    record: FleetRecordReport | None = None
    rollout: FleetRollout | None = None
