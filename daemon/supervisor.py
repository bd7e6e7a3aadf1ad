"""The loop: look, decide, act, again. Builds the parts and owns the order of things.

`step` does one round and returns; `run` repeats it when something happened or a deadline is reached. File events,
signals, workers' messages and commands only wake it. Invariant: a round that fails is logged and changes nothing; what
is served goes on being served.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import structlog

from ..worker.logs import Logs
from ..worker.places import identities, places_of
from ..worker.protocol import ReopenLogs, WorkerSettings
from ..worker.release import RELEASE
from ..worker.terms import Terms
from . import directories, instance, lean, processes
from .access import let_in, operator, warning_of_root
from .api.app import application
from .api.events import Hub
from .api.server import AdminServer
from .candidate import worker_count
from .capacity import Capacity, Need
from .clock import Clock, SystemClock
from .config import DEFAULT_PATH, Config, load_or_default
from .credentials import with_credentials
from .form_choice import FormChoice, judged_seconds
from .forms import Forms
from .housekeeping import OWN_LOGS, Housekeeping
from .judging import Judging
from .ledger import Ledger
from .logs import followed, open_logs
from .lookout import Lookout
from .manager import Manager
from .memory import capacity
from .models.form_plan import Wanted
from .models.watch import Watch
from .office import Office
from .panel import parts_of
from .panel.feed import Feed
from .panel.server import PanelServer
from .pulse import Pulse
from .relations import warnings
from .rolling import Rolling, load_seconds
from .store import Entry, Store
from .stuck_workers import StuckWorkers
from .vigil import Vigil
from .workers import slots
from .workers.agreement import Agreement
from .workers.channel import Channel, Credentials
from .workers.crew import Crew, Welcome
from .workers.entrance import Entrance
from .workers.former import Former
from .workers.outdated import Places, outdated
from .workers.pool import Ended, Pool
from .workers.roster import Event
from .workers.settings import settings_of, shared_dir, terms_of
from .workers.staffing import Limits
from .workers.told_tokens import TokenMarks, told_tokens

SLOWEST_BEAT_SECONDS = 5.0
CLOSING_SECONDS = 20.0  # what the end takes at most besides draining


class Supervisor:
    """One daemon. `environ` is where systemd speaks; nothing else is read from it."""

    def __init__(
        self, config: Config, origin: Path | None, clock: Clock, environ: Mapping[str, str], store: Store
    ) -> None:
        self.config, self.origin, self.clock, self.environ = config, origin, clock, environ
        self.log = structlog.get_logger("supervisor")
        self.hub = Hub()
        control = config.control
        self._wake = asyncio.Event()
        self._stop = asyncio.Event()
        self._round = asyncio.Event()
        self.entrance = Entrance(lambda: self.config.workers.listen, environ)
        self._leave_workers = False
        self._capacity, self._need, self._places = Capacity(1), Need(), Places()
        self._tokens = self._tokens_read = TokenMarks()
        self._sockets_in_place, self._slots = True, ()  # type: tuple[bool, tuple[int, ...]]
        self.staff_because = ""
        self._began = clock.monotonic()
        self._former = Former((), self._began)
        self.manager = Manager(environ, clock)
        self.ledger = Ledger(store, self._told)
        self.crew = Crew(
            clock=clock,
            welcome=self._welcome,
            happened=self._happened,
            offered=self._take_listener,
            terms=self._terms,
            tokens=self._tokens_to_tell,
        )
        self.pool = Pool(
            runtime_dir=control.runtime_dir,
            clock=clock,
            ended=self._worker_ended,
            drain=self.crew.drain,
            settings=self._settings,
        )
        self.crew.pool = self.pool
        self.agreement = Agreement(self.crew, self.pool, clock, self._terms)
        self.judging = Judging(
            lambda: self.config,
            clock=clock,
            ledger=self.ledger,
            happened=self.wake,
            progress=lambda version, message: self.hub.tell("gate", {"version": version, "gate": message.gate}),
        )
        self.forms = Forms(
            lambda: self.config,
            clock=clock,
            ledger=self.ledger,
            happened=self.wake,
            pids=lambda: [peer.pid for peer in self.crew.peers()],
        )
        self.rolling = Rolling(
            lambda: self.config,
            clock=clock,
            ledger=self.ledger,
            judging=self.judging,
            choice=FormChoice(self.forms, self.judging, clock),
            crew=self.crew,
            happened=self.wake,
            progress=lambda rollout: self.hub.tell("rollout", rollout.as_json()),
        )
        self.housekeeping = Housekeeping(
            lambda: self.config,
            clock,
            judging=self.judging,
            forms=self.forms,
            rolling=self.rolling,
            crew=self.crew,
            ledger=self.ledger,
            reopen=self.reopen_logs,
        )
        self.vigil = Vigil(
            self,
            host=socket.gethostname(),
            version=RELEASE,
            refused=lambda: self.office.reloading.refused,
            tell=self.hub.tell,
        )
        self.office: Office = Office(self)
        sockets = control.runtime_dir
        self.channel: Channel = Channel(
            sockets / "workers.sock", self.crew, lambda who: self._allowed(who, self.channel.group)
        )
        api = application(self.office, self.hub)
        self.api: AdminServer = AdminServer(sockets / "api.sock", api, lambda who: self._allowed(who, self.api.group))
        self.panel = PanelServer(
            config.panel,
            api,
            Feed(parts_of(self.office, self.hub)),
            clock,
            state_dir=control.state_dir,
            operator=lambda uid: operator(uid, sockets / "api.sock"),
        )
        self._stuck = StuckWorkers(clock.monotonic)
        self.vigil.more += [self.panel.figures, self._stuck.figures]
        self.pulse = Pulse(self)
        loop = asyncio.get_running_loop()
        wake = partial(loop.call_soon_threadsafe, self.wake)
        self.watch = Watch(config.models.root, wake)
        self.lookout = Lookout(self, wake)

    # the loop

    async def start(self) -> None:
        """Opens the sockets, finds what there is, takes former workers back. Raises ModelwardError or OSError."""
        for sentence in await asyncio.to_thread(directories.make, self.config):
            self.log.error(sentence)
        self.crew.expected = await asyncio.to_thread(self.pool.remembered)
        self._former = Former(self.crew.expected, self._began)
        await self.judging.start()
        await self.forms.start()
        await self._look()
        await self.rolling.start(returning=bool(self.crew.expected))
        if self.ledger.no_room:
            await self.housekeeping.sweep_first()
        await self.vigil.recall()
        self.vigil.begin()
        self.ledger.note("daemon-started", "", f"pid {os.getpid()}")
        if self.rolling.position.serving is None:
            await self.rolling.decide()
        await self.housekeeping.with_room(self.channel.open)
        await self.entrance.open(returning=bool(self.crew.expected), end_lost=self.pool.end_lost)
        self.vigil.look()
        await self.api.open()
        await self.panel.open()
        self.pulse.start()
        self.lookout.start()
        self.housekeeping.start()

    async def step(self) -> None:
        """One round."""
        await self._look()
        if not self._returning():
            await self.rolling.decide()
            if not self.rolling.busy and not self.rolling.converge():
                self.rolling.improve()
        await self._heal()
        await self._staff()
        self.judging.next(self.rolling.wanted, self.rolling.position.serving)
        if not self.rolling.busy:
            await self.forms.tidy(self.rolling.artifacts_in_use())
        self.forms.ensure(self._form_order(), lambda name, _: judged_seconds(self.judging.catalog.get(name)))
        await self.panel.keep()
        self.pulse.tell()
        self.vigil.look()

    async def _look(self) -> None:
        """The watch first: what comes while it looks wakes it again."""
        if said := await self.judging.look(self._check):
            self.log.info(said)
        await self.forms.look(wanted.digest for wanted in self._form_order(all_accepted=True))

    def _form_order(self, *, all_accepted: bool = False) -> list[Wanted]:
        """Versions whose forms are wanted: what serves, then what waits for its form, or will once it is judged."""
        serving, entries = self.rolling.position.serving, self.judging.catalog.entries()
        order = [Wanted(serving.version, serving.digest)] if serving is not None else []
        due = {e.digest for e in entries if self.forms.waiting(e.digest) or self.forms.began_early(e.digest)}
        accepted = [e for e in entries if e.artifact and (all_accepted or e.digest in due)]
        order += [Wanted(e.name, e.digest, urgent=self.rolling.choice.waiting[0] == e.name) for e in accepted]
        copy = self.judging.copy
        if copy is not None and serving is not None and self.forms.early(serving.artifact):
            order += [replace(copy, urgent=True)] if self.rolling.once_accepted(copy.version, copy.digest) else []
        return order

    def _check(self) -> str:
        """On a thread: what this machine has may have changed too, and files of ours may be gone."""
        self._capacity = capacity()
        looked = self.clock.monotonic()
        self._places = Places(identities(places_of(settings_of("", self.config, self._terms(), -1))), looked)
        self._tokens = told_tokens(self.config.workers.token_file)
        self._sockets_in_place = self.channel.in_place() and self.api.in_place()
        self.pool.written_down()
        self._slots = slots.kept(shared_dir(self.config))
        return self.watch.check()

    def _returning(self) -> bool:
        """Whether workers of a former daemon are still on their way: a rollout without them would have no canary."""
        expected = self.crew.expected.values() if self._former.in_time(self.clock.monotonic()) else ()
        return any(processes.identity(who.pid) == who for who in expected)

    async def _heal(self) -> None:
        """Socket files that somebody removed, before the workers' record is looked for beside them."""
        if self._sockets_in_place:
            return
        try:
            if any((await self.channel.heal(), await self.api.heal())):
                self.log.warning("socket file was gone; made again")
        except OSError as e:
            self.log.error("cannot make a socket file again", because=e.strerror or str(e), path=e.filename)

    async def run(self) -> None:
        """Rounds until `stop`. A round that fails is said and tried again at the next."""
        while not self._stop.is_set():
            self._wake.clear()
            self.pulse.round_began, failed = self.clock.monotonic(), True
            try:
                await self.step()
                failed = False
            except Exception:
                self.log.exception("a round failed; everything goes on as it was")
            self.pulse.round_began = None
            self._round.set()
            self._round = asyncio.Event()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._until_next(failed)):
                    await self._wake.wait()

    def wake(self) -> None:
        """The next round begins now."""
        self._wake.set()

    @property
    def deciding(self) -> bool:
        """Whether a round is due or under way: what it will decide is not known yet."""
        return self._wake.is_set() or self.pulse.round_began is not None

    async def next_round(self, seconds: float) -> None:
        """Returns when a round ended, or after `seconds`."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._round.wait()

    def stop(self, *, leave_workers: bool = False) -> None:
        """`run` returns after the round under way. `leave_workers`: they serve on, for the next daemon to take back."""
        self._leave_workers = self._leave_workers or leave_workers
        self._stop.set()
        self.wake()

    async def close(self) -> None:
        """Ends everything: nobody new, workers drained unless they are to be left, state written."""
        drain = 0.0 if self._leave_workers else self.config.workers.drain + 2.0
        sentence = "leaving the workers to the next daemon" if self._leave_workers else "draining"
        self.manager.stop(sentence, drain + CLOSING_SECONDS)
        self.hub.close()
        await self.vigil.stop()
        await asyncio.gather(asyncio.to_thread(self.lookout.stop), asyncio.to_thread(self.watch.stop))
        await self.housekeeping.stop()
        await self.rolling.stop()
        await self.forms.stop()
        await self.judging.stop()
        self.entrance.close()
        if self._leave_workers:
            await self.pool.leave()
        else:
            await self.pool.close(drain)
        await self.channel.close()
        await self.panel.close()
        await self.api.close()
        self.ledger.note("daemon-stopped", "", "told to leave its workers" if self._leave_workers else "told to stop")
        await self.ledger.close()
        await self.pulse.stop()

    def _until_next(self, failed: bool) -> float:
        late = self._former.deadline
        latest = self.lookout.after_round(failed=failed or late is not None or bool(self.panel.problem))
        due = [self.judging.next_due(), self.forms.next_due(), self.rolling.next_look(), self.pool.next_look(), late]
        now = self.clock.monotonic()
        times = [max(0.05, moment - now) for moment in due if moment is not None]
        return min([latest, *times])

    # workers

    async def _staff(self) -> None:
        workers = self.config.workers
        self.pool.limits = Limits(
            load_seconds(self.config.rollout.reload_timeout, self.rolling.position.serving) + 30.0,
            workers.drain + 5.0,
            starting=max(2, self._capacity.processors),
        )
        if self.entrance.sock is not None:
            self._need = self._needed()
            self.pool.wanted, self.staff_because = worker_count(self.config, self._capacity, self._need)
            if set(self._slots) != {self.pool.wanted}:
                await asyncio.to_thread(slots.keep, shared_dir(self.config), self.pool.wanted)
        peers, now = self.crew.peers(), self.clock.monotonic()
        ours = {hand.name for hand in self.pool.hands() if hand.child.ours}
        self.crew.agree()
        leaving = outdated(
            peers,
            most_bytes=workers.memory,
            release=RELEASE,
            now=now,
            started=ours,
            terms=self._terms(),
            places=self._places,
        )
        for name, because in (*leaving, *self._former.overdue(peers, now)):
            self.pool.replace(name, because)
        self.pool.step()

    def _needed(self) -> Need:
        """What the served version takes; while nothing is served, the largest that is there. Kept while not known."""
        serving, entries = self.rolling.position.serving, self.judging.catalog.entries()
        chosen = [e for e in entries if serving is None or e.digest == serving.digest]
        own = serving.load_bytes if serving is not None else 0  # of the form that is served
        needs = [Need(e.seen.bytes, own or (e.verdict.load_bytes if e.verdict else 0)) for e in chosen]
        return max(needs, key=lambda need: (need.file_bytes, need.load_bytes), default=self._need)

    def _settings(self, name: str) -> tuple[WorkerSettings, int]:
        assert self.entrance.sock is not None
        fd = self.entrance.sock.fileno()
        return settings_of(name, self.config, self._terms(), fd), fd

    def _terms(self) -> Terms:
        """What all workers are to run with."""
        return terms_of(self.config, self.entrance.address)

    def _welcome(self) -> Welcome:
        """What a worker that joins now is to serve.

        During a rollout that is still the old version: it will be moved in its turn.
        """
        beat = min(SLOWEST_BEAT_SECONDS, max(0.5, self.config.rollout.bake / 5))
        serving = self.rolling.position.serving
        return Welcome(serving.version, serving.artifact, beat) if serving else Welcome(beat_seconds=beat)

    def _worker_ended(self, ended: Ended) -> None:
        self.vigil.worker_ended(ended)
        self.rolling.conductor.worker_ended(ended)
        self.crew.ended(ended)
        if not ended.retired:
            self.ledger.note("worker-ended", "", f"{ended.name}: {ended.because}", worker=ended.name, pid=ended.pid)
        self.wake()

    def _happened(self, event: Event) -> None:
        if event.kind == "reopened":
            self.housekeeping.reopened(event.worker)
        if event.kind == "stuck":
            self._stuck.heard(event.worker, event.because)
        if event.kind == "refused":
            self.log.warning("version refused", worker=event.worker, version=event.version, because=event.because)
        self.hub.tell("worker", {"worker": event.worker, "kind": event.kind, "version": event.version})
        self.wake()

    # sockets

    def _take_listener(self, fd: int) -> None:
        self.entrance.take(fd, wanted=bool(self.crew.expected or self.pool.hands()))

    def _allowed(self, who: Credentials, group: int) -> bool:
        return let_in(who.uid, who.gid, who.groups, group)

    # others, who are told

    def _told(self, entry: Entry) -> None:
        self.vigil.heard(entry)
        self.hub.tell("history", {"kind": entry.kind, "version": entry.version, "because": entry.because})

    def read_config(self) -> Config:
        """The configuration as it is on disk now, credentials included. Raises BadConfig."""
        config = with_credentials(load_or_default(self.origin)[0], self.environ)
        self._tokens_read = told_tokens(config.workers.token_file)  # before it is in force
        return config

    def _tokens_to_tell(self) -> tuple[str, ...]:
        path = self.config.workers.token_file
        return self._tokens.of(path) or self._tokens_read.of(path)

    def reopen_logs(self) -> list[str]:
        """Our own log files and every worker's are opened anew by name; who will tell when that is done."""
        self.office.reopen_own_logs(
            partial(asyncio.get_running_loop().call_soon_threadsafe, self.housekeeping.reopened, OWN_LOGS)
        )
        return [OWN_LOGS, *self.crew.tell_all(ReopenLogs())]

    def restart_workers(self, because: str) -> None:
        """Every worker is replaced, one after another, each successor first."""
        for hand in self.pool.hands():
            self.pool.replace(hand.name, because)
        self.wake()

    def handle_signals(self) -> None:
        """SIGTERM, SIGINT stop; SIGQUIT leaves the workers; SIGHUP reloads; SIGUSR1 reopens logs; SIGUSR2 restarts."""
        loop = asyncio.get_running_loop()
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        loop.add_signal_handler(signal.SIGQUIT, partial(self.stop, leave_workers=True))
        loop.add_signal_handler(signal.SIGHUP, self.office.reloading.hang_up)
        loop.add_signal_handler(signal.SIGUSR1, self.reopen_logs)
        loop.add_signal_handler(signal.SIGUSR2, self.restart_workers, "SIGUSR2")
        signal.pthread_sigmask(signal.SIG_SETMASK, ())  # what came since the start of the program is heard now


def main(config_path: Path | None) -> int:
    """Runs the daemon until it is told to stop; its exit status. Raises BadConfig, and ModelwardError at start."""
    lean.few_heaps()
    origin = (config_path or DEFAULT_PATH).resolve()
    config, remark = load_or_default(config_path)
    config = with_credentials(config, os.environ)
    directories.require_own(config)
    logs = open_logs(config.logs.dir, config.logs.level)
    if remark:
        logs.events.info(remark)
    for warning in (*warnings(config), warning_of_root(os.geteuid(), os.environ)):
        if warning:
            logs.events.warning(warning)
    control = config.control
    # The second lock holds when somebody removed the runtime directory, and the first with it.
    try:
        with instance.alone(control.runtime_dir), instance.alone(control.state_dir, required=False):
            clock = SystemClock()
            store = Store(control.state_dir / "state.db", clock)  # before there is an event loop that it would hold up
            asyncio.run(_serve(config, origin, logs, clock, store))
    finally:
        logs.close()
    return 0


async def _serve(config: Config, origin: Path, logs: Logs, clock: Clock, store: Store) -> None:
    supervisor = Supervisor(config, origin, clock, os.environ, store)
    supervisor.office.reopen_own_logs = logs.reopen
    supervisor.housekeeping.follow_own_logs = partial(followed, logs)
    supervisor.office.reloading.set_own_level = logs.set_level
    supervisor.vigil.exposed.append(lambda out: out.add("modelward_log_lines_dropped_total", logs.lost))
    supervisor.handle_signals()
    try:
        await supervisor.start()
        lean.after_start()
        await supervisor.run()
    finally:
        await supervisor.close()
