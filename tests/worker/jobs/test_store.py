"""What is kept of a job on the disk, and when: whole or not at all, bounded, once."""

from __future__ import annotations

import asyncio
import errno
import gc
import os
import subprocess
import sys
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier, Event
from typing import Any

import pytest
from tests.small_disk import run_on_small_disk
from tests.support import PATIENCE_SECONDS, modules

from modelward.daemon.jobs.job_scan import JobScan
from modelward.worker.jobs.access import THREADS, JobAccess
from modelward.worker.jobs.store import ClaimedJob, JobStore, NotTaken, StoreLimits
from modelward.worker.shared.job_directory import COMING, JobDirectory, replace, write_once
from modelward.worker.shared.job_records import CANCELLED, DONE, FAILED, QUEUED, RUNNING, JobOutcome, JobRequest

ROOM = StoreLimits(100, 1 << 20)
AUDIO = bytes(range(256)) * 40
FILE_CALLS = frozenset(
    {"open", "os.mkdir", "os.rename", "os.link", "os.remove", "os.rmdir", "os.truncate", "os.scandir"}
)
DIED = 77


def accept(
    path: Path, limits: StoreLimits = ROOM, audio: bytes = AUDIO, client: str = "c", now: float = 1.0
) -> JobRequest:
    return JobStore(str(path)).accept(audio, {"model": ["x"]}, limits, now=now, client=client)


def states(path: Path) -> dict[str, str]:
    return {job.request.id: job.state for job in JobDirectory(str(path)).jobs()}


def claimed(store: JobStore) -> ClaimedJob:
    job = store.claim(5.0)
    assert job is not None
    return job


def at_call(number: int, act: Callable[[], Any]) -> None:
    """In this process, for ever: `act` at the file call of that number."""
    seen = 0

    def hook(event: str, _: tuple[Any, ...]) -> None:
        nonlocal seen
        if event in FILE_CALLS:
            seen += 1
            if seen == number:
                act()

    sys.addaudithook(hook)


def in_a_child(work: Callable[[], int]) -> int:
    """The exit status of a process of its own."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            status = work()
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_what_was_accepted_is_there_for_everybody(tmp_path: Path) -> None:
    request = accept(tmp_path)
    assert states(tmp_path) == {request.id: QUEUED}
    assert (tmp_path / request.id / "audio").read_bytes() == AUDIO
    assert JobDirectory(str(tmp_path)).job(request.id) is not None


def test_a_crash_at_any_moment_leaves_a_whole_job_or_what_is_tidied_away(tmp_path: Path) -> None:
    for number in range(1, 100):
        place = tmp_path / str(number)
        place.mkdir()

        def work(place: Path = place, number: int = number) -> int:
            at_call(number, lambda: os._exit(DIED))
            accept(place)
            return 0

        died = in_a_child(work) == DIED
        found = states(place)
        for name in found:
            assert (place / name / "audio").read_bytes() == AUDIO
        assert found or died, "it was acknowledged and is not there"
        JobDirectory(str(place)).tidy()
        assert {entry.name for entry in place.iterdir()} <= {*found, ".lock"}
        if not died:
            return
    raise AssertionError("it never came through")


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO, errno.EDQUOT])
def test_an_error_at_any_call_keeps_nothing_or_everything(tmp_path: Path, error: int) -> None:
    for number in range(1, 100):
        place = tmp_path / str(number)
        place.mkdir()

        def work(place: Path = place, number: int = number) -> int:
            failed = False

            def fail() -> None:
                nonlocal failed
                failed = True
                raise OSError(error, os.strerror(error))

            at_call(number, fail)
            try:
                accept(place)
            except NotTaken as e:
                return 3 if e.full == (error != errno.EIO) else 4
            return 5 if failed else 0

        status = in_a_child(work)
        found = states(place)
        assert status in (0, 3, 5) and bool(found) == (status != 3), (number, status, found)
        JobDirectory(str(place)).tidy()
        assert {entry.name for entry in place.iterdir()} <= {*found, ".lock"}
        if status == 0:
            return
    raise AssertionError("it never came through")


def test_a_full_disk_is_refused_as_such_and_keeps_nothing(tmp_path: Path) -> None:
    code = """
import sys
from modelward.worker.jobs.store import *
store, kept = JobStore(sys.argv[1]), []
for number in range(100):
    try:
        kept.append(store.accept(bytes(50_000), {}, StoreLimits(1000, 1 << 30), now=1.0, client=str(number)).id)
    except NotTaken as e:
        print(e.full, len(kept), sorted(job.request.id for job in store.directory.jobs()) == sorted(kept))
        print([name for name in os.listdir(sys.argv[1]) if name.startswith(".new")], e)
        break
"""
    out = run_on_small_disk(tmp_path, code).splitlines()
    assert out[0].split()[0] == "True" and out[0].endswith("True") and 3 < int(out[0].split()[1]) < 11
    assert out[1].startswith("[]") and "nothing was kept" in out[1]


def test_count_bytes_and_a_client_s_share_are_bounded(tmp_path: Path) -> None:
    def refused(limits: StoreLimits, client: str, audio: bytes = AUDIO) -> str:
        with pytest.raises(NotTaken) as refusal:
            accept(tmp_path, limits, audio, client)
        return str(refusal.value)

    accept(tmp_path, client="a")
    accept(tmp_path, client="a")
    assert "jobs.max_jobs" in refused(StoreLimits(2, 1 << 20), "b")
    assert "jobs.max_bytes" in refused(StoreLimits(100, 25_000), "b")
    assert "of this client" in refused(StoreLimits(4, 1 << 20), "a")
    assert "this client's" in refused(StoreLimits(100, 60_000), "a", AUDIO)
    accept(tmp_path, StoreLimits(4, 60_000), client="b")
    assert "disk.min_free" in refused(StoreLimits(100, 1 << 20, min_free_fraction=1.0), "c")
    assert len(states(tmp_path)) == 3


def test_many_processes_that_take_in_jobs_at_once_keep_to_the_bound(tmp_path: Path) -> None:
    code = """
import sys
from modelward.worker.jobs.store import *
taken, store = 0, JobStore(sys.argv[1])
for number in range(10):
    try:
        store.accept(bytes(1000), {}, StoreLimits(12, 1 << 20), now=1.0, client=sys.argv[2] + str(number))
        taken += 1
    except NotTaken:
        pass
print(taken)
"""
    environ = {**os.environ, "PYTHONPATH": modules()}
    running = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path), name], env=environ, stdout=subprocess.PIPE, text=True
        )
        for name in "abc"
    ]
    taken = sum(int(process.communicate(timeout=PATIENCE_SECONDS)[0]) for process in running)
    assert taken == 12 == len(states(tmp_path))


def test_one_worker_has_a_job_at_a_time_and_its_death_gives_it_back(tmp_path: Path) -> None:
    request = accept(tmp_path)
    one, other = JobStore(str(tmp_path), worker="one"), JobStore(str(tmp_path), worker="other")
    job = claimed(one)
    assert other.claim(5.0) is None and states(tmp_path) == {request.id: RUNNING}
    os.close(job.lock)  # as the kernel does when the process ends
    assert states(tmp_path) == {request.id: QUEUED}
    again = claimed(other)
    assert again.request == request
    other.release(again)
    assert claimed(one).request == request


def test_a_job_that_kills_its_workers_is_failed_with_the_reason_and_not_tried_again(tmp_path: Path) -> None:
    poisoned, good = accept(tmp_path, now=1.0, client="a"), accept(tmp_path, now=2.0, client="b")
    for _ in range(2):
        job = claimed(JobStore(str(tmp_path), worker="w", run="same"))
        assert job.request == poisoned
        os.close(job.lock)
    store = JobStore(str(tmp_path), worker="w", run="same")
    assert claimed(store).request == good
    outcome = store.directory.outcome(poisoned.id)
    assert outcome is not None and (outcome.state, outcome.code) == (FAILED, "worker_died")
    assert "2 workers ended while they worked on piece 1" in outcome.error
    assert not (tmp_path / poisoned.id / "audio").exists()


def test_a_job_given_back_counts_no_death(tmp_path: Path) -> None:
    request = accept(tmp_path)
    store = JobStore(str(tmp_path), run="same")
    for _ in range(10):
        store.release(claimed(store))
    assert states(tmp_path) == {request.id: QUEUED}


def test_the_first_that_ends_a_job_decides_how(tmp_path: Path) -> None:
    store, client = JobStore(str(tmp_path)), JobStore(str(tmp_path))
    job_id = accept(tmp_path).id
    job = claimed(store)
    assert client.cancel(job_id, 7.0)
    assert store.ended(job) and not store.end(job, JobOutcome(DONE, 8.0, answer_type="text/plain"), b"text")
    assert states(tmp_path) == {job_id: CANCELLED}
    assert {path.name for path in (tmp_path / job_id).iterdir()} == {"job.json", "outcome.json"}


def test_a_job_that_cannot_be_read_is_named_and_stops_no_other(tmp_path: Path) -> None:
    bad, good = accept(tmp_path), accept(tmp_path)
    (tmp_path / bad.id / "job.json").write_bytes(b'{"id": 7}')
    directory = JobDirectory(str(tmp_path))
    assert [job.request.id for job in directory.jobs()] == [good.id]
    assert bad.id in directory.unreadable


def test_a_crash_at_any_moment_of_the_end_leaves_the_answer_or_a_job_that_goes_on(tmp_path: Path) -> None:
    ends = set()
    for number in range(1, 100):
        place = tmp_path / str(number)
        place.mkdir()
        job_id = accept(place).id

        def work(place: Path = place, number: int = number) -> int:
            store = JobStore(str(place), run="one")
            at_call(number, lambda: os._exit(DIED))
            store.end(claimed(store), JobOutcome(DONE, 8.0, answer_type="text/plain"), b"what was said")
            return 0

        died = in_a_child(work) == DIED
        state = states(place)[job_id]
        ends.add(state)
        if state == DONE:
            assert (place / job_id / "answer").read_bytes() == b"what was said"
        else:
            assert claimed(JobStore(str(place), run="two")).request.id == job_id
            assert (place / job_id / "audio").read_bytes() == AUDIO
        if not died:
            assert ends == {QUEUED, DONE}
            return
    raise AssertionError("it never came through")


def test_the_recording_goes_though_the_worker_died_when_it_had_ended_the_job(tmp_path: Path) -> None:
    job_id = accept(tmp_path).id
    (tmp_path / job_id / "outcome.json").write_bytes(b'{"state": "done", "finished": 1.0}')
    scan = JobScan(tmp_path)
    lock = JobDirectory(str(tmp_path)).lock(job_id)
    assert lock is not None
    scan.run(2.0, 60.0)
    assert (tmp_path / job_id / "audio").exists(), "a worker still has it"
    os.close(lock)
    scan.run(3.0, 60.0)
    assert {path.name for path in (tmp_path / job_id).iterdir()} == {"job.json", "outcome.json"}
    assert scan.run(100.0, 60.0).removed == 1 and states(tmp_path) == {}


def test_files_that_the_disk_does_not_let_go_keep_no_other_job_from_being_looked_at(tmp_path: Path) -> None:
    stuck, good = accept(tmp_path, now=1.0).id, accept(tmp_path, now=2.0).id
    for job_id in (stuck, good):
        (tmp_path / job_id / "outcome.json").write_bytes(b'{"state": "done", "finished": 1.0}')
    (tmp_path / stuck / "audio").unlink()
    (tmp_path / stuck / "audio").mkdir()  # whoever removes it is refused
    scan = JobScan(tmp_path)
    found = scan.run(2.0, 60.0)
    assert stuck in found.unreadable and found.counts["done"] == 2
    assert not (tmp_path / good / "audio").exists(), "the other one was stripped"
    found = scan.run(100.0, 60.0)
    assert not (tmp_path / good).exists() and found.unreadable
    (left,) = (path for path in tmp_path.iterdir() if path.is_dir())
    (left / "audio").rmdir()
    assert scan.run(101.0, 60.0).unreadable == "" and not left.exists()


def test_nothing_is_removed_while_the_clock_is_not_believed(tmp_path: Path) -> None:
    job_id = accept(tmp_path).id
    (tmp_path / job_id / "outcome.json").write_bytes(b'{"state": "done", "finished": 1.0}')
    scan = JobScan(tmp_path)
    assert scan.run(1e9, 60.0, clock_trouble="it is ahead").removed == 0
    assert scan.run(1e9, 60.0).removed == 1


def test_a_crash_at_any_moment_of_a_cancel_leaves_it_cancelled_or_as_it_was(tmp_path: Path) -> None:
    for number in range(1, 100):
        place = tmp_path / str(number)
        place.mkdir()
        job_id = accept(place).id

        def work(place: Path = place, number: int = number, job_id: str = job_id) -> int:
            store = JobStore(str(place))
            at_call(number, lambda: os._exit(DIED))
            store.cancel(job_id, 7.0)
            return 0

        died = in_a_child(work) == DIED
        state = states(place)[job_id]
        assert state == CANCELLED or died and state == QUEUED
        if not died:
            return
    raise AssertionError("it never came through")


def test_what_is_being_taken_in_is_not_tidied_away(tmp_path: Path) -> None:
    store = JobStore(str(tmp_path))
    lock = store._reserve(tmp_path / f"{COMING}job_{'0' * 32}", 10, "c", ROOM)
    assert JobDirectory(str(tmp_path)).tidy() == 0
    os.close(lock)
    assert JobDirectory(str(tmp_path)).tidy() == 1


def test_threads_that_write_one_record_at_once_leave_one_of_them_whole(tmp_path: Path) -> None:
    contents = [bytes([letter]) * 70_000 for letter in b"abcd"]
    for number in range(50):
        once, newest, together = tmp_path / f"once{number}", tmp_path / f"newest{number}", Barrier(len(contents))

        def write(
            content: bytes, once: Path = once, newest: Path = newest, together: Barrier = together
        ) -> bytes | None:
            together.wait(PATIENCE_SECONDS)
            replace(newest, content)
            return content if write_once(once, content) else None

        with ThreadPoolExecutor(len(contents)) as threads:
            (written,) = [content for content in threads.map(write, contents) if content]
        assert once.read_bytes() == written and newest.read_bytes() in contents
    assert not list(tmp_path.glob(".*"))


def test_a_job_that_is_cancelled_and_removed_under_its_worker_is_over_for_it(tmp_path: Path) -> None:
    job_id, store = accept(tmp_path).id, JobStore(str(tmp_path))
    job = claimed(store)
    client = JobStore(str(tmp_path))
    assert not store.ended(job) and client.cancel(job_id, 6.0) and client.cancel(job_id, 6.0)
    assert not client.cancel(job_id, 6.0)
    assert store.ended(job)
    assert not store.end(job, JobOutcome(DONE, 8.0, answer_type="text/plain"), b"what was said")
    store.release(job)
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


@pytest.mark.parametrize("name", ["job.json", "outcome.json"])
def test_a_job_whose_record_cannot_be_read_goes_when_results_go(tmp_path: Path, name: str) -> None:
    job_id = accept(tmp_path).id
    (tmp_path / job_id / name).write_bytes(b"{")
    os.utime(tmp_path / job_id, (1000.0, 1000.0))
    scan = JobScan(tmp_path)
    found = scan.run(1050.0, 60.0)
    assert found.removed == 0 and job_id in found.unreadable
    assert scan.run(1070.0, 60.0, clock_trouble="it is ahead").removed == 0
    found = scan.run(1070.0, 60.0)
    assert found.removed == 1 and not found.unreadable and not (tmp_path / job_id).exists()


def test_a_callback_that_was_tried_is_not_due_again_while_the_disk_is_full(tmp_path: Path) -> None:
    code = """
import os, sys
from pathlib import Path
from modelward.daemon.jobs.callback_planner import after_try
from modelward.daemon.jobs.job_scan import JobScan
from modelward.worker.jobs.store import JobStore, StoreLimits
place = Path(sys.argv[1])
job = JobStore(str(place)).accept(b"a", {}, StoreLimits(9, 1 << 30), now=1.0, client="c", callback="http://x/").id
(place / job / "outcome.json").write_bytes(b'{"state": "done", "finished": 1.0}')
scan = JobScan(place)

def due(now, scan=scan):
    return [request.id == job for request in scan.run(now, 1e6).due]

def tried(because, now):
    try:
        scan.keep(job, after_try(scan.record(job), because, now))
    except OSError as e:
        print(e.strerror)

print(due(10.0))
filler = os.open(place / "filler", os.O_WRONLY | os.O_CREAT)
try:
    while True:
        os.write(filler, bytes(4096))
except OSError:
    pass
tried("refused", 10.0)
print(due(11.0), due(21.0), scan.record(job).tries)
tried("", 21.0)
print(due(1000.0), scan.run(1000.0, 1e6).callbacks_waiting)
os.unlink(place / "filler")
os.close(filler)
later = JobScan(place)
print(due(1000.0), due(1000.0, later), later.record(job).state, later.record(job).tries)
"""
    assert run_on_small_disk(tmp_path, code).splitlines() == [
        "[True]",
        "No space left on device",
        "[] [True] 1",
        "No space left on device",
        "[] 0",
        "[] [] delivered 2",
    ]


@pytest.mark.parametrize("name", ["claim.json", "pieces", "job.json", "outcome.json"])
def test_a_job_that_the_disk_does_not_give_keeps_no_other_from_being_worked_on(tmp_path: Path, name: str) -> None:
    bad, good, store = accept(tmp_path, now=1.0).id, accept(tmp_path, now=2.0).id, JobStore(str(tmp_path))
    (tmp_path / bad / name).unlink(missing_ok=True)
    (tmp_path / bad / name).symlink_to(tmp_path / bad / name)  # ELOOP
    job = claimed(store)
    assert job.request.id == good
    found = JobScan(tmp_path).run(1e9, 60.0)
    assert found.removed == 0 and (tmp_path / bad).exists()
    assert bad in (store.passed_over if name in ("claim.json", "pieces") else store.directory.unreadable)
    if store.passed_over:
        with pytest.raises(OSError, match="Too many levels"):
            store.claim(5.0)
    assert store.claim(5.0, [bad]) is None


def test_an_upload_that_nobody_waits_for_any_more_is_neither_kept_in_memory_nor_taken_in(tmp_path: Path) -> None:
    class Recording(bytearray): ...

    async def leave() -> None:
        access, hung, begun = JobAccess(str(tmp_path), lambda: None), Event(), Barrier(THREADS + 1)

        def hang() -> None:
            begun.wait(PATIENCE_SECONDS)
            hung.wait(PATIENCE_SECONDS)

        held = [asyncio.ensure_future(access._aside(hang)) for _ in range(THREADS)]
        await asyncio.to_thread(begun.wait, PATIENCE_SECONDS)
        data = Recording(AUDIO)
        gone = weakref.ref(data)
        request = asyncio.ensure_future(access.accept(data, {}, ROOM, client="c", owner="", callback=""))
        del data
        await asyncio.sleep(0)
        request.cancel()
        with pytest.raises(asyncio.CancelledError):
            await request
        del request
        gc.collect()
        assert gone() is None
        hung.set()
        await asyncio.gather(*held)
        await access.request("job_" + "0" * 32)  # behind it
        access.close()

    asyncio.run(leave())
    assert states(tmp_path) == {}
