"""Children are seen from their start to their end, and nobody else is ever hit: with real processes."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from msgspec.structs import replace
from tests.children import (
    EATS_MEMORY,
    EXIT_1,
    EXIT_3,
    HANG,
    IGNORES_SIGTERM,
    SEGFAULT,
    SPAWNS_GRANDCHILD,
    program,
)
from tests.support import (
    PATIENCE_SECONDS,
    children,
    eventually,
    modules,
    soon,
)

from modelward.daemon.system.processes import (
    MAX_STDIN_BYTES,
    ChildProcess,
    environment,
    identity,
    python,
    spawn,
    take_back,
)
from modelward.worker.sandbox.limits import PARENT_PID


def run(work: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(work(), PATIENCE_SECONDS))  # type: ignore[arg-type]


def descriptors() -> set[str]:
    return set(os.listdir("/proc/self/fd"))


def alive(pid: int) -> bool:
    return identity(pid) is not None


@pytest.mark.parametrize(
    ("code", "status"),
    [("", 0), (EXIT_1, 1), (EXIT_3, 3), (SEGFAULT, -signal.SIGSEGV), (EATS_MEMORY, 1)],
)
def test_the_exit_status_is_told_once_the_child_ended(code: str, status: int) -> None:
    async def work() -> None:
        child = spawn(program(code), name="c")
        assert await child.wait() == status
        assert not child.running
        assert await child.wait() == status, "whoever asks later is told too"
        with pytest.raises(ChildProcessError):
            os.waitpid(child.pid, os.WNOHANG)

    run(work)


def test_a_child_costs_no_thread_and_leaves_no_descriptor_behind() -> None:
    async def work() -> None:
        spawn(program(""), name="c")  # what the first one imports
        before, threads = descriptors(), len(os.listdir("/proc/self/task"))
        children = [spawn(program("print('x')"), name="c", stdin=b"in", stdout="pipe") for _ in range(5)]
        assert len(os.listdir("/proc/self/task")) == threads
        for child in children:
            await child.wait()
            child.close()
        await soon(lambda: len(descriptors()) <= len(before))

    run(work)


def test_a_child_is_alone_in_its_session_and_knows_only_what_it_was_given(tmp_path: Path) -> None:
    async def work() -> None:
        code = (
            "import os, json; fds = os.listdir('/proc/self/fd');"
            "print(json.dumps([os.getsid(0), os.getpid(), os.getcwd(), sorted(os.environ), sorted(fds)]))"
        )
        os.environ["NOTIFY_SOCKET"] = "/run/notify"
        secret = os.open(tmp_path, os.O_RDONLY)
        os.set_inheritable(secret, True)
        try:
            child = spawn(program(code), name="c", stdout="pipe")
        finally:
            os.close(secret)
            del os.environ["NOTIFY_SOCKET"]
        await child.wait()
        said = os.read(child.stdout_fd, 65536).decode()
        child.close()
        sid, pid, cwd, names, numbers = json.loads(said)
        assert (sid, pid, cwd) == (child.pid, child.pid, "/")
        assert not {"NOTIFY_SOCKET", "HOME", "USER"} & set(names) and PARENT_PID in names
        assert numbers == ["0", "1", "2", "3"], "3 is the listing itself"

    run(work)


def test_modules_are_found_from_wherever_the_child_begins() -> None:
    os.environ["PYTHONPATH"], before = f"some{os.pathsep}{os.pathsep}/other", os.environ.get("PYTHONPATH")
    try:
        assert environment()["PYTHONPATH"] == f"{os.getcwd()}/some{os.pathsep}/other"
    finally:
        del os.environ["PYTHONPATH"]
        if before is not None:
            os.environ["PYTHONPATH"] = before
    assert environment({"X": "1"})["X"] == "1"
    assert python("a.b", "--c")[-3:] == ["-m", "a.b", "--c"]


def test_input_reaches_the_child_and_ends_and_its_size_is_bounded() -> None:
    async def work() -> None:
        told = b"x" * MAX_STDIN_BYTES
        child = spawn(program("import sys; print(len(sys.stdin.read()))"), name="c", stdin=told, stdout="pipe")
        await child.wait()
        assert os.read(child.stdout_fd, 100) == b"65536\n"
        child.close()
        with pytest.raises(ValueError, match="cannot start c: 65537 bytes of input, at most 65536"):
            spawn(program(""), name="c", stdin=told + b"x")

    run(work)


def test_input_that_nobody_reads_blocks_nobody() -> None:
    async def work() -> None:
        child = spawn(program(""), name="c", stdin=b"x" * MAX_STDIN_BYTES)
        assert await child.wait() == 0

    run(work)


def test_reading_the_output_of_a_child_without_a_pipe_is_refused() -> None:
    async def work() -> None:
        child = spawn(program(""), name="c")
        with pytest.raises(ValueError, match="cannot read c: started without a pipe"):
            _ = child.stdout_fd
        await child.wait()
        child.close()

    run(work)


def test_who_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    async def work() -> None:
        ready = tmp_path / "ready"
        child = spawn(program(IGNORES_SIGTERM, str(ready)), name="c")
        await soon(ready.exists)
        assert child.signal(signal.SIGTERM)
        await asyncio.sleep(0.05)
        assert child.running
        child.kill_group()
        assert await child.wait() == -signal.SIGKILL

    run(work)


@pytest.mark.parametrize("orderly", [True, False])
def test_a_grandchild_that_ignores_sigterm_goes_with_its_group(tmp_path: Path, orderly: bool) -> None:
    async def work() -> None:
        told = tmp_path / "pid"
        child = spawn(program(SPAWNS_GRANDCHILD, str(told)), name="c")
        await soon(told.exists)
        grandchild = int(told.read_text())
        assert alive(grandchild)
        child.signal(signal.SIGTERM) if orderly else child.kill_group()
        await child.wait()
        await soon(lambda: not alive(grandchild))

    run(work)


def test_signals_after_the_end_reach_nobody() -> None:
    async def work() -> None:
        child = spawn(program(""), name="c")
        await child.wait()
        assert not child.signal(signal.SIGKILL)
        child.kill_group()
        child.forget()

    run(work)


def test_a_late_signal_to_a_child_that_ended_unseen_reaches_nobody() -> None:
    async def work() -> None:
        child = spawn(program(""), name="c")
        eventually(lambda: identity(child.pid) is None)  # blocks the loop: its end is there and not seen yet
        assert child.running
        child.signal(signal.SIGTERM)
        child.kill_group()
        assert await child.wait() == 0

    run(work)


def test_where_the_kernel_reaps_by_itself_the_end_is_seen_without_a_status() -> None:
    code = """
import asyncio, signal
from modelward.daemon.system.processes import spawn
from tests.children import program
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
async def work():
    child = spawn(program("raise SystemExit(1)"), name="c")
    print(await asyncio.wait_for(child.wait(), 10))
asyncio.run(work())
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=_paths(),
        capture_output=True,
        timeout=PATIENCE_SECONDS,
        check=False,
        text=True,
    )
    assert (done.stdout, done.returncode) == ("None\n", 0), done.stderr


def test_a_child_that_the_kernel_reaped_before_it_was_watched_has_ended_without_a_status() -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()

    async def work() -> None:
        child = ChildProcess("c", gone.pid, ours=True)
        assert not child.running
        assert await child.wait() is None
        assert not child.signal(signal.SIGTERM)
        child.forget()
        with pytest.raises(ProcessLookupError):
            ChildProcess("c", gone.pid, ours=False)

    run(work)


def test_without_a_running_loop_nothing_is_started(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError):
        spawn(program("import sys; open(sys.argv[1], 'w')", str(tmp_path / "ran")), name="c")
    assert not (tmp_path / "ran").exists()


def test_a_program_that_is_not_there_is_an_error_and_no_child() -> None:
    async def work() -> None:
        before = descriptors()
        with pytest.raises(FileNotFoundError):
            spawn(["/no/such/program"], name="c", stdout="pipe")
        gc.collect()
        assert descriptors() <= before

    run(work)


def test_without_a_descriptor_to_be_had_nothing_is_started_and_nothing_leaks() -> None:
    async def work() -> None:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        top = max(map(int, descriptors())) + 1
        gaps = [os.open("/dev/null", os.O_RDONLY)]
        while gaps[-1] < top:
            gaps.append(os.open("/dev/null", os.O_RDONLY))
        before, known, failures = descriptors(), children(), 0
        for spare in range(12):  # each call on the way fails in its turn
            resource.setrlimit(resource.RLIMIT_NOFILE, (gaps[-1] + 1 + spare, hard))
            try:
                child: ChildProcess | None = spawn(program(HANG), name="c", stdin=b"x", stdout="pipe")
            except OSError:
                child, failures = None, failures + 1
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            if child is not None:
                child.kill_group()
                await child.wait()
                child.close()
            gc.collect()
            assert descriptors() <= before, f"with {spare} descriptors to spare"
        for fd in gaps:
            os.close(fd)
        assert 0 < failures < 12
        assert children() <= known

    run(work)


def test_without_a_process_to_be_had_it_is_an_error_to_bear() -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root to become a user without processes")
    code = """
import asyncio, os, resource
from modelward.daemon.system.processes import spawn
from tests.children import program
async def work():
    resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
    os.setresuid(54321, 54321, 54321)
    try:
        spawn(program(""), name="c")
    except BlockingIOError as e:
        print(e.strerror)
asyncio.run(work())
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=_paths(),
        capture_output=True,
        timeout=PATIENCE_SECONDS,
        check=False,
        text=True,
    )
    assert done.stdout == "Resource temporarily unavailable\n", done.stderr


# who is who


def test_a_process_is_known_by_its_number_and_its_start() -> None:
    me = identity(os.getpid())
    assert me is not None
    assert me.pid == os.getpid()
    assert me == identity(os.getpid())
    assert identity(2**22 + 1) is None


def test_a_program_name_full_of_traps_misleads_nobody(tmp_path: Path) -> None:
    trap = tmp_path / ") Z 1 1 ("
    trap.symlink_to(sys.executable)
    process = subprocess.Popen([trap, "-I", "-S", "-c", HANG])
    try:
        eventually(lambda: b") Z" in Path(f"/proc/{process.pid}/stat").read_bytes())
        assert identity(process.pid) is not None
    finally:
        process.kill()
        process.wait()


def test_a_zombie_is_nobody() -> None:
    process = subprocess.Popen(program(""))
    try:
        eventually(lambda: b") Z" in Path(f"/proc/{process.pid}/stat").read_bytes())
        assert identity(process.pid) is None
    finally:
        process.wait()


def test_a_process_of_somebody_else_is_watched_to_its_end() -> None:
    async def work() -> None:
        process = subprocess.Popen(program(HANG), start_new_session=True)
        who = identity(process.pid)
        assert who is not None
        child = take_back("w1", who)
        assert child is not None
        assert child.running
        child.kill_group()
        assert await child.wait() is None, "its status is told to its parent alone"
        assert process.wait(PATIENCE_SECONDS) == -signal.SIGKILL

    run(work)


def test_a_recycled_number_is_not_taken_back_and_not_touched() -> None:
    async def work() -> None:
        process = subprocess.Popen(program(HANG))
        before = descriptors()
        try:
            who = identity(process.pid)
            assert who is not None
            assert take_back("w1", replace(who, started_ticks=who.started_ticks - 1)) is None
            assert take_back("w1", replace(who, pid=2**22 + 1)) is None
            assert process.poll() is None
            assert descriptors() == before
        finally:
            process.kill()
            process.wait()

    run(work)


def _paths() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": modules()}
