"""Workers and the daemon die in every way and at every moment: what can be answered is answered, and all heals."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import time
from pathlib import Path

import pytest
from tests.house import House
from tests.support import eventually, open_paths
from tests.system.conftest import Build
from tests.system.marks import mark
from tests.versions import good_version

from modelward.daemon.errors import ModelwardError

pytestmark = pytest.mark.system

OLD, NEW = "dtmf-v1.0", "dtmf-v1.1"


@pytest.fixture(scope="module")
def shared(build_shared: Build) -> House:
    house = build_shared()
    good_version(house.models, OLD)
    good_version(house.models, NEW, words=True)
    house.start(NEW)
    house.command("hold", version=NEW)
    return house


@pytest.fixture
def town(shared: House) -> House:
    """Two workers serve dtmf-v1.0; dtmf-v1.1 is there, accepted and held."""
    for version in (OLD, NEW):
        shared.await_state(version, "accepted")
    if shared.status()["live"] != OLD:
        shared.command("activate", version=OLD)
    shared.await_serving(OLD)
    eventually(lambda: len(shared.workers()) == 2)
    return shared


def _pids(house: House) -> set[int]:
    return {w["pid"] for w in house.workers()}


def _client_ports(house: House, pid: int) -> set[int]:
    """The clients' ports of all connections that this worker holds."""
    sockets = {name[8:-1] for name in open_paths(pid) if name.startswith("socket:[")}
    ports = set()
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[9] in sockets and int(fields[1].rpartition(":")[2], 16) == house.port and fields[3] == "01":
            ports.add(int(fields[2].rpartition(":")[2], 16))
    return ports


def test_a_killed_worker_costs_only_its_own_connections_and_is_back(town: House) -> None:
    before = mark(town)
    with town.load(clients=4) as load:
        eventually(lambda: all(_client_ports(town, pid) for pid in _pids(town)) or len(load.seconds) > 40)
        victim = max(town.workers(), key=lambda w: len(_client_ports(town, w["pid"])))
        its_clients = _client_ports(town, victim["pid"])
        os.kill(victim["pid"], signal.SIGKILL)
        eventually(lambda: victim["pid"] not in _pids(town))
        town.await_serving(OLD)
        eventually(lambda: len(_pids(town)) == 2)
        seen = len(load.seconds)
        eventually(lambda: len(load.seconds) > seen + 20)
    assert its_clients
    assert set(load.broken) <= its_clients
    assert len(load.failures) == len(load.broken) <= len(its_clients)
    assert load.mixed == []
    [entry] = before.history("worker-ended")
    assert entry["because"].endswith("died of SIGKILL")


def test_a_worker_told_to_end_loses_no_request(town: House) -> None:
    before = mark(town)
    with town.load(clients=4) as load:
        for worker in town.workers():
            os.kill(worker["pid"], signal.SIGTERM)
            eventually(lambda pid=worker["pid"]: pid not in _pids(town) and len(_pids(town)) == 2)
            town.await_serving(OLD)
    assert load.failures == []
    assert len(before.history("worker-ended")) == 2


def test_all_workers_killed_at_once_lose_nobody_who_waits_to_be_let_in(town: House) -> None:
    old = _pids(town)
    with town.load(clients=4, keep_alive=False) as load:
        seen = len(load.seconds)
        eventually(lambda: len(load.seconds) > seen + 8)
        for pid in old:
            os.kill(pid, signal.SIGKILL)
        eventually(lambda: len(_pids(town)) == 2 and old.isdisjoint(_pids(town)))
        town.await_serving(OLD)
        seen = len(load.seconds)
        eventually(lambda: len(load.seconds) > seen + 8)
    print(
        f"{len(load.seconds)} requests, {len(load.failures)} were in work; the longest took {max(load.seconds):.2f} s"
    )
    assert len(load.failures) <= 4  # those in work
    assert town.status()["ready"]


def test_a_worker_killed_while_it_prepares_is_replaced_and_the_rollout_goes_on(town: House) -> None:
    first, _ = sorted(town.workers(), key=lambda w: w["name"])
    before = mark(town)
    os.kill(first["pid"], signal.SIGSTOP)  # it will never answer
    try:
        town.api.post("/v1/activate", {"version": NEW})
        eventually(lambda: any(e["event"] == "prepare" for e in before.events("prepare")))
    finally:
        os.kill(first["pid"], signal.SIGKILL)
    town.await_serving(NEW)
    eventually(lambda: len(_pids(town)) == 2 and first["pid"] not in _pids(town))
    town.await_serving(NEW)
    assert town.status()["live"] == NEW
    assert [e["version"] for e in before.history("activated")] == [NEW]
    assert town.version(NEW)["state"] == "accepted"


def test_a_worker_killed_just_after_it_swapped_comes_to_the_same_version_as_the_others(town: House) -> None:
    first, second = sorted(town.workers(), key=lambda w: w["name"])
    before = mark(town)
    os.kill(second["pid"], signal.SIGSTOP)  # the rollout stands between its two workers
    try:
        town.api.post("/v1/activate", {"version": NEW})
        moved = eventually(lambda: next((w for w in town.workers() if w["serving"] == NEW), None))
        os.kill(moved["pid"], signal.SIGKILL)
        eventually(lambda: moved["pid"] not in _pids(town))
    finally:
        os.kill(second["pid"], signal.SIGCONT)
    assert moved["pid"] == first["pid"]
    town.await_serving(NEW)
    eventually(lambda: len(_pids(town)) == 2)
    town.await_serving(NEW)
    assert town.status()["live"] == NEW
    assert [e["version"] for e in before.history("activated")] == [NEW]


def test_a_worker_that_stands_still_for_a_moment_is_left_alone_and_answers_later(town: House) -> None:
    pids = _pids(town)
    before = mark(town)
    with town.load(clients=4) as load:
        seen = len(load.seconds)
        eventually(lambda: len(load.seconds) > seen + 8)
        os.kill(min(pids), signal.SIGSTOP)
        moment = time.monotonic() + 3.0
        eventually(lambda: time.monotonic() > moment)
        assert town.status()["ready"]
        os.kill(min(pids), signal.SIGCONT)
        seen = len(load.seconds)
        eventually(lambda: len(load.seconds) > seen + 20)
    assert load.failures == []
    assert _pids(town) == pids
    assert before.history("worker-ended") == []


@pytest.mark.skipif("MODELWARD_SLOW_TESTS" not in os.environ, reason="a hung worker is borne with for 40 s")
def test_a_worker_that_hangs_is_killed_and_replaced(town: House) -> None:
    victim = min(_pids(town))
    before = mark(town)
    os.kill(victim, signal.SIGSTOP)
    try:
        eventually(lambda: victim not in _pids(town) and len(_pids(town)) == 2)
    finally:
        if Path(f"/proc/{victim}").exists():
            os.kill(victim, signal.SIGCONT)
    town.await_serving(OLD)
    assert "sent nothing for" in before.history("worker-ended")[0]["because"]


def test_a_worker_that_can_never_boot_is_not_started_again_until_something_changes(build: Build) -> None:
    house = build()
    broken = house.root / "broken"
    (broken / "onnxruntime").mkdir(parents=True)
    (broken / "onnxruntime" / "__init__.py").write_text("raise ImportError('built for another processor')\n")
    house.import_from = (broken,)
    house.start()
    blocked = eventually(lambda: [w for w in house.workers() if w["state"] == "blocked"])
    eventually(lambda: len([w for w in house.workers() if w["state"] == "blocked"]) == 2)
    assert "exit status 3" in blocked[0]["because"]
    starts = len([e for e in house.events() if e["event"] == "worker started"])
    assert starts == 2
    uptime = house.status()["uptime_seconds"]
    eventually(lambda: house.status()["uptime_seconds"] > uptime + 3)  # a respawn would come after one second
    assert len([e for e in house.events() if e["event"] == "worker started"]) == starts
    shutil.rmtree(broken)
    good_version(house.models, OLD)
    assert house.command("reload")["success"]
    house.await_serving(OLD)
    assert len(_pids(house)) == 2


# the daemon


def test_workers_serve_on_without_the_daemon_and_are_taken_back_without_a_reload(town: House) -> None:
    pids, before = _pids(town), mark(town)
    with town.load(clients=4) as load:
        town.kill()
        alone = len(load.seconds)
        eventually(lambda: len(load.seconds) > alone + 20)
        town.start(OLD)
        eventually(lambda: _pids(town) == pids)
        seen = len(load.seconds)
        eventually(lambda: len(load.seconds) > seen + 20)
    assert load.failures == []
    assert set(load.answers) == {(OLD, "5551234")}
    assert before.loads() == 0
    assert _pids(town) == pids
    assert not any(w["attached"] for w in town.workers())
    os.kill(min(pids), signal.SIGKILL)  # and it watches those that it did not start
    eventually(lambda: min(pids) not in _pids(town) and len(_pids(town)) == 2)
    town.await_serving(OLD)


def test_a_worker_that_dies_while_there_is_no_daemon_is_replaced_when_it_returns(town: House) -> None:
    pids = _pids(town)
    with town.load(clients=2, keep_alive=False) as load:
        town.kill()
        os.kill(min(pids), signal.SIGTERM)
        eventually(lambda: not Path(f"/proc/{min(pids)}").exists() or _zombie(min(pids)))
        town.start()
        eventually(lambda: len(_pids(town)) == 2 and min(pids) not in _pids(town))
        town.await_serving(OLD)
    assert max(pids) in _pids(town)
    assert load.failures == []


def _zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_a_daemon_killed_at_any_moment_of_a_rollout_comes_back_to_one_version_that_the_link_names(town: House) -> None:
    outcomes = []
    with town.load(clients=2) as load:
        for i in range(6):
            target = OLD if os.readlink(town.link) == NEW else NEW
            other = NEW if target == OLD else OLD
            before = mark(town)
            town.api.post("/v1/activate", {"version": target})
            moment = time.monotonic() + 0.03 * i
            eventually(lambda due=moment: time.monotonic() >= due)
            town.kill()
            linked = os.readlink(town.link)
            town.start(linked)
            assert os.readlink(town.link) == linked
            assert town.status()["live"] == linked
            moved = any(e["version"] == target for e in before.events("serving"))
            outcomes.append("new" if linked == target else f"old after {'a' if moved else 'no'} worker moved")
            assert linked in (target, other)
    print(outcomes)
    assert load.failures == []
    assert load.mixed == []


def test_what_was_reported_as_done_outlives_the_daemons_death(town: House) -> None:
    for target in (NEW, OLD):
        assert town.command("activate", version=target)["success"]
        town.kill()
        assert os.readlink(town.link) == target
        before = mark_of_log(town)
        town.start(target)
        assert [e for e in town.events()[before:] if e["event"] == "preparing"] == []


def mark_of_log(house: House) -> int:
    """How many lines the event log has; for when there is no daemon to ask."""
    return len(house.events())


def test_a_worker_that_does_not_hear_the_end_is_killed_when_its_time_is_over(build: Build) -> None:
    house = build(workers={"drain": 1})
    good_version(house.models, OLD)
    house.start(OLD)
    deaf, _ = sorted(_pids(house))
    os.kill(deaf, signal.SIGSTOP)
    assert house.stop() == 0
    assert house.worker_pids() == []


def test_a_second_daemon_is_refused_at_once_and_the_first_does_not_notice(town: House) -> None:
    pids = _pids(town)
    second = town.cli("run", "--config", town.config)
    assert second.returncode == 1
    assert second.stderr.startswith("cannot start: another daemon runs in ")
    assert town.serves(OLD)
    assert _pids(town) == pids


def test_sockets_that_somebody_removed_are_there_again_after_the_next_look(town: House) -> None:
    run = town.root / "run"
    pids = _pids(town)
    for path in (run / "api.sock", run / "workers.sock"):
        path.unlink()
    eventually(lambda: (run / "api.sock").is_socket() and (run / "workers.sock").is_socket())
    assert town.serves(OLD)
    assert _pids(town) == pids

    shutil.rmtree(run)
    eventually(lambda: (run / "api.sock").is_socket() and (run / "workers.sock").is_socket())
    eventually(lambda: (run / "workers.json").is_file())
    town.await_serving(OLD)
    assert (run / "api.sock").stat().st_mode & 0o777 == 0o660
    # Workers are confined to the directory that was there before; their successors find the sockets.
    eventually(lambda: len(_pids(town)) == 2 and not _pids(town) & pids)
    town.await_serving(OLD)


def test_no_second_daemon_starts_though_the_runtime_directory_was_removed(town: House) -> None:
    run, pids = town.root / "run", _pids(town)
    shutil.rmtree(run)
    eventually(lambda: (run / "api.sock").is_socket() and (run / "workers.json").is_file())
    second = town.cli("run", "--config", town.config)
    assert second.returncode == 1
    assert second.stderr.startswith("cannot start: another daemon runs in ")
    eventually(lambda: len(_pids(town)) == 2 and not _pids(town) & pids)  # confined to the directory that is gone
    town.await_serving(OLD)


def test_what_a_dead_daemon_left_in_the_runtime_directory_stops_no_start(town: House) -> None:
    pids = _pids(town)
    town.kill()
    run = town.root / "run"
    (run / "api.sock").unlink()
    (run / "api.sock").write_text("not a socket")
    (run / ".workers.json.tmp").write_text('{"torn')
    (town.models / ".current.0123abcd").symlink_to(NEW)
    town.start(OLD)
    eventually(lambda: _pids(town) == pids)
    assert town.command("activate", version=NEW)["success"]
    assert not (town.models / ".current.0123abcd").is_symlink()


def test_without_a_descriptor_to_be_had_it_fails_to_spawn_and_goes_on_trying(town: House) -> None:
    assert town.process is not None
    pid = town.process.pid
    limits = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    victim = min(_pids(town))
    before = mark(town)
    with town.load(clients=2, keep_alive=False) as load:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (3, limits[1]))  # what is open stays, nothing comes
        try:
            os.kill(victim, signal.SIGTERM)
            eventually(lambda: any("cannot start a worker" in e["event"] for e in town.events()[before.lines :]))
            seen = len(load.seconds)
            eventually(lambda: len(load.seconds) > seen + 10)
        finally:
            resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)

        def healed() -> bool:
            try:
                return len(_pids(town)) == 2 and town.serves(OLD)
            except ModelwardError:
                return False

        eventually(healed)
    assert town.process.poll() is None
    assert load.failures == []
