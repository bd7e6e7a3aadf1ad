"""Runs one compiler: a child that makes the forms of one version. It can be paused, and is killed when it hangs.

The child may crash, hang, flood or report what is not true. So its processor time, its output and its messages are
limited. No report about a form is trusted: each form is handed to `publish`, which checks it before it is kept.
Invariant: when `wait` returns, the child is gone, and every form that it reported is kept or refused.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final, Literal, Protocol

import msgspec
from msgspec import Struct, field

from ...worker import child_protocol, protocol
from ...worker.shared.artifact import BadArtifact
from ...worker.shared.started import awaited
from ..system.background import reader
from ..system.safe_read import kernel_text
from .validator_process import Chunks
from .validator_process import ValidatorChild as Started

MODULE: Final = "modelward.worker.compile"
MAX_OUTPUT_BYTES: Final = 1 << 20
MAX_RECIPE_BYTES: Final = 16 << 10
MAX_WORDS: Final = 600
DRAIN_SECONDS: Final = 1.0
KILL_SECONDS: Final = 10.0
"""How long the end of a killed child is waited for: one that hangs in the kernel does not end."""
PUBLISH_SECONDS: Final = 120.0
"""How long the last form's way into its place is waited for: a disk that hangs does not end."""
TICKS: Final = os.sysconf("SC_CLK_TCK")


class CompilerChild(Started, Protocol):
    """A started compiler: a validator's child that also has a pid and takes signals. `system.processes.ChildProcess` is
    one.
    """

    pid: int

    def signal(self, number: signal.Signals) -> bool: ...


class SpawnSignalled(Protocol):
    """Starts such a child; `system.processes.spawn` does. Raises OSError when the system cannot start a process."""

    def __call__(
        self, argv: Sequence[str], *, name: str, stdin: bytes | None = None, stdout: Literal["pipe"] | None = None
    ) -> CompilerChild: ...


class CompilerReport(Struct):
    """What the child reported. `refused`: stage → (reason, whether to try again); `learned`: key → recipe.

    `reported` are the stages that the child reports as made; `made` are those that were checked and kept.
    """

    stage: str = ""
    progress: str = ""
    reported: set[str] = field(default_factory=set)
    made: dict[str, str] = field(default_factory=dict)
    refused: dict[str, tuple[str, bool]] = field(default_factory=dict)
    learned: dict[str, dict[str, Any]] = field(default_factory=dict)
    done: bool = False
    wrong: str = ""
    lines: int = 0


class Compilation:
    """See the module. `happened` is called after each report, and after each form that was kept.

    `publish` checks and keeps the form of a stage, on a thread; it raises BadArtifact, OSError. The constructor raises
    OSError, ValueError.
    """

    def __init__(
        self,
        request: child_protocol.FormRequest,
        spawn: SpawnSignalled,
        argv: Sequence[str],
        *,
        version: str,
        publish: Callable[[str], object],
        happened: Callable[[], None] = lambda: None,
    ) -> None:
        self.request, self.version, self.report, self.because = request, version, CompilerReport(), ""
        self.paused = self._aside = False
        self._killed = asyncio.Event()
        self._happened, self._publish = happened, publish
        self._reported: asyncio.Queue[child_protocol.FormMade | None] = asyncio.Queue()  # one a stage, at most
        message = msgspec.json.encode(request) + b"\n"
        self._child = spawn(argv, name=f"compiler of {version}", stdin=message, stdout="pipe")
        self._reading = reader(self._read_output(), "the compiler")
        self._publishing = reader(self._keep_forms(), "compiled forms")

    @property
    def pid(self) -> int:
        return self._child.pid

    def keep(self, state: Literal["running", "paused"]) -> None:
        """Sets this state. It may be repeated: another program may have sent the child a signal."""
        self.paused = state == "paused"
        self._signal()

    def stand_aside(self, aside: bool) -> None:
        """Stops it for a moment, or lets it continue unless it is paused."""
        if aside != self._aside:
            self._aside = aside
            self._signal()

    def _signal(self) -> None:
        self._child.signal(signal.SIGSTOP if self.paused or self._aside else signal.SIGCONT)

    def end(self, because: str) -> None:
        """Kills it; `wait` returns soon."""
        self.because = self.because or because
        self._kill()

    def _kill(self) -> None:
        self._child.kill_group()
        self._killed.set()

    async def wait(self) -> str:
        """Returns after its end: why it failed, "" when every stage was made or refused.

        When cancelled, it kills the child before it raises.
        """
        try:
            status = await self._wait_for_end()
            with suppress(TimeoutError):
                async with asyncio.timeout(DRAIN_SECONDS):
                    await asyncio.wait({self._reading})
            if self._reading.done():
                self._reading.result()
            self._reported.put_nowait(None)
            await asyncio.wait({self._publishing}, timeout=PUBLISH_SECONDS)
            if self._publishing.done():
                self._publishing.result()
            else:
                self.because = self.because or "cannot keep what it made: the disk does not answer"
        finally:
            self._child.kill_group()
            for task in (self._reading, self._publishing):
                task.cancel()
            await asyncio.wait({self._reading, self._publishing})
            self._child.close()
        if self.because or self.report.wrong:
            return self.because or self.report.wrong
        return "" if status == 0 and self.report.done else _ended(status)

    async def _wait_for_end(self) -> int | None:
        """Waits for the child's end and returns its exit status. After a kill it waits at most KILL_SECONDS: None is
        returned for a child that hangs in the kernel.
        """
        ending, killed = awaited(self._child.wait(), "end of the compiler"), awaited(self._killed.wait(), "killed")
        try:
            await asyncio.wait({ending, killed}, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait({ending}, timeout=KILL_SECONDS)
            return ending.result() if ending.done() else None
        finally:
            ending.cancel()
            killed.cancel()

    def usage(self) -> ProcessorUsage | None:
        """What the child used until now; None once it is gone. Reads small files of /proc."""
        return usage(self._child.pid)

    async def _keep_forms(self) -> None:
        """Has each reported form checked and kept, one after another, until the last."""
        while (message := await self._reported.get()) is not None:
            try:
                await asyncio.to_thread(self._publish, message.stage)
                self.report.made[message.stage] = message.because[:MAX_WORDS]
            except BadArtifact as e:
                self.report.refused[message.stage] = (f"cannot keep the form {message.stage}: {e}", True)
            except OSError as e:
                because = f"cannot keep the form {message.stage}: {e.filename}: {e.strerror}"
                self.report.refused[message.stage] = (because, True)
            self._happened()

    async def _read_output(self) -> None:
        lines, total = protocol.Lines(), 0
        async for data in Chunks(self._child.stdout_fd):
            total += len(data)
            try:
                if total > MAX_OUTPUT_BYTES:
                    raise protocol.BadMessage(f"the compiler wrote more than {MAX_OUTPUT_BYTES} bytes")
                for line in lines.feed(data):
                    self._receive(child_protocol.decode_from_compiler(line))
            except protocol.BadMessage as e:
                self.report.wrong = f"the compiler cannot be understood: {e}"
                self._kill()
                return
            except Exception:
                self._kill()  # no one reads its output any more
                raise
            self._happened()

    def _receive(self, message: child_protocol.FromCompiler) -> None:
        report = self.report
        if report.done:
            raise protocol.BadMessage("it went on after its last line")
        report.lines += 1
        match message:
            case child_protocol.FormStarted(stage):
                report.stage, report.progress = _requested(stage, self.request), ""
            case child_protocol.FormProgress(because):
                report.progress = because[:MAX_WORDS]
            case child_protocol.FormMade(stage):
                if _requested(stage, self.request) in report.reported:
                    raise protocol.BadMessage(f"it made the stage {stage} twice")
                report.reported.add(stage)
                self._reported.put_nowait(message)
            case child_protocol.FormRefused(stage, because, again):
                report.refused[_requested(stage, self.request)] = (because[:MAX_WORDS], again)
            case child_protocol.FormLearned(key, recipe):
                if len(report.learned) >= 2 or len(key) > 64 or len(msgspec.json.encode(recipe)) > MAX_RECIPE_BYTES:
                    raise protocol.BadMessage("it learned more than can be kept")
                report.learned[key] = recipe
            case child_protocol.FormsDone():
                report.done = True


def _requested(stage: str, request: child_protocol.FormRequest) -> str:
    if stage not in request.stages:
        raise protocol.BadMessage(f"nobody asked for the stage {stage[:40]!r}")
    return stage


def _ended(status: int | None) -> str:
    if status is not None and status < 0:
        number = -status
        name = signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"
        hint = " (out of memory, perhaps)" if number == signal.SIGKILL else ""
        hint = " (its processor time is used up)" if number == signal.SIGXCPU else hint
        return f"the compiler died of {name}{hint}"
    return f"the compiler ended with status {status} before it was done"


class ProcessorUsage(Struct, frozen=True):
    """Processor seconds of a process until now; `eager`: a thread of it runs, or waits for its turn or the disk."""

    cpu_seconds: float
    eager: bool


def usage(pid: int) -> ProcessorUsage | None:
    """What a process used; None when it is gone. Reads small files of /proc."""
    try:
        threads = os.listdir(f"/proc/{pid}/task")
        cpu, eager = 0, False
        for thread in threads:
            fields = kernel_text(f"/proc/{pid}/task/{thread}/stat").rpartition(") ")[2].split()
            eager = eager or fields[0] in ("R", "D")
        fields = kernel_text(f"/proc/{pid}/stat").rpartition(") ")[2].split()
        cpu = int(fields[11]) + int(fields[12])
        return ProcessorUsage(cpu / TICKS, eager)
    except (OSError, ValueError, IndexError):
        return None
