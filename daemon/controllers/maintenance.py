"""Runs upkeep on its timer and for the operator: rotates logs, sweeps the disk, removes versions by
retention.

It decides only what must stay: all that is live, previous, held, serving or wanted, by the plan in models.retention.
Invariant: while the model root cannot be read, no version is removed.
"""

from __future__ import annotations

import asyncio
import errno
import os
import re
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from math import inf
from pathlib import Path

import structlog

from ...worker.shared.logs import FOLLOW_SECONDS
from ..answers.disk import DiskAnswer, DiskProgressAnswer, SweepAnswer
from ..answers.logs import LogsAnswer, LogTailAnswer, RotateAnswer
from ..config.load import Config
from ..errors import ModelwardError
from ..models.lifecycle import VersionState
from ..models.retention import Kept, reasons
from ..models.snapshot import Names, RootSeen
from ..models.unfinished_artifacts import UNFINISHED, UNFINISHED_FORM
from ..state.async_store import AsyncStore
from ..status.snapshot import UpkeepSeen
from ..system.background import here
from ..system.clock import Clock
from ..system.timer_thread import until_next
from ..upkeep.disk.directory_visitor import Keep
from ..upkeep.from_config import KEPT_BY_RETENTION
from ..upkeep.logs.forwarding import LogForwarding
from ..upkeep.service import Upkeep, retention_decides
from ..workers.registry import WorkerRegistry
from .activation import Activation
from .forms import Forms
from .log_downloads import LogDownloads
from .validation import Validation

REOPEN_SECONDS = 10.0
"""How long writers get to open their logs anew before what they wrote to is compressed all the same."""
OWN_LOGS = "the daemon"
"""The daemon's own files among the writers that are waited for."""
SOON_SECONDS = 1.0
COMMON_SECONDS = 60.0
"""Passes at least so frequent are made at common times."""
UPKEEP, FILES, FORWARDING = "disk-and-logs", "own-files", "log-forwarding"
"""The names of its tasks."""
FORWARD_SECONDS = 1.0
FIRST_SWEEP_SECONDS = 60.0
"""So long a start on a full disk waits for its first sweep; a longer one goes on beside."""
_FIGURE = re.compile(r"[0-9][0-9.,]*([KMGT]?i?B)?")


class Maintenance:
    """See the module. `reopen` has all our writers open their logs again and returns the names that will confirm it,
    OWN_LOGS among them. `trouble` are sentences for an alert; `last` is the report of the last sweep; the counts only
    grow.
    """

    def __init__(
        self,
        config: Callable[[], Config],
        clock: Clock,
        *,
        validation: Validation,
        forms: Forms,
        activation: Activation,
        registry: WorkerRegistry,
        async_store: AsyncStore,
        reopen: Callable[[], list[str]],
    ) -> None:
        self._config, self._clock, self._async_store, self._reopen = config, clock, async_store, reopen
        self._validation, self._forms, self._activation, self._registry = validation, forms, activation, registry
        self._log = structlog.get_logger("upkeep")
        self._owed: set[str] = set()
        self._answered = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._forward_task: asyncio.Task[None] | None = None
        self._begun = self._tidied = self._checked = False
        self._upkeep = Upkeep(config, clock, keep=self._keep, pids=self._pids, left_alone=self._left_alone)
        self.forwarding = LogForwarding(config, clock)
        self.downloads = LogDownloads(self._upkeep, clock)
        self._found: dict[str, tuple[str, ...]] = {}
        self.trouble: tuple[str, ...] = ()
        self.follow_own_logs: Callable[[], Awaitable[Sequence[str]]] = _nothing  # set by the program that opened them
        self.last: SweepAnswer | None = None
        self.sweeps = self.removed_files = self.removed_bytes = 0

    def start(self) -> None:
        """Begins, unless it has begun."""
        if not self._begun:
            self._begun = True
            self._tasks += [
                here().start(UPKEEP, self._run, restart=True, proved_seconds=inf),
                here().start(FILES, self._follow_files, restart=True, proved_seconds=inf),
            ]
            self._forward_task = here().start(FORWARDING, self._forward, restart=True, proved_seconds=inf)

    def snapshot(self) -> UpkeepSeen:
        """What sweeps have done until now."""
        return UpkeepSeen(self.trouble, self.last, self.sweeps, self.removed_files, self.removed_bytes)

    async def clock_trouble_now(self) -> str:
        """Why the wall clock is not trusted, "" while it is."""
        return await asyncio.to_thread(self.clock_trouble)

    def clock_trouble(self) -> str:
        """The same, on a thread: it reads the clocks and a small file."""
        return self._upkeep.clock_trouble()

    async def sweep_first(self) -> None:
        """When the disk is full at the start: sweeps before anything is served, then tries the state again."""
        self._log.warning("no room for the daemon's own files; sweeping first", because=self._async_store.problem)
        sweep = here().start("first sweep", self._sweep_once)
        self._tasks.append(sweep)
        await asyncio.wait([sweep], timeout=FIRST_SWEEP_SECONDS)

    async def with_room(self, make: Callable[[], Awaitable[None]]) -> None:
        """Calls `make`, which makes files. If there is no room, it sweeps and tries once more. Raises OSError."""
        try:
            await make()
        except OSError as e:
            if e.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            await self.sweep_first()
            await make()

    async def _sweep_once(self) -> None:
        try:
            self._swept(await self._upkeep.sweep())
        except (ModelwardError, OSError) as e:
            self._report("disk", (f"cannot sweep: {e}",))
        await self._async_store.check()

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=2.0)
        await asyncio.to_thread(self._upkeep.close)

    async def stop_forwarding(self) -> None:
        """Forwards what was logged until now and ends; call it when nothing more is logged, `stop` goes on without."""
        if self._forward_task is not None:
            self._forward_task.cancel()
            await asyncio.wait({self._forward_task}, timeout=1.0)
        if because := await asyncio.to_thread(self.forwarding.close):
            self._log.warning(because)

    async def _run(self) -> None:
        soon = False
        if not self._tidied:
            self._tidied = True  # once, whatever comes of it
            await self._upkeep.aside(self._upkeep.tidy)
        while True:
            await self._until_check(soon=soon)
            self._checked = True
            try:
                soon = await self._tick()
            except ModelwardError as e:
                soon = False
                self._report("round", (str(e),))
            except OSError as e:
                soon = False
                self._report("round", (f"cannot keep the disk in order: {e.strerror or e}",))
            else:
                self._report("round", ())
            here().works(UPKEEP)

    async def _until_check(self, *, soon: bool) -> None:
        """Until the next pass. Frequent ones, but for the first, are made when other tasks wake the process as well."""
        seconds = SOON_SECONDS if soon else self._config().disk.check
        common = self._checked and seconds <= COMMON_SECONDS
        await (self._rest(seconds) if common else asyncio.sleep(seconds))

    async def _rest(self, seconds: float) -> None:
        """Until the next multiple of `seconds`: tasks that rest together wake the process once."""
        await asyncio.sleep(until_next(self._clock.monotonic(), seconds))

    async def _follow_files(self) -> None:
        """Our own log files when nothing is logged: opened anew when another program took their name away.

        The state likewise, and when there was no room for it. While all is well it does so every second time: a file
        with new lines is checked by the write itself.
        """
        quiet = 0
        while True:
            await self._rest(FOLLOW_SECONDS)
            quiet = 0 if self._found.get("writing") or self._async_store.problem else quiet + 1
            if quiet % 2:
                continue
            trouble, _ = await asyncio.gather(self.follow_own_logs(), self._async_store.check())
            self._report("writing", tuple(trouble))
            here().works(FILES)

    async def _forward(self) -> None:
        """Passes our logs on where `logs.forward` asks for it."""
        while True:
            await self._rest(FORWARD_SECONDS if self.forwarding.wanted else FOLLOW_SECONDS)
            trouble = await self.forwarding.pass_on()
            self._report("forwarding", (trouble,) if trouble else ())
            here().works(FORWARDING)

    async def _tick(self) -> bool:
        """One pass over logs and disk; True when another should follow soon."""
        await self.rotate()
        done = await self._upkeep.sweep()
        self._swept(done)
        self._report("clock", (self._upkeep.clock_held,) if self._upkeep.clock_held else ())
        if self._async_store.no_room:
            await self._async_store.check()
        return done.more

    # requests of the operator

    async def disk(self, *, progress: bool = False) -> DiskAnswer | DiskProgressAnswer:
        return self._upkeep.progress() if progress else await self._upkeep.disk()

    async def sweep(self, *, dry_run: bool) -> SweepAnswer:
        done = await self._upkeep.sweep(dry_run=dry_run, by_hand=True)
        if not dry_run:
            self._swept(done)
        return done

    async def rotate(self, *, force: bool = False, dry_run: bool = False, file: str = "") -> RotateAnswer:
        """Rotates what is due. Archives of writers that reopen are compressed after all of them have."""
        rotate = partial(self._upkeep.rotate, force=force, dry_run=dry_run, file=file)
        done = await self._upkeep.aside(rotate)
        if done.tell_writers:
            await self._writers_reopened()
        if not dry_run:
            packed = await self._upkeep.pack(reopened=done.tell_writers)
            if not file:
                self._report("logs", (*done.trouble, *packed))
        if not dry_run and any(step.action in ("rotated", "dropped") for step in done.steps):
            self._async_store.note("rotated", "", "log files rotated", rotation=done)
        return done

    async def logs(self) -> LogsAnswer:
        return await self._upkeep.reading(partial(self._upkeep.logs, self._pids()))

    async def tail(self, name: str, lines: int) -> LogTailAnswer:
        return await self._upkeep.reading(partial(self._upkeep.tail, name, lines))

    # writers

    async def _writers_reopened(self) -> None:
        self._owed, self._answered = set(self._reopen()), asyncio.Event()
        deadline = self._clock.monotonic() + REOPEN_SECONDS
        while self._owed and self._clock.monotonic() < deadline:
            self._owed &= {OWN_LOGS, *(peer.name for peer in self._registry.peers())}
            if self._owed:
                self._answered.clear()
                try:
                    async with asyncio.timeout(1.0):
                        await self._answered.wait()
                except TimeoutError:
                    continue
        if self._owed:
            self._log.warning("writers did not open their logs anew", writers=", ".join(sorted(self._owed)))

    def reopened(self, worker: str) -> None:
        """A worker reported that it writes to the new files; OWN_LOGS: the daemon does."""
        self._owed.discard(worker)
        self._answered.set()

    # what must stay

    def _keep(self, rule: str) -> Keep:
        """What must stay now; any thread may call the result."""
        if rule in KEPT_BY_RETENTION and not isinstance(self._validation.sight, RootSeen):
            return lambda name: "the model root can't be read"
        if rule in KEPT_BY_RETENTION and self._async_store.unread:
            return lambda name: "the state can't be read: it may be held"
        if rule == "versions":
            kept = self._kept_versions()
            return lambda name: kept.get(name, "it is no version that was looked at")
        if rule == "compiled":
            return self._keep_compiled()
        return retention_decides(rule)

    def _left_alone(self) -> dict[str, str]:
        """Classes that are not swept, each with the reason: the model root, when it is not ours to clean."""
        sight = self._validation.sight
        if not isinstance(sight, RootSeen):
            return {}
        why = sight.linked.read_only
        if not why and sight.owner != os.geteuid():
            why = f"uid {sight.owner} owns it and we are uid {os.geteuid()}"
        return {"versions": f"{why}; its owner removes versions"} if why else {}

    def _kept_versions(self) -> dict[str, str]:
        """Every version, with the reason why it must stay; "" when it may go."""
        versions = [
            Kept(
                e.name,
                e.seen.bytes,
                e.seen.newest_ns / 1e9,
                e.arrived,
                busy=e.state not in (VersionState.ACCEPTED, VersionState.REJECTED),
            )
            for e in self._validation.catalog.entries()
        ]
        return reasons(versions, self._config().models.keep, self.protected(), self._clock.wall())

    def protected(self) -> dict[str, str]:
        """Names that stay whatever their age, each with its reason."""
        activation, position, sight = self._activation, self._activation.position, self._validation.sight
        found = dict.fromkeys(activation.held, "held")
        if position.previous:
            found[position.previous.name] = "it served before"
        if position.committed:
            found[position.committed.name] = "live"
        for name in filter(None, (activation.wanted, activation.choice.waiting[0])):
            found[name] = "wanted"
        if (rollout := activation.executor.current) is not None:
            found[rollout.target.version] = "being rolled out"
        for peer in self._registry.peers():
            if peer.serving:
                found[peer.serving] = f"{peer.name} serves it"
        if position.serving:
            found[position.serving.version] = "serving"
        if isinstance(sight, RootSeen) and isinstance(sight.link, Names):
            found[sight.link.version] = "live"
        if isinstance(sight, RootSeen) and sight.linked.read_only:
            found |= {seen.name: sight.linked.read_only for seen in sight.versions}
        return found

    def _keep_compiled(self) -> Keep:
        position, busy, compiling = self._activation.position, self._validation.busy, self._forms.busy
        in_use = {Path(peer.artifact).name for peer in self._registry.peers() if peer.artifact}
        in_use |= {Path(t.artifact).name for t in (position.serving, position.good) if t}
        wanted = {Path(e.verdict.artifact).name for e in self._validation.catalog.entries() if e.verdict}
        digests = {e.digest for e in self._validation.catalog.entries() if e.artifact}
        digests |= {self._validation.copy.digest} if self._validation.copy is not None else set()
        wanted |= {Path(a).name for digest in digests for a in self._forms.of_version(digest)}

        def why(name: str) -> str:
            if name.startswith(UNFINISHED_FORM):
                return "a compiler is at work" if compiling else ""
            if name.startswith(UNFINISHED):
                return "a validator is at work" if busy else ""
            if name in in_use:
                return "a worker maps it, or would"
            return "its version is there" if name in wanted else ""

        return why

    def _pids(self) -> list[int]:
        return [os.getpid(), *(peer.pid for peer in self._registry.peers() if not peer.attached)]

    def _swept(self, done: SweepAnswer) -> None:
        trouble = tuple(done.trouble)
        if done.resting:  # the disk was not read: its trouble stays
            trouble += tuple(s for s in self._found.get("disk", ()) if s not in trouble)
        self._report("disk", trouble)
        self.last = done
        self.sweeps += 1
        self.removed_files += done.removed.files
        self.removed_bytes += done.removed.bytes
        if any(row.removed for row in done.classes):
            self._async_store.note("sweep", "", "disk swept", classes=done.classes)

    def _report(self, part: str, trouble: tuple[str, ...]) -> None:
        """What is wrong with one part of upkeep now; what is new is logged and becomes an alert."""
        known = set(map(_without_figures, self.trouble))
        trouble = tuple(dict.fromkeys(trouble))
        for sentence in trouble:
            if _without_figures(sentence) not in known:
                self._log.error("upkeep in trouble", because=sentence)
                self._async_store.note("upkeep-trouble", "", sentence)
        self._found[part] = trouble
        self.trouble = tuple(dict.fromkeys(sentence for found in self._found.values() for sentence in found))


async def _nothing() -> Sequence[str]:
    return ()


def _without_figures(sentence: str) -> str:
    """The sentence without its numbers, to recognise it again."""
    return _FIGURE.sub("#", sentence)
