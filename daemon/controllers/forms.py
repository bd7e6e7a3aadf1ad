"""Has compiled forms made of the versions that serve or will, one child at a time; knows which form workers are to
load.

Level-triggered: it reads the disk each time, and that is the truth. A report or a restart only causes another reading.
It decides nothing about versions. Invariant: a compiler or a form that fails changes no version, verdict or service.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

import structlog
from msgspec import Struct
from msgspec.structs import replace

from ...worker.child_protocol import FormRequest
from ..config.load import Config
from ..models import form_files, form_plan
from ..models import form_record as kept
from ..models.child_directory import FOR_COMPILER, child_directory
from ..models.compiler_process import MODULE, Compilation
from ..models.form_pace import CompilerLimits, limits_for
from ..models.form_plan import Form, WantedForm
from ..models.publish_artifact import publish_form
from ..models.unfinished_artifacts import remove_form
from ..state.async_store import AsyncStore, CannotKeep
from ..system.available_memory import available_bytes, capacity
from ..system.background import here
from ..system.clock import Clock
from ..system.processes import python, spawn
from ..units import size
from ..workers.settings_of_config import shared_dir
from .child_requests import form_request
from .child_work import ChildWork
from .form_watch import FormWatch

TICK_SECONDS: Final = 1.0
RETRY_SECONDS: Final = (5.0, 15.0, 60.0, 300.0, 1800.0, 21600.0)
NOT_WANTED: Final = "it is not wanted now"
BROKE: Final = "it ended by an error in the daemon, which is in the log"


class _Failure(Struct):
    """The failures in a row to make one version's forms: their number, the last reason, and when to try again
    (monotonic).
    """

    count: int = 0
    because: str = ""
    not_before: float = 0.0


class Forms:
    """See the module. `happened` is called when another round is needed.

    `pids` are the workers' processes; `argv` starts a compiler; `limits` replaces the limits of a compiler.
    """

    def __init__(
        self,
        config: Callable[[], Config],
        *,
        clock: Clock,
        async_store: AsyncStore,
        happened: Callable[[], None],
        pids: Callable[[], Iterable[int]] = tuple,
        argv: Sequence[str] | None = None,
        limits: CompilerLimits | None = None,
    ) -> None:
        self._config, self._clock, self._async_store, self._happened = config, clock, async_store, happened
        self._pids, self._argv, self._limits = pids, argv or python(MODULE), limits
        self._log = structlog.get_logger("forms")
        self._disk = form_files.FormsFound()
        self._state = kept.FormState()
        self._failures: dict[str, _Failure] = {}
        self._waiting_since: dict[str, float] = {}
        self._work = ChildWork(config, self._log, forms=True)
        self._at_work: Compilation | None = None
        self._wanted: WantedForm | None = None
        self._watch: FormWatch | None = None
        self._early = self._because = ""
        self._began = 0.0

    async def start(self) -> None:
        """Loads what a former daemon learned. Raises CannotKeep."""
        self._state = kept.read(await self._async_store.do(lambda store: store.fact(kept.FACT)))
        await self._work.remove_unfinished()

    async def stop(self) -> None:
        """Ends a compiler that is running; the forms that it finished are used after the next start."""
        await self._work.stop()

    @property
    def root(self) -> Path:
        return self._work.root

    @property
    def busy(self) -> bool:
        return self._work.busy

    # what there is

    async def read_disk(self, digests: Iterable[str]) -> None:
        """Reads the disk; `digests` are those whose forms may be made."""
        level, wanted = self._config().validation.compile, tuple(set(digests))
        self._disk = await asyncio.to_thread(form_files.read_forms, self.root, level, wanted)

    def best(self, version: str, digest: str) -> Form | None:
        """The form that workers are to load; None when there is none, not even the version as it came."""
        return form_plan.best(self._disk.forms, version, digest, self._level(), self._state.refused)

    def of(self, artifact: str) -> Form | None:
        """The form in this directory; None when it is missing or not whole."""
        return next((form for form in self._disk.forms if form.artifact == artifact), None)

    def keys(self, digest: str) -> Mapping[str, str]:
        """For each stage, the key of its form of these bytes on this machine; {} before the disk was read for them."""
        return self._disk.keys.get(digest, {})

    def permitted(self, form: Form) -> bool:
        """Whether workers may load this form."""
        return form_plan.permitted(form, self._level(), self._state.refused)

    def of_version(self, digest: str) -> tuple[str, ...]:
        """The directories of all forms of these bytes."""
        return tuple(form.artifact for form in self._disk.forms if digest and form.digest == digest)

    async def tidy(self, in_use: Iterable[str]) -> None:
        """Removes forms that no worker will load again: a better one is used, or they failed."""
        gone = form_plan.superseded(
            self._disk.forms, self._level(), self._state.refused, set(in_use), self._disk.keys.keys()
        )
        for artifact, because in gone.items():
            self._log.info("compiled form removed", form=Path(artifact).name, because=because)
            await asyncio.to_thread(remove_form, artifact)
        if gone:
            forms = tuple(form for form in self._disk.forms if form.artifact not in gone)
            self._disk = form_files.FormsFound(forms, self._disk.keys)

    def _level(self) -> str:
        return self._config().validation.compile

    def _missing(self, version: str, digest: str, copy: str = "") -> tuple[str, ...]:
        keys = self._disk.keys.get(digest)
        there = copy or any((f.version, f.digest) == (version, digest) for f in self._disk.forms)
        if keys is None or not there:
            return ()
        return form_plan.missing(self._disk.forms, version, digest, self._level(), keys, self._state.refused)

    # waiting for a form

    def waits(self, version: str, digest: str, serving: str, judged_seconds: float) -> str:
        """What the version waits for before workers move to it from the artifact `serving`; "" when it goes now."""
        failure = self._failures.get(digest)
        stages = () if failure is not None and failure.count > 1 else self._missing(version, digest)
        now = self._clock.monotonic()
        since = self._waiting_since.get(digest, now)
        most = form_plan.wait_seconds(self._state.seconds, judged_seconds)
        because = form_plan.waits(self._in_use(serving), self.best(version, digest), stages, now - since, most)
        if because:
            self._waiting_since = {digest: since}  # of one version at a time
        return because

    def waiting(self, digest: str) -> bool:
        """Whether this version waits for its form."""
        return digest in self._waiting_since

    def only(self, digest: str) -> None:
        """Ends the wait of all other versions."""
        self._waiting_since = {key: since for key, since in self._waiting_since.items() if key == digest}

    def early(self, serving: str) -> bool:
        """Whether a version that takes the place of the artifact `serving` will wait for its form."""
        form = self._in_use(serving)
        return form is not None and form.rank > 0

    def began_early(self, digest: str) -> bool:
        """Whether the running compiler works on these bytes and began during their validation."""
        return self._wanted is not None and bool(self._wanted.copy) and self._wanted.digest == digest

    def _in_use(self, artifact: str) -> Form | None:
        form = self.of(artifact)
        return form if form is not None and form.usable and self._level() != "off" else None

    # making them

    def ensure(self, order: Sequence[WantedForm], judged_seconds: Callable[[str, str], float]) -> None:
        """Starts a compiler for the first in `order` that lacks a form, unless one is running."""
        now = self._clock.monotonic()
        due = [
            (wanted, stages)
            for wanted in sorted(order, key=lambda w: not w.urgent)
            if (stages := self._missing(wanted.version, wanted.digest, wanted.copy))
        ]
        if self._at_work is not None:
            self._retarget(order, due)
            return
        if self.busy:
            return
        for wanted, stages in due:
            failure = self._failures.get(wanted.digest)
            if failure is not None and now < failure.not_before:
                continue
            if wanted.copy and wanted.copy == self._early:
                continue  # once; it is tried again when the version is accepted
            plain = form_plan.source(self._disk.forms, wanted)
            if plain is None:
                continue
            self._early = wanted.copy
            self._wanted = wanted
            self._began, self._because = now, BROKE
            seconds = judged_seconds(wanted.version, wanted.digest)
            self._work.start(
                "compile", partial(self._make, wanted, plain, stages, seconds), partial(self._over, wanted)
            )
            return

    def next_due(self) -> float | None:
        """When a compilation that failed may be tried again, or a wait ends, monotonic seconds."""
        now = self._clock.monotonic()
        moments = [f.not_before for f in self._failures.values() if f.not_before > now and not self.busy]
        moments += [now + TICK_SECONDS for _ in self._waiting_since]
        return min(moments, default=None)

    def _retarget(self, order: Sequence[WantedForm], due: Sequence[tuple[WantedForm, tuple[str, ...]]]) -> None:
        """The running compiler continues unless its form is no longer wanted, or another version waits for one."""
        work, wanted = self._at_work, self._wanted
        assert work is not None and wanted is not None
        same = [w for w in order if (w.version, w.digest) == (wanted.version, wanted.digest)]
        if not same or work.request.level != self._level():
            work.end(NOT_WANTED)
            return
        self._wanted = replace(same[0], copy=wanted.copy)
        first = due[0][0] if due else same[0]
        if first.urgent and first.digest != wanted.digest:
            work.end(f"{NOT_WANTED}: {first.version} waits for its form")

    async def _make(self, wanted: WantedForm, plain: Form, stages: tuple[str, ...], judged_seconds: float) -> None:
        """One compilation, from its start to the record of its result; `_because` is then why it failed, or ""."""
        try:
            await self._work.remove_unfinished()
            config = self._config()
            limits = self._limits or limits_for(config.validation.timeout, config.workers.threads, judged_seconds)
            here, available = await asyncio.to_thread(lambda: (capacity(), available_bytes()))
            if available is not None and available < limits.reserve_bytes + form_plan.memory_bytes(plain, wanted):
                self._because = f"memory is short: {size(available)} are available"
                return
            async with child_directory(self.root, FOR_COMPILER) as directory:
                request = await asyncio.to_thread(
                    form_request,
                    config,
                    plain.artifact,
                    self.root,
                    directory,
                    stages,
                    capacity=here,
                    available_bytes=available,
                    cpu_seconds=int(limits.cpu_seconds),
                    urgent=wanted.urgent,
                    learned=self._state.learned,
                )
                work, because = await self._run(request, wanted, limits)
            self._because = await self._found(work, wanted, because)
        except (OSError, ValueError) as e:
            self._because = f"cannot start a compiler: {e}"

    def _over(self, wanted: WantedForm, task: asyncio.Task[None]) -> None:
        """The compilation ended in some way: another may begin."""
        early = self._wanted is not None and self._wanted.copy and not self._known(wanted)
        self._at_work = self._wanted = self._watch = None
        self._after(wanted, NOT_WANTED if task.cancelled() else self._because, early=bool(early))
        self._happened()

    async def _run(self, request: FormRequest, wanted: WantedForm, limits: CompilerLimits) -> tuple[Compilation, str]:
        """Runs one child to its end. Returns why it failed, "" when it did not."""
        self._log.info("compiling", version=wanted.version, stages=", ".join(request.stages))
        put = partial(publish_form, request, wanted.version, wanted.digest)
        name, happened = wanted.version, self._happened
        work = Compilation(request, spawn, self._argv, version=name, publish=put, happened=happened)
        self._at_work = work
        self._watch = FormWatch(
            work,
            limits,
            clock=self._clock,
            pids=self._pids,
            slots=shared_dir(self._config()),
            urgent=lambda: self._wanted is not None and self._wanted.urgent,
        )
        watching = here().start("watch the compiler", partial(self._watched, self._watch, work))
        try:
            return work, await work.wait()
        finally:
            watching.cancel()
            await asyncio.wait({watching})

    async def _watched(self, watch: FormWatch, work: Compilation) -> None:
        try:
            await watch.run()
        except BaseException:
            work.end("it could not be watched")
            raise

    async def _found(self, work: Compilation, wanted: WantedForm, because: str) -> str:
        """Why a requested form is missing, "" when none is; `because` is why the child failed."""
        await self.read_disk([wanted.digest])
        await self._learn(work, wanted)
        left = self._missing(wanted.version, wanted.digest)
        for stage, (reason, again) in work.report.refused.items():
            if again and stage in left:
                because = because or reason
        if not because and left:
            because = f"it reported the form {left[0]} and there is none"
        return because

    def _known(self, wanted: WantedForm) -> bool:
        """Whether the accepted version is in the artifact root."""
        return form_plan.plain(self._disk.forms, wanted.version, wanted.digest) is not None

    def _after(self, wanted: WantedForm, because: str, *, early: bool) -> None:
        """Records success or failure; a failure does not count against the version. `early`: it is not accepted yet."""
        if not because:
            self._failures.pop(wanted.digest, None)
            return
        if early or because.startswith(NOT_WANTED):
            self._log.info("compiler ended", version=wanted.version, because=because)
            return
        failure = self._failures.setdefault(wanted.digest, _Failure())
        delay = RETRY_SECONDS[min(failure.count, len(RETRY_SECONDS) - 1)]
        failure.count, failure.because = failure.count + 1, because
        failure.not_before = self._clock.monotonic() + delay
        text = f"{because}; it is served as it came or in the form that is there, tried again in {delay:.0f} s"
        self._log.warning("no compiled form", version=wanted.version, because=text)
        if failure.count == 1:
            self._async_store.note("form-failed", wanted.version, text)
        while len(self._failures) > kept.MAX_REFUSED:
            del self._failures[next(iter(self._failures))]

    async def _learn(self, work: Compilation, wanted: WantedForm) -> None:
        """Stores what the child reported: recipes, forms that cannot be made, how long it took."""
        report, keys = work.report, self.keys(wanted.digest)
        refused = {keys[stage]: text for stage, (text, again) in report.refused.items() if not again and stage in keys}
        left = self._missing(wanted.version, wanted.digest)
        refused = {key: text for key, text in refused.items() if key in {keys[stage] for stage in left}}
        for stage, text in report.made.items():
            if stage not in left:
                self._log.info("compiled", version=wanted.version, stage=stage, because=text)
        for text in refused.values():
            self._log.info("no such form", version=wanted.version, because=text)
        seconds = self._clock.monotonic() - self._began if not left else self._state.seconds
        await self._keep(self._state.plus(refused=refused, learned=report.learned, seconds=seconds))

    async def refuse(self, form: Form, because: str) -> None:
        """Workers proved this form wrong: it is not loaded or made again on this machine."""
        self._log.warning("compiled form refused", version=form.version, form=form.form, because=because)
        self._async_store.note("form-refused", form.version, f"the {form.form} form is not used: {because}")
        await self._keep(self._state.plus(refused={form.key: because}))

    async def _keep(self, state: kept.FormState) -> None:
        if state == self._state:
            return
        self._state = state
        with suppress(CannotKeep):  # logged; it is found out again
            await self._async_store.do(lambda store: store.put(**{kept.FACT: state.as_json()}))

    # telling

    def told(self, version: str, digest: str) -> Mapping[str, Any]:
        """For answers: the form that is loaded, its gains, or why there is none."""
        form = self.best(version, digest)
        if form is None:
            return {}
        told: dict[str, Any] = {**form.compiled, "form": form.form}
        work, wanted = self._at_work, self._wanted
        if work is not None and wanted is not None and (wanted.version, wanted.digest) == (version, digest):
            because = self._watch.pace.because if self._watch is not None else ""
            state = f"paused: {because}" if work.paused else work.report.progress
            told["compiling"] = ": ".join(filter(None, (work.report.stage or "starting", state)))
        elif (failure := self._failures.get(digest)) is not None and self._missing(version, digest):
            told["because"] = failure.because
        elif form.form == form_plan.PLAIN:
            told["because"] = self._plain_because(digest)
        return told

    def _plain_because(self, digest: str) -> str:
        if self._level() == "off":
            return "validation.compile is off"
        keys = self.keys(digest)
        reasons = [self._state.refused[key] for key in keys.values() if key in self._state.refused]
        return "; ".join(dict.fromkeys(reasons)) or "not compiled yet"
