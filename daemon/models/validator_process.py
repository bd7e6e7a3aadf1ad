"""Has a child process validate a version, and turns its result, or its failure, into a verdict.

The child writes to a directory that is made for it; what it accepted is checked there and renamed into place here. The
child may crash, hang, flood or report what is not true: its time, its output and its messages are limited. Only a
correct last line and exit status 0 accept a version.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final, Literal, Protocol

import msgspec
from msgspec import Struct, field
from msgspec.structs import replace

from ...worker import child_protocol, protocol
from ...worker.shared import process_readings
from ...worker.shared.artifact import BadArtifact
from ...worker.shared.progress import (
    Allowance,
    LimitReached,
    Spent,
    after,
    begin,
    over,
    scale,
)
from ...worker.shared.started import awaited
from ..system.background import reader
from ..system.clock import Clock, rfc3339
from . import verdict as v
from .child_directory import FOR_VALIDATOR, NoDirectory, child_directory
from .publish_artifact import publish_version

MODULE: Final = "modelward.worker.validate"
COULD_NOT: Final = 1
"""Its exit status when it could give no verdict: whatever a version does to it becomes one."""
MAX_OUTPUT_BYTES: Final = 1 << 20
MAX_GATES: Final = 100
GRACE_SECONDS: Final = 1.0
"""What the child gets beyond its limit, to report itself which gate took too long."""
CPU_TIMES: Final = 20.0
"""So many times its time the child may use in CPU time, before the daemon ends it. It measures the machine and ends
itself far sooner."""
LOOKS: Final = 20
"""So many readings of the child in the shortest time that is allowed without progress."""
LONGEST_SECONDS: Final = 1.0
SHORTEST_SECONDS: Final = 0.05
KILL_SECONDS: Final = 10.0
"""How long the end of a killed child is waited for: one that hangs in the kernel does not end."""
DRAIN_SECONDS: Final = 1.0
"""How long its output is still read once it ended: something that it left behind may hold the pipe open."""

Progress = Callable[[child_protocol.GateStarted | child_protocol.GateDone], None]
Copied = Callable[[Path, child_protocol.Copied], None]


class ValidatorChild(Protocol):
    """A started validator; `system.processes.ChildProcess` is one."""

    @property
    def pid(self) -> int: ...
    @property
    def stdout_fd(self) -> int: ...
    async def wait(self) -> int | None: ...
    def kill_group(self) -> None: ...
    def close(self) -> None: ...


class SpawnChild(Protocol):
    """Starts such a child; `system.processes.spawn` does. Raises OSError when the system cannot start a process."""

    def __call__(
        self, argv: Sequence[str], *, name: str, stdin: bytes | None = None, stdout: Literal["pipe"] | None = None
    ) -> ValidatorChild: ...


class CannotStart(Exception):
    """No validator could be started. Nothing is known about the version; it is tried again later."""


class _ValidatorReport(Struct):
    """What the child reported so far, and the functions that get it at once."""

    progress: Progress
    copied: Callable[[child_protocol.Copied], None]
    gates: list[v.GateResult] = field(default_factory=list)
    open_gate: str = ""
    opened: float = 0.0
    last: child_protocol.Judged | None = None
    wrong: str = ""
    hindered: str = ""


async def validate(
    candidate: child_protocol.Candidate,
    spawn: SpawnChild,
    *,
    root: Path,
    argv: Sequence[str],
    clock: Clock,
    progress: Progress = lambda message: None,
    copied: Copied = lambda directory, message: None,
    stands: Callable[[float], None] = lambda still_seconds: None,
) -> v.Answer:
    """Validates one version. When this returns, the copy of an accepted one is below `root`.

    `argv` starts the validator (`processes.python(MODULE)`), which reads `candidate` on stdin and has its own directory
    below `root`.

    `candidate.timeout_seconds` limits how long the child may make no progress and, in proportion to its work, its CPU
    time (0: no limit); see `worker.progress`. `stands` is called at intervals with the seconds without progress.
    `copied` is called once, with the directory, when the copy of the version is complete. If another program killed the
    child, it is started once more. Raises CannotStart when no child or no directory could be had. When cancelled, it
    kills the child and its group before it raises.
    """
    attempt = 1
    while True:
        try:
            async with child_directory(root, FOR_VALIDATOR) as directory:
                report = _ValidatorReport(progress, partial(copied, directory), opened=clock.monotonic())
                given = msgspec.structs.replace(candidate, directory=str(directory))
                status = await _judge_once(given, spawn, argv, clock, report, stands)
                answered = bool(report.wrong or report.hindered) or report.last is not None
                if not v.judge_again(status, answered=answered, attempt=attempt):
                    seconds = clock.monotonic() - report.opened
                    answer = _verdict(report, status, attempt, seconds, rfc3339(clock.wall()))
                    return await asyncio.to_thread(_kept, answer, directory, root, candidate)
        except NoDirectory as e:
            raise CannotStart(f"cannot start a validator: {e}") from e
        attempt += 1


def _kept(answer: v.Answer, directory: Path, root: Path, candidate: child_protocol.Candidate) -> v.Answer:
    """The answer once an accepted version is in its place; none of it is held against the version."""
    if not isinstance(answer, v.Verdict) or not answer.accepted:
        return answer
    try:
        place = publish_version(directory, root, candidate.version, answer.digest, candidate.kind)
    except BadArtifact as e:
        return v.NotJudged(f"cannot keep the accepted version: {e}")
    except OSError as e:
        return v.NotJudged(f"cannot keep the accepted version: {e.filename}: {e.strerror}")
    return replace(answer, artifact=str(place))


async def _judge_once(
    candidate: child_protocol.Candidate,
    spawn: SpawnChild,
    argv: Sequence[str],
    clock: Clock,
    report: _ValidatorReport,
    stands: Callable[[float], None],
) -> int | None:
    """One child's exit status; what it reported is in `report` then. Raises CannotStart."""
    try:
        told = msgspec.json.encode(candidate) + b"\n"
        child = spawn(argv, name=f"validator of {candidate.version}", stdin=told, stdout="pipe")
    except (OSError, ValueError) as e:
        raise CannotStart(f"cannot start a validator: {e}") from e
    status = None
    reading = reader(_read_output(child, report, clock), "the validator")
    waiting = awaited(child.wait(), "wait for the validator")
    try:
        if end := await _patient(child, waiting, candidate, stands):
            child.kill_group()
            await asyncio.wait({waiting}, timeout=KILL_SECONDS)
            if end.own:
                report.wrong = report.wrong or end.because
            else:
                report.hindered = end.because
        status = waiting.result() if waiting.done() else None
        async with asyncio.timeout(DRAIN_SECONDS):
            await reading
    except TimeoutError:
        pass  # what it reported until now counts
    finally:
        child.kill_group()
        reading.cancel()
        waiting.cancel()
        await asyncio.wait({reading, waiting})
        child.close()
    return status


async def _patient(
    child: ValidatorChild,
    waiting: asyncio.Task[int | None],
    candidate: child_protocol.Candidate,
    stands: Callable[[float], None],
) -> LimitReached | None:
    """Waits for the child's end; returns the limit that it reached when it has to be killed."""
    seconds = candidate.timeout_seconds
    if seconds <= 0:
        await asyncio.wait({waiting})
        return None
    size = await asyncio.to_thread(process_readings.size_of, candidate.path)
    cpu_seconds = CPU_TIMES * max(1, candidate.threads) * seconds * scale(size)
    allowance = Allowance(seconds + GRACE_SECONDS, cpu_seconds)
    period = min(LONGEST_SECONDS, max(SHORTEST_SECONDS, seconds / LOOKS))
    spent: Spent | None = None
    while not (await asyncio.wait({waiting}, timeout=period))[0]:
        if (reading := await asyncio.to_thread(process_readings.read, child.pid)) is None:
            continue  # it ends
        spent = begin(reading) if spent is None else after(spent, reading, 3 * period)
        stands(spent.still_seconds)
        if end := over(spent, allowance):
            return end
    return None


def _verdict(report: _ValidatorReport, status: int | None, attempts: int, seconds: float, at: str) -> v.Answer:
    if report.hindered:
        gate = f"gate {report.open_gate}: " if report.open_gate else ""
        return v.NotJudged(f"{gate}{report.hindered}")
    if report.wrong:
        return v.broken(report.open_gate, report.wrong, report.gates, seconds, at)
    if report.last is not None and (status == 0 or not report.last.accepted):
        return v.judged(report.last, report.gates, at)
    if status == -signal.SIGKILL or (status == COULD_NOT and report.last is None):
        gate = f"gate {report.open_gate}: " if report.open_gate else ""
        return v.NotJudged(f"{gate}{_ended(status, attempts)}")
    return v.broken(report.open_gate, _ended(status, attempts), report.gates, seconds, at)


def _ended(status: int | None, attempts: int) -> str:
    if status is not None and status < 0:
        number = -status
        name = signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"
        hint = " (out of memory, perhaps)" if number == signal.SIGKILL else ""
        again = f", {attempts} times" if attempts > 1 else ""
        return f"the validator died of {name}{again}{hint}"
    return f"the validator ended with status {status} and no verdict"


async def _read_output(child: ValidatorChild, report: _ValidatorReport, clock: Clock) -> None:
    """Reads the child's lines until its output ends or a line is wrong."""
    lines, total = protocol.Lines(), 0
    async for data in Chunks(child.stdout_fd):
        total += len(data)
        try:
            if total > MAX_OUTPUT_BYTES:
                raise protocol.BadMessage(f"the validator wrote more than {MAX_OUTPUT_BYTES} bytes")
            for line in lines.feed(data):
                _receive(child_protocol.decode_from_validator(line), report, clock)
        except protocol.BadMessage as e:
            report.wrong = f"the validator cannot be understood: {e}"
            child.kill_group()
            return
        except Exception:
            child.kill_group()  # no one reads its output any more
            raise


def _receive(message: child_protocol.FromValidator, report: _ValidatorReport, clock: Clock) -> None:
    if report.last is not None:
        raise protocol.BadMessage("it went on after its verdict")
    if isinstance(message, child_protocol.Judged):
        report.last = message
        return
    if isinstance(message, child_protocol.Copied):
        report.copied(message)
        return
    if isinstance(message, child_protocol.GateStarted):
        report.open_gate, report.opened = message.gate, clock.monotonic()
    else:
        if len(report.gates) >= MAX_GATES:
            raise protocol.BadMessage(f"more than {MAX_GATES} gates")
        report.gates.append(v.gate_from(message))
        report.open_gate, report.opened = "", clock.monotonic()
    report.progress(message)


class Chunks:
    """What a non-blocking descriptor yields, as it comes, until its end."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def __aiter__(self) -> Chunks:
        return self

    async def __anext__(self) -> bytes:
        loop = asyncio.get_running_loop()
        while True:
            with suppress(BlockingIOError):
                data = os.read(self._fd, protocol.MAX_MESSAGE_BYTES)
                if not data:
                    raise StopAsyncIteration
                return data
            ready: asyncio.Future[None] = loop.create_future()
            loop.add_reader(self._fd, _set, ready)
            try:
                await ready
            finally:
                loop.remove_reader(self._fd)


def _set(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)
