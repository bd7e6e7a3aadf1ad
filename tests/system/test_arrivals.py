"""How versions and the model root come, change and go while clients ask: what serves serves on."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.house import House
from tests.support import PATIENCE_SECONDS, eventually
from tests.system.conftest import Build
from tests.system.marks import at, mark
from tests.versions import (
    MODEL,
    CopyUnderway,
    external_version,
    good_version,
)

from modelward.daemon.errors import Refused

pytestmark = pytest.mark.system

FIRST = "dtmf-v1.0"
DATA = f"{MODEL}.data"
SETTLE_SECONDS = 0.3
ELSEWHERE = "somewhere-else"


@pytest.fixture(scope="module")
def shared(build_shared: Build) -> House:
    house = build_shared(models={"settle": SETTLE_SECONDS, "rescan": 0.4})
    good_version(house.models, FIRST)
    return house.start(FIRST)


@pytest.fixture
def town(shared: House) -> House:
    """dtmf-v1.0 is live and alone: as every test finds it."""
    _put_root_back(shared)
    if not (shared.models / FIRST).exists():
        good_version(shared.models, FIRST)
    shared.await_state(FIRST, "accepted")
    if shared.status()["live"] != FIRST:
        shared.command("activate", version=FIRST)
    for entry in shared.models.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            if entry.name != FIRST:
                shutil.rmtree(entry)
        elif entry != shared.link:
            entry.unlink()
    eventually(lambda: list(shared.versions()) == [FIRST])
    for name in ("dtmf-v1.1", "dtmf-v1.2"):  # held by the way back to the first
        with contextlib.suppress(Refused):
            shared.command("release", version=name)
    shared.await_serving(FIRST)
    eventually(lambda: not shared.alerts())
    return shared


def _put_root_back(house: House) -> None:
    """What `FAULTS` did to the root, undone."""
    if (house.root / ELSEWHERE).exists():
        if house.models.is_dir():
            shutil.rmtree(house.models)
        else:
            house.models.unlink(missing_ok=True)
        os.rename(house.root / ELSEWHERE, house.models)


def _at_rest(house: House) -> None:
    """Returns when nothing is waiting for a verdict and no rollout is under way, a look later."""
    house.command("reload")
    busy = {"seen", "settling", "validating"}
    eventually(lambda: not house.status()["rollout"] and not any(v["state"] in busy for v in house.versions().values()))


def _idle(house: House) -> bool:
    """Whether a worker is there that has nothing to serve."""
    return "idle" in {w["state"] for w in house.workers()}


def _by_another_process(program: str, *arguments: object) -> None:
    subprocess.run([sys.executable, "-c", program, *map(str, arguments)], check=True, timeout=PATIENCE_SECONDS)


# how versions come


def test_a_command_knows_what_was_put_there_just_before(town: House) -> None:
    for number in range(3):
        name = f"dtmf-v0.{number}"
        good_version(town.models, f".{name}")
        (town.models / f".{name}").rename(town.models / name)
        assert town.command("hold", version=name)["success"]
        assert name in town.versions()


def test_a_slow_copy_goes_live_after_its_end_and_never_before(town: House) -> None:
    source = good_version(town.root / "slow", "dtmf-v1.1", words=True)
    town.configure(models={"settle": 3})  # far longer than from one chunk to the next, on any machine
    town.command("reload")
    before = mark(town)
    with town.load(clients=2) as load:
        copy = CopyUnderway(source, town.models / "dtmf-v1.1", chunk_bytes=16_384)
        steps = 0
        until = time.monotonic()
        while copy.step():
            steps += 1
            until += 0.1
            eventually(lambda due=until: time.monotonic() >= due)
        ended = time.time()
        assert town.version("dtmf-v1.1")["state"] in ("seen", "settling")
        town.await_serving("dtmf-v1.1")
    [validation] = before.events("validating")
    print(f"{steps} chunks; judged from {at(validation) - ended:.3f} s after the last")
    assert at(validation) >= ended - 0.1
    assert before.loads() == 2
    town.configure()
    town.command("reload")
    assert load.failures == []
    assert load.mixed == []


@pytest.mark.parametrize("order", [(MODEL, DATA), (DATA, MODEL)], ids=["model first", "weights first"])
def test_what_comes_in_two_parts_goes_live_when_both_are_there(town: House, order: tuple[str, str]) -> None:
    source = external_version(town.root / f"parts {order[0]}", "dtmf-v1.1", words=True)
    target = town.models / "dtmf-v1.1"
    before = mark(town)
    town.configure(validation={"alert_after": "1h"})
    town.command("reload")

    def arriving(words: str) -> bool:
        waiting = town.version("dtmf-v1.1").get("waiting", "")
        return waiting.startswith("still arriving: ") and words in waiting

    with town.load(clients=1) as load:
        target.mkdir()
        eventually(lambda: arriving("it holds no files yet"))
        for file in (f for f in source.rglob("*") if f.is_file() and f.name != order[1]):  # as scp does, one by one
            (target / file.relative_to(source)).parent.mkdir(exist_ok=True)
            shutil.copyfile(file, target / file.relative_to(source))
        eventually(lambda: arriving("model.onnx.data" if order[0] == MODEL else "no .onnx file is there"))
        assert town.command("rescan")["success"], "nobody named it"
        assert town.serves(FIRST)
        assert before.loads() == 0
        shutil.copy(source / order[1], target)
        town.await_serving("dtmf-v1.1")
    assert load.failures == []
    assert load.mixed == []
    assert [e["kind"] for e in before.history() if e["version"] == "dtmf-v1.1"] == ["accepted", "activated"]
    assert not [e for e in before.history("alert-firing") if "dtmf-v1.1" in e["because"]]
    town.configure()
    town.command("reload")


def test_a_command_judges_a_copy_as_it_is(town: House) -> None:
    town.configure(validation={"alert_after": "1h"})
    town.command("reload")
    (town.models / "dtmf-v1.1").mkdir()
    (town.models / "dtmf-v1.1" / "model.onnx.part").touch()
    eventually(lambda: town.version("dtmf-v1.1").get("waiting", "").startswith("still arriving: model.onnx.part"))
    with pytest.raises(Refused, match="cannot activate dtmf-v1.1: it is rejected: cannot find"):
        town.command("activate", version="dtmf-v1.1")
    town.configure()
    town.command("reload")


def test_a_version_that_cannot_be_compared_does_not_go_live_and_what_to_type_is_said(town: House) -> None:
    good_version(town.models, "dtmf-v1.0-int8", words=True)
    because = eventually(lambda: town.version("dtmf-v1.0-int8").get("unchosen_because"))
    eventually(lambda: because in [alert["message"] for alert in town.status()["alerts"]])
    assert f"not chosen dtmf-v1.0-int8: {because}" in town.cli("versions").stdout.splitlines()
    assert because in town.cli("status").stdout
    assert town.serves(FIRST)
    command = because.split("`")[1].split()
    assert command[:2] == ["modelward", "activate"]
    assert town.cli(*command[1:]).returncode == 0
    town.await_serving("dtmf-v1.0-int8")
    eventually(lambda: not [a for a in town.status()["alerts"] if a["metric"] == "version_unchosen"])


def test_two_versions_that_differ_in_one_byte_and_neither_in_size_nor_time_are_two(town: House) -> None:
    one = good_version(town.models, "dtmf-v1.1", golden=False)
    town.await_serving("dtmf-v1.1")
    other = shutil.copytree(one, town.root / "one byte" / "dtmf-v1.2")
    tokens = other / "tokens.json"
    times = tokens.stat()
    tokens.write_bytes(tokens.read_bytes().replace(b'"5"', b'"V"'))
    os.utime(tokens, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert (tokens.stat().st_size, tokens.stat().st_mtime_ns) == (
        times.st_size,
        (one / "tokens.json").stat().st_mtime_ns,
    )
    os.rename(other, town.models / "dtmf-v1.2")
    town.await_serving("dtmf-v1.2")
    assert town.transcribe()[1]["result"] == "VVV1234"
    assert town.version("dtmf-v1.1")["digest"] != town.version("dtmf-v1.2")["digest"]

    before = mark(town)  # and under the same name, in place
    served = town.models / "dtmf-v1.2" / "tokens.json"
    times = served.stat()
    with open(served, "r+b") as file:
        file.seek(served.read_bytes().index(b'"V"') + 1)
        file.write(b"Y")
    os.utime(served, ns=(times.st_atime_ns, times.st_mtime_ns))
    eventually(lambda: before.history("activated"))
    town.await_serving("dtmf-v1.2")
    assert town.transcribe()[1]["result"] == "YYY1234"


@pytest.mark.parametrize("year", [1980, 2099])
def test_times_from_a_wrong_clock_change_nothing(town: House, year: int) -> None:
    when = (year - 1970) * 365.25 * 86400
    version = good_version(town.root / f"year {year}", "dtmf-v1.1", words=True)
    for path in (*version.rglob("*"), version):
        os.utime(path, (when, when))
    with town.load(clients=1) as load:
        shutil.copytree(version, town.models / "dtmf-v1.1")
        town.await_serving("dtmf-v1.1")
        good_version(town.models, "dtmf-v1.2", golden=False)
        town.await_serving("dtmf-v1.2")
    assert load.failures == []


# what others do to the served version


def test_overwriting_the_served_version_changes_no_answer_and_makes_it_another_candidate(town: House) -> None:
    model = town.models / FIRST / MODEL
    whole = model.read_bytes()
    before = mark(town)
    with town.load(clients=2) as load:
        _by_another_process("import sys; open(sys.argv[1], 'r+b').write(bytes(200_000))", model)
        refused = town.await_state(FIRST, "rejected")
        assert not refused["verdict"]["accepted"]
        eventually(lambda: town.alerts())
        assert "cannot put it back: the files of dtmf-v1.0 are gone or others" in str(town.alerts())
        for worker in town.workers():  # even a worker that starts now serves what served before
            os.kill(worker["pid"], signal.SIGTERM)
        pids = {w["pid"] for w in town.workers()}
        eventually(lambda: pids.isdisjoint(w["pid"] for w in town.workers()) and town.serves(FIRST))
        assert town.transcribe()[1]["result"] == "5551234"
        model.write_bytes(whole)
        town.await_state(FIRST, "accepted")
        eventually(lambda: not town.alerts())
    assert load.failures == []
    assert set(load.answers) == {(FIRST, "5551234")}
    assert before.history("activated") == []


def test_truncating_the_served_version_harms_nobody(town: House) -> None:
    model = town.models / FIRST / MODEL
    whole = model.read_bytes()
    before = mark(town)
    with town.load(clients=2) as load:
        for size in (len(whole) // 2, 0):
            _by_another_process("import os, sys; os.truncate(sys.argv[1], int(sys.argv[2]))", model, size)
            eventually(lambda: town.version(FIRST)["state"] in ("settling", "validating"))
            town.await_state(FIRST, "rejected")
        model.write_bytes(whole)
        town.await_state(FIRST, "accepted")
        eventually(lambda: not town.alerts())
    assert load.failures == []
    assert set(load.answers) == {(FIRST, "5551234")}
    assert before.history("worker-ended") == []
    assert before.loads() == 0


def test_other_good_files_under_the_live_name_are_judged_and_rolled_out(town: House) -> None:
    other = good_version(town.root / "replaced", FIRST, words=True)
    before = mark(town)
    with town.load(clients=2) as load:
        os.rename(town.models / FIRST, town.models / ".old")
        os.rename(other, town.models / FIRST)
        eventually(lambda: before.history("activated"))
        town.await_serving(FIRST)
    assert town.transcribe()[1]["result"] == "five five five one two three four"
    assert load.failures == []
    assert {text for _, text in load.answers} == {"5551234", "five five five one two three four"}
    [activated] = before.history("activated")
    assert "replaced" in activated["because"]
    shutil.rmtree(town.models / FIRST)
    os.rename(town.models / ".old", town.models / FIRST)
    eventually(lambda: len(before.history("activated")) == 2)
    town.await_serving(FIRST)
    assert town.transcribe()[1]["result"] == "5551234"


def test_what_lies_beside_the_versions_is_passed_over(town: House) -> None:
    root = town.models
    before = mark(town)
    with town.load(clients=1) as load:
        (root / "dtmf-v9.0").symlink_to("nowhere")
        (root / "dtmf-v9.1").symlink_to("/etc")
        (root / "dtmf-v9.2").symlink_to(FIRST)
        os.mkfifo(root / "dtmf-v9.3")
        (root / "dtmf-v9.4").write_text("a file")
        (root / "notes.txt").write_text("another")
        for name in (".hidden", "dtmf-v9.5.tmp", "dtmf-v9.6.part"):
            good_version(root, name)
        here = os.open(root, os.O_PATH)
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(f"/proc/self/fd/{here}/dtmf-v9.7")
        os.close(here)
        (root / "empty-v9.8").mkdir()
        os.mkdir(os.fsencode(root) + b"/dtmf-v9.9\xff")
        good_version(root, "dtmf-v1.1", words=True)
        town.await_serving("dtmf-v1.1")
        _at_rest(town)
    os.rmdir(os.fsencode(root) + b"/dtmf-v9.9\xff")
    names = set(town.versions())
    assert names - {"empty-v9.8"} == {FIRST, "dtmf-v1.1"}
    assert town.version("empty-v9.8").get("state", "rejected") == "rejected"
    assert load.failures == []
    assert [e["version"] for e in before.history("activated")] == ["dtmf-v1.1"]


def test_a_version_deleted_while_it_is_judged_is_forgotten(town: House) -> None:
    before = mark(town)
    with town.load(clients=1) as load:
        version = good_version(town.models, "dtmf-v1.1", words=True)
        eventually(lambda: town.version("dtmf-v1.1").get("state") == "validating")
        shutil.rmtree(version)
        eventually(lambda: before.history("vanished"))
        _at_rest(town)
        assert town.serves(FIRST)
        good_version(town.models, "dtmf-v1.1", words=True)  # and comes back
        town.await_serving("dtmf-v1.1")
    assert load.failures == []
    assert load.mixed == []
    assert before.history("rejected") == []


def test_deleting_the_served_version_unloads_nothing(town: House) -> None:
    before = mark(town)
    with town.load(clients=2) as load:
        shutil.rmtree(town.models / FIRST)
        eventually(lambda: f"still serving {FIRST}" in str(town.alerts()))
        pid = town.workers()[0]["pid"]
        os.kill(pid, signal.SIGTERM)  # its successor finds the private copy
        eventually(lambda: pid not in {w["pid"] for w in town.workers()} and len(town.workers()) == 2)
        town.await_serving(FIRST)
        good_version(town.models, FIRST)
        town.await_state(FIRST, "accepted")
        eventually(lambda: not town.alerts())
    assert load.failures == []
    assert set(load.answers) == {(FIRST, "5551234")}
    assert before.history("activated") == []


# what happens to the root


def _another_empty(house: House) -> None:
    os.rename(house.models, house.root / ELSEWHERE)
    house.models.mkdir()


def _gone(house: House) -> None:
    os.rename(house.models, house.root / ELSEWHERE)


def _a_file(house: House) -> None:
    os.rename(house.models, house.root / ELSEWHERE)
    house.models.write_text("no directory")


def _deleted(house: House) -> None:
    shutil.copytree(house.models, house.root / ELSEWHERE, symlinks=True)
    shutil.rmtree(house.models)


def _deleted_and_made_again(house: House) -> None:
    _deleted(house)
    house.models.mkdir()


FAULTS: dict[str, Callable[[House], None]] = {
    "renamed away": _gone,
    "renamed and another made": _another_empty,
    "a file in its place": _a_file,
    "deleted": _deleted,
    "deleted and made again": _deleted_and_made_again,
}


@pytest.mark.parametrize("fault", FAULTS)
def test_the_loaded_version_serves_on_whatever_becomes_of_the_root_and_the_next_look_heals(
    town: House, fault: str
) -> None:
    before = mark(town)
    with town.load(clients=2) as load:
        FAULTS[fault](town)
        said = (f"still serving {FIRST}", "the model root is absent")
        eventually(lambda: any(words in str(town.alerts()) for words in said))
        assert town.status()["ready"]
        if "made" in fault:
            os.kill(town.workers()[0]["pid"], signal.SIGTERM)  # and whoever starts now serves it too
            eventually(lambda: len(before.history("worker-ended")) == 1)
            town.await_serving(FIRST)
        _put_root_back(town)
        eventually(lambda: not town.alerts())
        good_version(town.models, "dtmf-v1.1", words=True)
        town.await_serving("dtmf-v1.1")
    assert load.failures == []
    assert load.mixed == []
    assert [e["version"] for e in before.history("activated")] == ["dtmf-v1.1"]
    eventually(lambda: town.status()["watch"]["state"] == "watching")


def test_a_root_made_again_takes_new_versions_at_once(town: House) -> None:
    with town.load(clients=1) as load:
        _deleted_and_made_again(town)
        good_version(town.models, "dtmf-v1.1", words=True)
        town.await_serving("dtmf-v1.1")
        assert os.readlink(town.link) == "dtmf-v1.1"
    assert load.failures == []
    shutil.rmtree(town.root / ELSEWHERE)


def test_a_flood_of_events_that_hides_the_last_move_is_survived(town: House) -> None:
    good_version(town.models, "dtmf-v0.9", words=True)
    town.await_state("dtmf-v0.9", "accepted")
    limit = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    if limit > 50_000:
        pytest.skip(f"fs.inotify.max_queued_events is {limit}: too many files to make")
    assert town.process is not None
    names = [town.models / f".flood{i}" for i in range(limit + 500)]
    town.process.send_signal(signal.SIGSTOP)
    try:
        for name in names:
            os.mkfifo(name)
        os.symlink("dtmf-v0.9", town.models / ".next")
        os.replace(town.models / ".next", town.link)
    finally:
        town.process.send_signal(signal.SIGCONT)
    town.await_serving("dtmf-v0.9")
    for name in names:
        name.unlink()


def test_a_root_that_is_missing_at_start_is_served_from_when_it_comes(build: Build) -> None:
    house = build()
    house.models.rmdir()
    house.start()
    assert "model root is absent" in str(house.alerts())
    status, answer, _ = eventually(lambda: house.transcribe() if _idle(house) else None)
    assert status == 503, answer
    good_version(house.root / "coming", FIRST)
    os.rename(house.root / "coming", house.models)
    house.await_serving(FIRST)
    assert house.transcribe()[1]["result"] == "5551234"
    assert house.alerts() == []


def test_a_root_that_is_mounted_over_unloads_nothing_and_is_followed_again_afterwards(build: Build) -> None:
    if os.geteuid() != 0 or shutil.which("unshare") is None or shutil.which("nsenter") is None:
        pytest.skip("mounting needs root, unshare and nsenter")
    house = build()
    house.prefix = ("unshare", "--mount")
    good_version(house.models, FIRST)
    house.start(FIRST)
    assert house.process is not None

    def in_its_place(*command: str) -> None:
        assert house.process is not None
        entered = ["nsenter", "--mount", "--target", str(house.process.pid), *command]
        if (done := subprocess.run(entered, capture_output=True, text=True, timeout=PATIENCE_SECONDS)).returncode != 0:
            pytest.skip(f"cannot {command[0]} here: {done.stderr.strip()}")

    before = mark(house)
    with house.load(clients=1) as load:
        in_its_place("mount", "-t", "tmpfs", "tmpfs", str(house.models))
        alert = eventually(lambda: house.alerts())
        assert f"still serving {FIRST}" in str(alert)
        assert list(house.versions()) == []
        in_its_place("umount", str(house.models))
        eventually(lambda: not house.alerts())
        assert before.loads() == 0
        good_version(house.models, "dtmf-v1.1", words=True)
        house.await_serving("dtmf-v1.1")
    assert load.failures == []
    assert [e["version"] for e in before.history("activated")] == ["dtmf-v1.1"]


@pytest.mark.parametrize("limit", ["max_inotify_instances", "max_inotify_watches"])
def test_without_a_watch_to_be_had_it_looks_by_the_timer_and_says_so(build: Build, limit: str) -> None:
    confine = (
        "unshare",
        "--user",
        "--map-root-user",
        "sh",
        "-c",
        f'echo 0 > /proc/sys/user/{limit} && exec "$@"',
        "sh",
    )
    if shutil.which("unshare") is None or subprocess.run([*confine, "true"], capture_output=True).returncode != 0:
        pytest.skip("user namespaces with limits of their own can't be had here")
    house = build()
    house.prefix = confine
    good_version(house.models, FIRST)
    house.start(FIRST)
    assert house.status()["watch"]["state"] == "polling"
    assert "looking by the timer alone" in str(house.alerts())
    good_version(house.models, "dtmf-v1.1", words=True)
    house.await_serving("dtmf-v1.1")
    assert len([e for e in house.events() if e["event"].startswith("cannot watch")]) == 1
