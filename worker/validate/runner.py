"""Runs the gates in order until one fails, reports each start and end, and makes an artifact of an accepted version.

It knows no details of the gates. Invariant: exactly one verdict is given.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from time import perf_counter
from typing import Final

from .. import child_protocol
from ..child_protocol import Copied, GateDone, GateStarted, Judged
from ..shared.quantities import count, size
from .context import (
    Context,
    GateAnswer,
    Hindered,
    NoVerdict,
    printable,
)
from .gates import (
    golden,
    integrity,
    latency,
    layout,
    load,
    probe,
    signature,
)
from .kinds import KINDS
from .measure import room_for
from .model_under_test import OutOfMemory
from .publish import complete, draft

Send = Callable[[child_protocol.FromValidator], None]
Gate = Callable[[Context], GateAnswer]

GATES: Final[tuple[tuple[str, Gate], ...]] = (
    ("layout", layout.check),
    ("integrity", integrity.check),
    ("signature", signature.check),
    ("load", load.check),
    ("probe", probe.check),
    ("golden", golden.check),
    ("budget", latency.check),
)


def judge(
    candidate: child_protocol.Candidate,
    directory: Path,
    send: Send,
    before: tuple[GateDone, ...] = (),
    *,
    copied: Callable[[], None] = lambda: None,
) -> Judged:
    """The verdict on a candidate, judged in `directory`, which is empty and ours. `before` is put in front of the
    gates.

    `copied` is called when the version is copied, before anything parses it. On acceptance the directory holds
    a whole artifact, which the daemon renames into place; otherwise the daemon removes it.
    """
    if candidate.kind not in KINDS:
        return Judged(False, f"its kind {candidate.kind!r} is not one of {', '.join(KINDS)}")
    context = Context(candidate, directory)
    done = list(before)
    try:
        for name, gate in GATES:
            send(GateStarted(name))
            answer = _timed(name, gate, context)
            send(answer)
            done.append(answer)
            if not answer.passed:
                return _verdict(context, accepted=False, because=answer.because)
            if name == "layout":
                copied()
            elif name == "signature":
                _offer(context, send)
        return _accepted(context, tuple(done))
    except NoVerdict as e:
        return _verdict(context, accepted=False, because=str(e), no_verdict=e)


def _offer(context: Context, send: Send) -> None:
    """Reports that the copy may be read: it is what was signed, and a graph that can be run."""
    with suppress(OSError):  # it only saves time
        draft(context)
        send(Copied(context.digest, context.bytes))


def _timed(name: str, gate: Gate, context: Context) -> GateDone:
    start = perf_counter()
    try:
        answer = gate(context)
        if name == "load" and not answer.passed and context.candidate.memory_short and not room_for(context.bytes):
            raise MemoryError  # ONNX Runtime has many texts for it
    except (MemoryError, OutOfMemory):
        allowed = context.candidate.memory_bytes
        if context.candidate.memory_short:
            raise Hindered(f"cannot judge it: {name} needs more memory than the {size(allowed)} there is now") from None
        answer = GateAnswer(
            False, f"needs more memory than the {size(allowed)} allowed" if allowed else "out of memory"
        )
    seconds = round(perf_counter() - start, 4)
    return GateDone(name, answer.passed, seconds, printable(answer.because), answer.warning)


def _accepted(context: Context, done: tuple[GateDone, ...]) -> Judged:
    """After acceptance: makes an artifact of the copy."""
    try:
        complete(context, done)
    except OSError as e:
        raise Hindered(f"cannot keep the accepted version: {e.filename}: {e.strerror}") from e
    warnings = sum(answer.warning for answer in done)
    because = "all gates passed" + (f", {count(warnings, 'warning')}" if warnings else "")
    return _verdict(context, accepted=True, because=because)


def _verdict(context: Context, *, accepted: bool, because: str, no_verdict: NoVerdict | None = None) -> Judged:
    return Judged(
        accepted=accepted,
        because=printable(because),
        digest=context.digest,
        bytes=context.bytes,
        load_bytes=context.load_bytes,
        load_seconds=context.load_seconds,
        changing=no_verdict is not None and not isinstance(no_verdict, Hindered),
        hindered=isinstance(no_verdict, Hindered),
        incomplete=context.incomplete and not accepted,
        sequence=context.sequence,
    )
