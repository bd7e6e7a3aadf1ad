"""Keeping watch over a daemon whose parts the test holds in its hands; store, queues and words are the real ones."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.fakes.answers import made
from tests.support import soon

from modelward.daemon.answers.disk import SweepAnswer
from modelward.daemon.config.load import parse
from modelward.daemon.controllers.alerting import HOLD_SECONDS, AlertManager
from modelward.daemon.health.addresses import Address
from modelward.daemon.health.alerts import Figure
from modelward.daemon.health.delivery import Outcome
from modelward.daemon.health.message_text import Text
from modelward.daemon.health.metrics import METRICS
from modelward.daemon.health.stuck_workers import StuckWorkers
from modelward.daemon.jobs.jobs_seen import JobsSeen
from modelward.daemon.models.activation_policy import Named
from modelward.daemon.models.catalog import CatalogEntry
from modelward.daemon.models.lifecycle import VersionState
from modelward.daemon.models.snapshot import (
    Names,
    RootAbsent,
    RootSeen,
    VersionSeen,
)
from modelward.daemon.models.verdict import GateResult, Verdict
from modelward.daemon.state.async_store import AsyncStore
from modelward.daemon.state.store import Store
from modelward.daemon.status.snapshot import (
    ActivationSeen,
    Snapshot,
    UpkeepSeen,
    VersionsSeen,
    WorkersSeen,
)
from modelward.daemon.system.clock import rfc3339
from modelward.daemon.workers.peer import WorkerPeer
from modelward.daemon.workers.pool import Ended
from modelward.daemon.workers.pool_planner import Phase
from modelward.worker.protocol import Beat


class HandClock:
    def __init__(self) -> None:
        self.now = 10_000.0

    def monotonic(self) -> float:
        return self.now

    def elapsed(self) -> float:
        return self.now

    def wall(self) -> float:
        return 1_800_000_000.0 + self.now


class World:
    """A healthy daemon with one ready worker, until the test changes a part. Survives a restart of the watch."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.clock = HandClock()
        self.config = parse('alerts.to = ["http://a.example/x"]', "test")
        self.peers = [WorkerPeer("w1", 4, False, 0.0, serving="v1", beat=Beat(requests=5, errors=1, p95_seconds=0.2))]
        serving = SimpleNamespace(version="v1", digest="d" * 64)
        self.registry = SimpleNamespace(peers=lambda: tuple(self.peers))
        self.pool = SimpleNamespace(
            wanted=1, pending_starts=lambda: (), processes=lambda: (), process=lambda name: None
        )
        self.activation: Any = SimpleNamespace(
            complaint="",
            complaint_about="",
            rollouts={},
            held={},
            position=SimpleNamespace(serving=serving, word=Named("v1", "d" * 64), previous=None),
            executor=SimpleNamespace(current=None),
        )
        self.entries: dict[str, CatalogEntry] = {}
        catalog = SimpleNamespace(entries=lambda: tuple(self.entries.values()), get=self.entries.get)
        self.validation: Any = SimpleNamespace(
            sight=RootSeen((1, 2), Names("v1"), ()),
            catalog=catalog,
            busy=False,
            still_seconds=0.0,
            unjudged={},
            misplaced={},
        )
        self.maintenance: Any = SimpleNamespace(trouble=(), last=None, sweeps=0, removed_files=0, removed_bytes=0)
        self.watch: Any = SimpleNamespace(state="watching", because="")
        self.refused = ""
        self.jobs = JobsSeen()
        self.sent: list[Text] = []
        self.urls: list[str] = []
        self.outcome = Outcome()
        self.told: list[tuple[str, Any]] = []
        self.async_store: Any = None

    def snapshot(self) -> Snapshot:
        failed = next(iter(self.activation.rollouts.values()), None)
        activation, validation, upkeep, pool = self.activation, self.validation, self.maintenance, self.pool
        return Snapshot(
            self.clock.monotonic(),
            self.clock.wall(),
            self.config,
            VersionsSeen(
                validation.sight,
                tuple(self.entries.values()),
                validation.busy,
                validation.still_seconds,
                validation.unjudged,
                validation.misplaced,
            ),
            ActivationSeen(
                activation.position,
                activation.held,
                complaint=activation.complaint,
                complaint_about=activation.complaint_about,
                last=failed,
            ),
            WorkersSeen(tuple(self.peers), pool.processes(), pool.pending_starts(), pool.wanted),
            UpkeepSeen(upkeep.trouble, upkeep.last, upkeep.sweeps, upkeep.removed_files, upkeep.removed_bytes),
            (self.watch.state, self.watch.because),
            self.async_store.problem,
            self.refused,
            self.jobs,
        )

    async def send(self, address: Address, text: Text) -> Outcome:
        self.sent.append(text)
        self.urls.append(address.url)
        return self.outcome

    def entry(self, name: str, state: VersionState, because: str = "") -> CatalogEntry:
        entry = CatalogEntry(VersionSeen(name=name, fingerprint="f"), state, 0.0, 0.0, 0.0)
        if state is VersionState.REJECTED:
            gates = (GateResult("golden", False, 1.5, because),)
            entry.verdict = Verdict(False, because, gates, judged_at=rfc3339(self.clock.wall()))
        self.entries[name] = entry
        return entry

    async def during(self, work: Callable[[AlertManager], Awaitable[None]]) -> None:
        """One life of the watch."""
        self.async_store = AsyncStore(
            Store(self.directory / "state.db", self.clock), lambda entry: alert_manager.add_history(entry)
        )
        alert_manager = AlertManager(
            self.snapshot,
            lambda: self.config,
            self.clock,
            self.async_store,
            host="box",
            version="1",
            tell=lambda event, data: self.told.append((event, data)),
            sender=self.send,
        )
        await alert_manager.recall()
        try:
            await work(alert_manager)
            for _ in range(5):  # what was delivered is written down
                await asyncio.sleep(0.01)
                await self.async_store.do(lambda store: None)
        finally:
            await alert_manager.stop()
            await self.async_store.close()

    async def pass_time(self, alert_manager: AlertManager, seconds: float, step: float = 5.0) -> None:
        """Looks every `step` seconds, as the daemon's rounds do."""
        end = self.clock.now + seconds
        while self.clock.now < end:
            self.clock.now = min(end, self.clock.now + step)
            alert_manager.check()
            await asyncio.sleep(0.002)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def run(work: Awaitable[None]) -> None:
    asyncio.run(work)  # type: ignore[arg-type]


def names(alert_manager: AlertManager) -> dict[str, str]:
    return {a.name: a.state for a in alert_manager.alerts().alerts}


def test_a_healthy_daemon_raises_nothing(world: World) -> None:
    async def work(alert_manager: AlertManager) -> None:
        await world.pass_time(alert_manager, 1000)
        assert alert_manager.active() == []
        assert world.sent == []

    run(world.during(work))


def test_the_first_judgement_is_no_alarm_unless_it_stands_still(world: World) -> None:
    async def work(alert_manager: AlertManager) -> None:
        world.peers.clear()
        world.activation.position.serving = None
        world.validation.busy = True
        await world.pass_time(alert_manager, 600)
        assert alert_manager.active() == []
        world.validation.still_seconds = 60.0
        await world.pass_time(alert_manager, 20)
        assert names(alert_manager)["workers_ready"] == "firing"

    run(world.during(work))


def test_the_first_load_is_no_alarm_and_a_worker_that_dies_while_it_loads_is(world: World) -> None:
    process = SimpleNamespace(failures=0, overdue_since=None, ready_at=None, phase=Phase.STARTING)

    async def work(alert_manager: AlertManager) -> None:
        world.peers.clear()
        world.pool.processes = lambda: (process,)
        await world.pass_time(alert_manager, 600)
        assert alert_manager.active() == []
        process.failures = 1
        await world.pass_time(alert_manager, 20)
        assert names(alert_manager)["workers_ready"] == "firing"

    run(world.during(work))


def test_a_version_that_the_machine_keeps_from_being_judged_is_an_alarm_with_the_reason(world: World) -> None:
    async def work(alert_manager: AlertManager) -> None:
        world.peers.clear()
        world.activation.position.serving = None
        world.entry("v1", VersionState.SETTLING).waiting = "not judged yet: cannot copy it: no space"
        await world.pass_time(alert_manager, 20)
        (alert,) = alert_manager.active()
        assert alert.message.endswith("nothing is served yet: not judged yet: cannot copy it: no space")

    run(world.during(work))


CONDITIONS: dict[str, tuple[Callable[[World], None], str]] = {
    "needs_operator": (lambda w: setattr(w.activation, "complaint", "cannot serve v2: gone"), "cannot serve v2: gone"),
    "root_absent": (
        lambda w: setattr(w.validation, "sight", RootAbsent("not mounted")),
        "the model root is absent: not mounted",
    ),
    "watch_lost": (
        lambda w: w.watch.__dict__.update(state="polling", because="a limit"),
        "the model root is not watched, looking by the timer alone: a limit",
    ),
    "config_refused": (lambda w: setattr(w, "refused", "configuration refused: x"), "configuration refused: x"),
    "workers_ready": (
        lambda w: w.peers.clear(),
        "0 workers answer requests, at least 1 should: v1 is not loaded",
    ),
    "workers_missing": (lambda w: setattr(w.pool, "wanted", 3), "2 workers are missing"),
    "worker_refusing": (
        lambda w: setattr(w.peers[0], "beat", Beat(refusing="no place is left")),
        "the worker w1 would not answer a request: no place is left",
    ),
    "version_rejected": (
        lambda w: w.entry("v2", VersionState.REJECTED, "golden: 0.4") and None,
        "v2 was rejected: golden: 0.4",
    ),
    "version_unjudged": (
        lambda w: w.validation.unjudged.update(v2="cannot copy it: it needs 12 GB"),
        "v2 cannot be judged: cannot copy it: it needs 12 GB",
    ),
    "misplaced_link": (
        lambda w: w.validation.misplaced.update({"v1/v2": "a link to v2 was put into v1"}),
        "a link to v2 was put into v1",
    ),
    "rollout_failed": (
        lambda w: w.activation.rollouts.update(r=_rollout(w, "v3", "worker w1 died")),
        "the rollout of v3 failed: worker w1 died",
    ),
}


def _rollout(world: World, version: str, outcome: str) -> Any:
    return SimpleNamespace(
        origin="link",
        changes_version=True,
        decided=True,
        succeeded=False,
        cancelled="",
        started=world.clock.now,
        outcome=outcome,
        target=SimpleNamespace(version=version),
    )


@pytest.mark.parametrize("name", list(CONDITIONS))
def test_what_is_wrong_with_the_service_is_an_alert_and_a_message(world: World, name: str) -> None:
    breaks, sentence = CONDITIONS[name]

    async def work(alert_manager: AlertManager) -> None:
        breaks(world)
        await world.pass_time(alert_manager, 200)
        assert name in names(alert_manager), names(alert_manager)
        assert sentence in [a.message for a in alert_manager.active()]
        assert any(sentence in text.body for text in world.sent)
        assert len(world.sent) <= 2

    run(world.during(work))


def test_three_deaths_in_ten_minutes_are_an_alert_that_ends_by_itself(world: World) -> None:
    async def work(alert_manager: AlertManager) -> None:
        for number in range(3):
            alert_manager.worker_ended(Ended(f"w{number}", 1, 1, retired=False, because="exit status 1"))
            alert_manager.worker_ended(Ended(f"w{number}", 1, 0, retired=True, because=""))
        await world.pass_time(alert_manager, 100)
        assert names(alert_manager)["worker_restarts"] == "firing"
        await world.pass_time(alert_manager, 600)
        assert names(alert_manager)["worker_restarts"] == "resolved"
        kinds = [entry.kind for entry in await world.async_store.do(lambda store: store.history(10))]
        assert kinds == ["alert-resolved", "alert-firing"]

    run(world.during(work))


def test_a_worker_with_jobs_that_do_not_end_is_an_alert_though_it_is_gone_before_anybody_looks(world: World) -> None:
    async def work(alert_manager: AlertManager) -> None:
        stuck = StuckWorkers(world.clock.monotonic)
        alert_manager.more.append(stuck.figures)
        for _ in range(2):
            stuck.add("w1", "1 of its jobs do not end")
        await world.pass_time(alert_manager, 1)
        assert names(alert_manager)["worker_stuck"] == "firing"
        sentence = (
            "workers had jobs that do not end 1 times in ten minutes: w1, 1 of its jobs do not end; it is replaced"
        )
        assert sentence in [alert.message for alert in alert_manager.active()]
        await world.pass_time(alert_manager, 700)
        assert names(alert_manager)["worker_stuck"] == "resolved"

    run(world.during(work))


def test_an_old_rejected_version_that_nobody_wants_is_no_alert(world: World) -> None:
    async def work(alert_manager: AlertManager) -> None:
        world.entry("v1", VersionState.ACCEPTED)
        world.entry("v0.9", VersionState.REJECTED, "bad")
        await world.pass_time(alert_manager, 1)
        assert names(alert_manager) == {"version_rejected": "firing"}  # just now it is news
        await world.pass_time(alert_manager, 3600, step=60)
        assert names(alert_manager) == {"version_rejected": "resolved"}

    run(world.during(work))


def test_a_version_raises_no_alert_before_nothing_in_it_changed_for_a_while(world: World) -> None:
    async def work(alert_manager: AlertManager) -> None:
        live = world.entry("v1", VersionState.ACCEPTED)
        world.activation.complaint, world.activation.complaint_about = "v1 is live and was rejected since", "v1"
        other = world.entry("m-v2", VersionState.ACCEPTED)
        other.digest = "e" * 64
        for entry in (live, other, world.entry("v3", VersionState.REJECTED, "cannot find the tokens")):
            entry.changed = world.clock.now
        await world.pass_time(alert_manager, 55)
        assert alert_manager.active() == []
        world.entries["v3"].changed = world.clock.now  # another file came
        await world.pass_time(alert_manager, 10)
        assert sorted(names(alert_manager)) == ["needs_operator", "version_unchosen"]
        await world.pass_time(alert_manager, 50)
        assert names(alert_manager)["version_rejected"] == "firing"

    run(world.during(work))


def test_an_empty_directory_is_no_alert_unless_the_link_names_it(world: World) -> None:
    async def work(alert_manager: AlertManager) -> None:
        entry = world.entry("logs", VersionState.REJECTED, "it holds no files")
        entry.seen = VersionSeen(name="logs", fingerprint="f", arriving="it holds no files yet")
        await world.pass_time(alert_manager, 200)
        assert alert_manager.active() == []
        world.validation.sight = RootSeen((1, 2), Names("logs"), ())
        await world.pass_time(alert_manager, 5)
        assert names(alert_manager) == {"version_rejected": "firing"}

    run(world.during(work))


def test_an_alert_about_a_version_comes_by_time_alone(world: World) -> None:
    async def work(alert_manager: AlertManager) -> None:
        world.config = parse("validation.alert_after = 0.3", "test")
        world.entry("v3", VersionState.REJECTED, "bad").changed = world.clock.now
        alert_manager.check()
        assert alert_manager.active() == []
        world.clock.now += 0.3
        await soon(alert_manager.active)  # nobody looks but the manager itself

    run(world.during(work))


ENDS: dict[str, tuple[Callable[[World], object], str]] = {
    "accepted": (lambda w: w.entry("v3", VersionState.ACCEPTED), "it was accepted"),
    "live": (
        lambda w: (w.entry("v3", VersionState.ACCEPTED), setattr(w.activation.position, "word", Named("v3", "e"))),
        "it was accepted and is live",
    ),
    "changed": (lambda w: w.entry("v3", VersionState.SETTLING), "its files changed, and it is judged again"),
    "gone": (lambda w: w.entries.pop("v3"), "its directory is gone"),
    "held": (
        lambda w: (w.activation.held.update(v3="asked"), setattr(w.clock, "now", w.clock.now + 3600)),
        "it is held",
    ),
}


@pytest.mark.parametrize("how", list(ENDS))
def test_an_alert_that_is_over_says_how_it_ended(world: World, how: str) -> None:
    ends, clause = ENDS[how]

    async def work(alert_manager: AlertManager) -> None:
        world.clock.now += HOLD_SECONDS
        world.entry("v1", VersionState.ACCEPTED)
        world.entry("v3", VersionState.REJECTED, "cannot find the tokens")
        await world.pass_time(alert_manager, 15)
        ends(world)
        await world.pass_time(alert_manager, 200)
        sentence = f"v3 was rejected: cannot find the tokens (over: {clause})"
        assert [a.message for a in alert_manager.alerts().alerts if a.subject == "v3"] == [sentence]
        assert world.sent[-1].body == f"OK {sentence}"

    run(world.during(work))


def test_a_complaint_is_an_alert_at_once_and_its_end_too_while_messages_take_their_time(world: World) -> None:
    async def work(alert_manager: AlertManager) -> None:
        world.clock.now += HOLD_SECONDS
        world.activation.complaint = "cannot go on"
        alert_manager.check()
        assert [a.message for a in alert_manager.active()] == ["cannot go on"]
        assert world.sent == []
        await world.pass_time(alert_manager, 15)
        assert [text.title for text in world.sent] == ["[critical] box: 1 firing"]
        world.activation.complaint = ""
        await world.pass_time(alert_manager, 5)
        assert alert_manager.active() == []
        await world.pass_time(alert_manager, 200)
        assert [text.title for text in world.sent][1:] == ["[critical] box: 1 over"]

    run(world.during(work))


def test_a_restart_while_it_fires_says_nothing_again_before_repeat(world: World) -> None:
    async def first(alert_manager: AlertManager) -> None:
        world.activation.complaint = "cannot go on"
        await world.pass_time(alert_manager, 30)
        assert len(world.sent) == 1

    async def second(alert_manager: AlertManager) -> None:
        assert [a.state for a in alert_manager.active()] == ["firing"]  # before any look
        await world.pass_time(alert_manager, 4 * 3600 - 200, step=60)
        assert len(world.sent) == 1
        await world.pass_time(alert_manager, 600, step=60)
        assert len(world.sent) == 2

    async def both() -> None:
        await world.during(first)
        world.clock.now += 100
        await world.during(second)

    run(both())


def test_what_ended_while_the_daemon_was_down_is_told_once_and_not_before_the_hold(world: World) -> None:
    async def first(alert_manager: AlertManager) -> None:
        world.activation.complaint = "cannot go on"
        await world.pass_time(alert_manager, 30)

    async def second(alert_manager: AlertManager) -> None:
        world.activation.complaint = ""
        await world.pass_time(alert_manager, HOLD_SECONDS - 1)
        assert len(world.sent) == 1
        await world.pass_time(alert_manager, 3600)
        assert [text.title for text in world.sent][1:] == ["[critical] box: 1 over"]

    async def both() -> None:
        await world.during(first)
        world.clock.now += 1000
        await world.during(second)

    run(both())


def test_a_message_that_did_not_arrive_before_the_end_is_told_after_the_next_start(world: World) -> None:
    async def first(alert_manager: AlertManager) -> None:
        world.activation.complaint = "cannot go on"
        world.outcome = Outcome("it answered 500")
        await world.pass_time(alert_manager, 30)
        assert len(world.sent) == 1

    async def second(alert_manager: AlertManager) -> None:
        world.outcome = Outcome()
        await world.pass_time(alert_manager, 30)
        assert len(world.sent) == 2

    async def both() -> None:
        await world.during(first)
        await world.during(second)

    run(both())


def test_each_severity_goes_its_way_and_every_title_begins_with_the_keyword(world: World) -> None:
    async def work(alert_manager: AlertManager) -> None:
        world.config = parse(
            """alerts.to = ["http://a.example/x"]
            alerts.route.critical = ["http://c.example/x"]
            alerts.keyword = "house 7" """,
            "test",
        )
        world.activation.complaint, world.refused = "cannot go on", "configuration refused: x"
        await world.pass_time(alert_manager, 100)
        told = {url: text.title for url, text in zip(world.urls, world.sent, strict=True)}
        assert told == {
            "http://a.example/x": "house 7 [warning] box: 1 firing",
            "http://c.example/x": "house 7 [critical] box: 1 firing",
        }

    run(world.during(work))


def test_a_failing_channel_is_an_alert_that_is_not_sent_to_itself(world: World) -> None:
    async def work(alert_manager: AlertManager) -> None:
        alert_manager.check()
        (channel,) = alert_manager.notifications.notifier.channels
        channel.failures, channel.because = 3, "it answered 500"
        await world.pass_time(alert_manager, 100)
        assert [a.message for a in alert_manager.active()] == ["alerts do not arrive at 1:webhook: it answered 500"]
        assert world.sent == []

    run(world.during(work))


def test_a_sweep_that_falls_short_and_a_full_class_are_alerts(world: World) -> None:
    async def work(alert_manager: AlertManager) -> None:
        world.config = parse('monitor.alert = [{metric = "class_used_percent", above = 80, for = 0}]', "test")
        world.maintenance.trouble = ("cannot bring uploads below 5 GiB: everything is young",)
        world.maintenance.last = made(
            SweepAnswer, {"classes": [{"class": "uploads", "after": {"bytes": 5 << 30, "files": 3}}]}
        )
        await world.pass_time(alert_manager, 1)
        assert {a.message for a in alert_manager.active()} == {
            "the disk is not in order: cannot bring uploads below 5 GiB: everything is young",
            "class_used_percent of uploads is 100, at most 80",
        }
        assert 'modelward_class_used_bytes{class="uploads"} 5368709120' in alert_manager.metrics()

    run(world.during(work))


def test_jobs_that_stand_still_and_a_store_that_fills_are_alerts(world: World) -> None:
    async def work(alert_manager: AlertManager) -> None:
        world.jobs = JobsSeen({"queued": 3, "done": 4600}, 1 << 30, still_seconds=901.0)
        await world.pass_time(alert_manager, 1)
        assert {a.message for a in alert_manager.active()} == {
            "92 % of the room for transcription jobs is used, at most 90 %",
            "no transcription job made progress for 901 s, at most 900 s: 3 wait or run",
        }
        text = alert_manager.metrics()
        assert 'modelward_jobs{state="queued"} 3' in text and 'modelward_jobs{state="running"} 0' in text
        assert "modelward_jobs_bytes 1073741824" in text and "modelward_jobs_still_seconds 901" in text
        world.jobs = JobsSeen({"done": 3})
        await world.pass_time(alert_manager, 1)
        assert alert_manager.active() == []

    run(world.during(work))


def test_other_parts_add_figures_of_their_own(world: World) -> None:
    async def work(alert_manager: AlertManager) -> None:
        world.config = parse('monitor.alert = [{metric = "worker_p95_seconds", above = 1, for = 0}]', "test")
        alert_manager.more.append(lambda: [Figure("worker_p95_seconds", 1.5, "w1")])
        alert_manager.more_metrics.add("worker_p95_seconds")
        await world.pass_time(alert_manager, 1)
        assert [a.message for a in alert_manager.active()] == ["worker_p95_seconds of w1 is 1.5, at most 1"]

    run(world.during(work))


def test_five_hundred_alerts_at_once_are_a_few_lines_of_history_and_one_message(world: World) -> None:
    async def work(alert_manager: AlertManager) -> None:
        alert_manager.more.append(lambda: [Figure("mount_stuck", 1.0, f"/m{n}") for n in range(500)])
        alert_manager.more_metrics.add("mount_stuck")
        await world.pass_time(alert_manager, 100)
        lines = await world.async_store.do(lambda store: store.history(1000, "alert-firing"))
        assert len(lines) == 21
        assert lines[0].because == "and 480 more alerts changed at once"
        assert [text.title for text in world.sent] == ["[critical] box: 500 firing"]
        assert len(world.sent[0].body.encode()) < 6000

    run(world.during(work))


def test_metrics_are_what_prometheus_reads_and_what_the_table_says(world: World) -> None:
    async def work(alert_manager: AlertManager) -> None:
        world.activation.complaint = 'odd "name"\nwith \\'
        world.peers.append(WorkerPeer('we"ird\n\\', 5, True, 0.0))
        alert_manager.begin()
        await soon(lambda: any(event == "sample" for event, _ in world.told))
        [sample] = [data for event, data in world.told if event == "sample"]
        assert sample.time == alert_manager.series("1h").times[-1] == rfc3339(world.clock.wall())
        alert_manager.check()
        world.async_store.note("accepted", "v1", "", verdict={"gates": [{"seconds": 1.5}, {"seconds": 0.5}]})
        await soon(lambda: 'seconds_sum{verdict="accepted"} 2' in alert_manager.metrics())
        families = {family.name: family for family in text_string_to_metric_families(alert_manager.metrics())}
        table = {m.name.removesuffix("_total") if m.type == "counter" else m.name: m for m in METRICS}
        assert set(families) <= set(table)
        for name, family in families.items():
            assert family.type == table[name].type
            assert family.documentation == table[name].help
            assert all(set(sample.labels) == set(table[name].labels) for sample in family.samples)
        value = {(s.name, *sorted(s.labels.values())): s.value for f in families.values() for s in f.samples}
        assert value["modelward_worker_requests_total", "w1"] == 5
        assert value["modelward_worker_requests_total", 'we"ird\n\\'] == 0
        assert value["modelward_validation_duration_seconds_sum", "accepted"] == 2
        assert value["modelward_alert_firing", "", "critical", "needs_operator"] == 1
        assert ("modelward_memory_used_ratio",) in value

    run(world.during(work))


def test_a_test_says_how_each_channel_went(world: World) -> None:
    async def work(alert_manager: AlertManager) -> None:
        test = alert_manager.notifications.send_test
        assert (await test()).message == "1 channel reached"
        world.outcome = Outcome("it answered 500")
        answer = await test()
        assert answer.success is False
        assert answer.channels[0].because == "it answered 500"
        world.config = parse("", "test")
        assert "names nobody" in (await test()).message

    run(world.during(work))


def test_a_thousand_rejected_versions_stay_few_alerts_and_one_message(world: World) -> None:
    async def work(alert_manager: AlertManager) -> None:
        for number in range(1000):
            world.entry(f"v{number + 2}", VersionState.REJECTED, "bad")
        await world.pass_time(alert_manager, 60)
        assert len(alert_manager.active()) <= 50
        assert len(world.sent) == 1

    run(world.during(work))
