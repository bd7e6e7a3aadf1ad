"""The verdict on a version: accepted or rejected, and the gates that made it.

Pure. It is built from a validator's messages, or from the sentence that explains why the validator failed. A version is
accepted only when the validator accepted it and no gate failed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from msgspec import UNSET, Struct

from ...worker import child_protocol
from ..answers.versions import GateReport, VerdictReport

MAX_ATTEMPTS: Final = 2
_SIGKILL: Final = 9


class GateResult(Struct, frozen=True):
    """One check. A warning passes and is shown."""

    gate: str
    passed: bool
    seconds: float
    because: str = ""
    warning: bool = False


class Verdict(Struct, frozen=True):
    """`digest` is "" when the validator did not get that far; `artifact` is the path of an accepted
    version's copy.

    `judged_at` is RFC 3339 in UTC. `sequence` is the number in its signature, 0 for none. `incomplete`: rejected
    because of files that may still be copied; it is not stored.
    """

    accepted: bool
    because: str
    gates: tuple[GateResult, ...] = ()
    digest: str = ""
    artifact: str = ""
    bytes: int = 0
    load_bytes: int = 0
    judged_at: str = ""
    load_seconds: float = 0.0
    incomplete: bool = False
    sequence: int = 0


class Changing(Struct, frozen=True):
    """No verdict: the version changed while it was read. It is checked again later."""

    because: str
    digest: str = ""


class NotJudged(Struct, frozen=True):
    """No verdict: the machine was at fault, or someone ended the validator. It is tried again later."""

    because: str


Answer = Verdict | Changing | NotJudged


def gate_from(message: child_protocol.GateDone) -> GateResult:
    """The gate that a validator reported."""
    return GateResult(message.gate, message.passed, message.seconds, message.because, message.warning)


def judged(message: child_protocol.Judged, gates: Sequence[GateResult], judged_at: str) -> Answer:
    """The verdict from a validator's last line. "accepted" there does not outweigh a gate that failed."""
    if message.hindered:
        return NotJudged(message.because or "the validator could not go on")
    if message.changing:
        return Changing(message.because or "it was modified while it was read", message.digest)
    failed = next((g for g in gates if not g.passed), None)
    accepted = message.accepted and failed is None
    because = message.because
    if not because or (message.accepted and failed is not None):
        because = f"gate {failed.gate}: {failed.because or 'failed'}" if failed else _plain(accepted)
    return Verdict(
        accepted=accepted,
        because=because,
        gates=tuple(gates),
        digest=message.digest,
        bytes=message.bytes,
        load_bytes=message.load_bytes,
        load_seconds=message.load_seconds,
        judged_at=judged_at,
        incomplete=message.incomplete and not accepted,
        sequence=message.sequence,
    )


def judge_again(status: int | None, *, answered: bool, attempt: int) -> bool:
    """Whether an ended validator proves nothing about its version: another program killed it, for the
    first time.

    SIGKILL is never caused by the version: our own limits end a child with an answer or another signal. It comes from
    the kernel when memory is short, or from an operator. `answered`: it had sent its last line, or we ended it.
    """
    return status == -_SIGKILL and not answered and attempt < MAX_ATTEMPTS


def broken(gate: str, because: str, gates: Sequence[GateResult], seconds: float, judged_at: str) -> Verdict:
    """The rejection of a version whose validator did not answer; `gate` is the one that had not ended, "" for none."""
    if not gate:
        return Verdict(False, because, tuple(gates), judged_at=judged_at)
    open_gate = GateResult(gate, False, seconds, because)
    return Verdict(False, f"gate {gate}: {because}", (*gates, open_gate), judged_at=judged_at)


def report(verdict: Verdict) -> VerdictReport:
    """For the API and for history."""
    gates = [GateReport(g.gate, g.passed, round(g.seconds, 3), g.because, g.warning or UNSET) for g in verdict.gates]
    return VerdictReport(verdict.accepted, verdict.because, gates)


def to_record(verdict: Verdict) -> dict[str, Any]:
    """Everything, for the store; `from_record` reads it back."""
    gates = [
        {"gate": g.gate, "passed": g.passed, "seconds": g.seconds, "because": g.because, "warning": g.warning}
        for g in verdict.gates
    ]
    return {
        "accepted": verdict.accepted,
        "because": verdict.because,
        "gates": gates,
        "digest": verdict.digest,
        "artifact": verdict.artifact,
        "bytes": verdict.bytes,
        "load_bytes": verdict.load_bytes,
        "load_seconds": verdict.load_seconds,
        "judged_at": verdict.judged_at,
        "sequence": verdict.sequence,
    }


def from_record(record: Mapping[str, Any]) -> Verdict:
    """A verdict from `to_record` or from the API's shape. Raises ValueError when it is neither."""
    try:
        gates = tuple(
            GateResult(
                str(g["gate"]), bool(g["passed"]), float(g["seconds"]), str(g["because"]), bool(g.get("warning"))
            )
            for g in record["gates"]
        )
        return Verdict(
            accepted=bool(record["accepted"]),
            because=str(record["because"]),
            gates=gates,
            digest=str(record.get("digest", "")),
            artifact=str(record.get("artifact", "")),
            bytes=int(record.get("bytes", 0)),
            load_bytes=int(record.get("load_bytes", 0)),
            load_seconds=float(record.get("load_seconds", 0.0)),
            judged_at=str(record.get("judged_at", "")),
            sequence=int(record.get("sequence", 0)),
        )
    except (KeyError, TypeError, AttributeError, OverflowError) as e:
        raise ValueError(f"cannot read a verdict: {type(e).__name__}: {e}") from e


def _plain(accepted: bool) -> str:
    return "every gate passed" if accepted else "the validator gave no reason"
