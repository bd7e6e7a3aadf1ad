"""One soak from its start to its report: builds the town, lets the plan befall it under load, asks for rest, judges."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import psutil
from tests.house import clip
from tests.soak import judge
from tests.soak.cast import Cast
from tests.soak.clients import Clients, Request
from tests.soak.lines import Gatherer
from tests.soak.plan import FIRST_VERSION, Action, plan
from tests.soak.town import Town, build
from tests.soak.watcher import (
    Holding,
    Watcher,
    medians,
    worker_holding,
)
from tests.support import eventually
from tests.versions import BROKEN

from modelward.daemon.errors import ModelwardError

REST_SECONDS: Final = 180.0
LEAK_SECONDS: Final = 120.0  # a shorter soak says nothing about memory
PENDING: Final = {"seen", "settling", "validating"}
UNSURE: Final = {kind for kind, how in BROKEN.items() if how.caught in ("serving", "latency") or how.not_as_root}


@dataclass
class Report:
    """What a soak came to. `broken` are the promises that were not kept."""

    seed: int
    seconds: float
    town: Town
    figures: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    gathered: Gatherer | None = None
    history: list[dict[str, Any]] = field(default_factory=list)
    failed: list[Request] = field(default_factory=list)

    def text(self) -> str:
        head = f"soak of {self.seconds:g} s, seed {self.seed}"
        broken = [f"BROKEN: {sentence}" for sentence in self.broken] or ["every promise was kept"]
        return "\n".join([head, *(f"  {line}" for line in self.figures), *broken])

    def keep(self, place: Path) -> None:
        """Copies what explains it to `place`: the soak's own log, the daemon's output, the logs."""
        place.mkdir(parents=True, exist_ok=True)
        failed = [f"{r.began - self.town.began:8.2f} {r.ended - self.town.began:8.2f} {r}" for r in self.failed]
        text = "\n".join([self.text(), "", *self.town.log, "", "requests that failed:", *failed])
        (place / "soak.log").write_text(text + "\n", encoding="utf-8")
        (place / "history.json").write_text(json.dumps(self.history, indent=1), encoding="utf-8")
        with contextlib.suppress(OSError):
            shutil.copy(self.town.house.root / "daemon.out", place)
        for name in ("access.log", "modelward.log"):
            if self.gathered is not None:
                (place / name).write_bytes(b"".join(self.gathered.contents(name)))


def soak(base: Path, seed: int, seconds: float) -> Report:
    """Plays the plan of this seed in the empty directory `base`, on a house of its own."""
    town = build(base)
    report = Report(seed, seconds, town)
    actions = plan(seed, seconds, sorted(BROKEN))
    gatherer = report.gathered = Gatherer(town.house.log_dir)
    try:
        town.start()
        town.house.await_serving(FIRST_VERSION)
        eventually(lambda: len(town.ready()) == 2, 30)
        eventually(lambda: _all_have_answered(town), 30)  # what a worker opens at its first request it keeps open
        _play(town, report, actions, gatherer)
    except AssertionError as e:
        report.broken.append(str(e))
        gatherer.look()
    finally:
        town.house.close()
        town.reap()
    return report


def _play(town: Town, report: Report, actions: list[Action], gatherer: Gatherer) -> None:
    before, began = _at_rest(town), time.monotonic()
    clients, watcher, cast = Clients(town.house.port, clip()), Watcher(town.house), Cast(town)
    town.began = began
    for part in (gatherer, watcher, clients):
        part.begin()
    try:
        cast.play(actions, report.seconds)
        played = time.monotonic()
        town.seam.set(0.0)
        _await_rest(town)
    except AssertionError as e:
        report.broken.append(str(e))
        played = time.monotonic()
    clients.end()
    watcher.end()
    after = _at_rest(town)
    state = _State.of(town)
    report.broken += cast.wrong
    report.broken += _ended_well(town, state)
    if town.house.process is not None and town.house.process.poll() is None:
        status = town.house.stop(60)
        report.broken += [f"the daemon ended with status {status}"] if status else []
        report.broken += _nobody_left(town)
    gatherer.end()
    _judge(town, report, clients, watcher, gatherer, cast, state)
    _judge_holdings(report, watcher, before, after, began, played)


# rest


def _all_have_answered(town: Town) -> bool:
    """Asks once; whether every worker has answered a request by now."""
    town.house.transcribe()
    return all(worker["requests"] for worker in town.house.workers())


def _await_rest(town: Town) -> None:
    """Returns when nothing waits for a verdict, no rollout is under way and every worker serves what the link names."""

    def rests() -> bool:
        town.reap()
        with contextlib.suppress(ModelwardError, OSError):
            house = town.house
            if any(v["state"] in PENDING for v in house.versions().values()) or house.status()["rollout"]:
                return False
            return len(town.ready()) == 2 and not _wrongly_served(town)
        return False

    eventually(rests, REST_SECONDS)
    # A verdict of the last moment is followed by a rollout: what was decided by then is over when that look ends.
    with contextlib.suppress(ModelwardError):
        town.house.command("rescan")
    eventually(rests, REST_SECONDS)


def _wrongly_served(town: Town) -> str:
    """Why not every worker serves the accepted version that the link names, "" when they do."""
    linked = os.path.basename(os.path.realpath(town.house.link))
    versions = town.house.versions()
    live = versions.get(linked, {})
    if live.get("state") != "accepted":
        return f"the link names {linked}, which is {live.get('state', 'not there')}"
    for worker in town.house.workers():
        served = versions.get(worker["serving"], {}).get("digest", "")
        if worker["serving"] != linked and served != live["digest"] and not _same_bytes(town, live["digest"]):
            return f"{worker['name']} serves {worker['serving']}, the link names {linked}"
    return ""


def _same_bytes(town: Town, digest: str) -> bool:
    """Whether what answers has these bytes, under whatever name it was loaded."""
    for _ in range(8):
        connection = http.client.HTTPConnection("127.0.0.1", town.house.port, timeout=20)
        with contextlib.closing(connection):
            connection.request("POST", "/api/predict", clip(), {"Content-Type": "audio/wav"})
            response = connection.getresponse()
            response.read()
            if response.getheader("X-Model-Digest") != digest:
                return False
    return True


def _at_rest(town: Town) -> dict[str, int]:
    """The most descriptors that a process of each role holds now."""
    daemon = town.house.process.pid if town.house.process else 0
    held = [worker_holding(daemon, "daemon"), *(worker_holding(pid, "worker") for pid in town.ready())]
    found: dict[str, int] = {}
    for holding in filter(None, held):
        found[holding.role] = max(found.get(holding.role, 0), holding.descriptors)
    return found


# what is left


@dataclass(frozen=True)
class _State:
    """What the daemon said at the end."""

    versions: dict[str, dict[str, Any]]
    workers: list[dict[str, Any]]
    history: list[dict[str, Any]]

    @classmethod
    def of(cls, town: Town) -> _State:
        try:
            return cls(town.house.versions(), town.house.workers(), _history(town))
        except ModelwardError as e:
            town.say(str(e))
            return cls({}, [], [])


def _history(town: Town) -> list[dict[str, Any]]:
    """All of it, newest first."""
    found: list[dict[str, Any]] = []
    while page := town.house.api.get("/v1/history", n=500, before=found[-1]["id"] if found else 0).data["history"]:
        found += page
    return found


def _ended_well(town: Town, state: _State) -> list[str]:
    """The end state: what is served, processes, leftovers."""
    if not state.workers:
        return ["the daemon does not answer at the end"]
    found = [said] if (said := _wrongly_served(town)) else []
    house, pids = town.house, {w["pid"] for w in state.workers}
    daemon = house.process.pid if house.process else 0
    strangers = set(house.worker_pids()) - pids
    if strangers:
        found.append(f"processes {sorted(strangers)} work for the house and the daemon does not know them")
    try:
        eventually(lambda: not _zombies(daemon))  # one that ended just now is collected a moment later
    except AssertionError:
        found.append(f"the daemon has zombies: {_zombies(daemon)}")
    town.reap()
    orphans = [c for c in psutil.Process().children() if c.pid != daemon and c.pid not in pids]
    if orphans:
        found.append(f"orphans are left: {[(c.pid, c.cmdline()) for c in orphans]}")
    left = [str(p) for place in (house.models, house.root / "cache", house.root / "state") for p in _leftovers(place)]
    if left:
        found.append(f"half-made things are left: {left}")
    return found


def _zombies(pid: int) -> list[int]:
    return [c.pid for c in psutil.Process(pid).children() if c.status() == psutil.STATUS_ZOMBIE]


def _leftovers(place: Path) -> list[Path]:
    return [p for p in place.rglob("*") if p.name.startswith((".tmp-", ".current.")) or p.name.endswith(".part")]


def _nobody_left(town: Town) -> list[str]:
    """After its end nothing of the house runs."""

    def gone() -> bool:
        town.reap()
        return not psutil.Process().children(recursive=True)

    try:
        eventually(gone, 10)
    except AssertionError:
        return [f"after the daemon's end there run {[c.cmdline() for c in psutil.Process().children(recursive=True)]}"]
    return []


# judgement


def _judge(
    town: Town,
    report: Report,
    clients: Clients,
    watcher: Watcher,
    gatherer: Gatherer,
    cast: Cast,
    state: _State,
) -> None:
    requests, events, lines = clients.requests, gatherer.events(), gatherer.access()
    said, begun, unfinished = judge.rollouts(events, state.history, len(town.daemon_kills))
    report.broken += [
        *judge.failures(requests, town.kills),
        *judge.answers(requests, watcher.serving, town.styles),
        *judge.access_log(requests, lines, town.kills),
        *judge.by_age(state.history),
        *judge.verdicts(state.versions, town.kinds, UNSURE),
        *said,
        *judge.troubles(events),
    ]
    report.history, report.failed = state.history, [r for r in requests if r.status != 200]
    took = sorted(r.ended - r.began for r in requests if r.status == 200) or [0.0]
    kinds = Counter(e["kind"] for e in state.history)
    errors = Counter(e["event"] for e in events if e.get("level") == "error")
    report.figures += [
        f"actions: {sum(cast.done.values())} done ({_counts(cast.done)})",
        f"left: {_counts(cast.left) or 'none'}" + (f"; disks: {town.small_disks}" if town.small_disks else ""),
        f"requests: {len(requests)} by {clients.count} clients, {len(report.failed)} failed, with "
        f"{len(town.kills)} workers killed; p50 {took[len(took) // 2] * 1000:.0f} ms, "
        f"p99 {took[int(len(took) * 0.99)] * 1000:.0f} ms, longest {took[-1]:.2f} s",
        f"versions that answered: {len({r.version for r in requests if r.status == 200})}",
        f"access log: {len(lines.requests)} lines once each in {gatherer.archives} archives and the live files, "
        f"{lines.dropped} dropped and counted, {lines.torn} torn by a full disk, {lines.mended} behind them read",
        f"daemon: killed {len(town.daemon_kills)} times, {town.failed_starts} starts failed",
        f"rollouts: {begun} begun, {unfinished} without an outcome: daemon killed, or disk full and that logged",
        f"history: {_counts(kinds)}",
        f"errors said: {_counts(errors) or 'none'}",
    ]


def _judge_holdings(
    report: Report, watcher: Watcher, before: dict[str, int], after: dict[str, int], began: float, ended: float
) -> None:
    holdings: list[Holding] = watcher.holdings
    for role in ("daemon", "worker"):
        memory = medians(holdings, role, "rss_bytes", began, ended)
        most = max((h.rss_bytes for h in holdings if h.role == role), default=0)
        fds = medians(holdings, role, "descriptors", began, ended)
        report.figures.append(
            f"{role}: {memory[0] / 2**20:.1f} -> {memory[1] / 2**20:.1f} MiB (medians of the halves), most "
            f"{most / 2**20:.1f}; descriptors {fds[0]:.0f} -> {fds[1]:.0f}, at rest {before.get(role, 0)} -> "
            f"{after.get(role, 0)}"
        )
        if report.seconds >= LEAK_SECONDS:
            report.broken += judge.growth(role, memory)
        report.broken += judge.descriptors(role, before.get(role, 0), after.get(role, 0))


def _counts(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items()))
