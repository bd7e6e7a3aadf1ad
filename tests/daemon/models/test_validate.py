"""Whatever becomes of a validator, a verdict or a clear failure comes of it: with real children."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from tests.support import PATIENCE_SECONDS, eventually

from modelward.daemon.clock import SystemClock
from modelward.daemon.models import validate as validation
from modelward.daemon.models.validate import CannotStart, validate
from modelward.daemon.models.verdict import Answer, Changing, NotJudged, Verdict
from modelward.daemon.processes import spawn
from modelward.worker import protocol

STARTED = protocol.encode(protocol.GateStarted("load")).decode()
DONE = protocol.encode(protocol.GateDone("load", True, 0.5)).decode()
JUDGED = protocol.encode(protocol.Judged(True, digest="ab" * 32, artifact="/a")).decode()
SAYS = "import sys, os, time, signal; say = lambda *l: (sys.stdout.write(''.join(l)), sys.stdout.flush()); "


def run(
    code: str,
    *,
    timeout: float = PATIENCE_SECONDS,
    progress: Callable[[protocol.Message], None] = lambda message: None,
    path: Path | str = "/models/v1",
) -> Answer:
    candidate = protocol.Candidate(str(path), "v1", timeout_seconds=timeout)
    argv = [sys.executable, "-c", SAYS + code]
    return asyncio.run(validate(candidate, spawn, argv=argv, clock=SystemClock(), progress=progress))


def rejected(code: str, **options: float) -> str:
    verdict = run(code, **options)  # type: ignore[arg-type]
    assert isinstance(verdict, Verdict)
    assert not verdict.accepted
    assert verdict.artifact == ""
    assert verdict.judged_at.endswith("Z")
    return verdict.because


def test_a_validator_that_accepts_is_believed_and_each_gate_is_told_as_it_comes() -> None:
    heard: list[protocol.Message] = []
    verdict = run(f"say({STARTED!r}, {DONE!r}, {JUDGED!r})", progress=heard.append)
    assert isinstance(verdict, Verdict)
    assert (verdict.accepted, verdict.digest, verdict.artifact) == (True, "ab" * 32, "/a")
    assert [g.gate for g in verdict.gates] == ["load"]
    assert heard == [protocol.GateStarted("load"), protocol.GateDone("load", True, 0.5)]


def test_the_validator_is_told_what_to_judge() -> None:
    code = "import json; c = json.loads(sys.stdin.read()); "
    judged = "print(json.dumps({'type': 'judged', 'accepted': False, 'because': c['path'] + c['version']}))"
    assert rejected(code + judged) == "/models/v1v1"


def test_a_rejection_keeps_the_validators_own_words() -> None:
    failed = protocol.encode(protocol.GateDone("signature", False, 0.1, "no input speech")).decode()
    judged = protocol.encode(protocol.Judged(False, "gate signature: no input speech")).decode()
    assert (
        rejected(f"say({STARTED!r}, {DONE!r}, {failed!r}, {judged!r}); sys.exit(1)")
        == "gate signature: no input speech"
    )


def test_a_version_that_changed_under_the_validator_has_no_verdict() -> None:
    judged = protocol.encode(protocol.Judged(False, changing=True)).decode()
    assert isinstance(run(f"say({judged!r})"), Changing)


@pytest.mark.parametrize(("number", "name"), [(11, "SIGSEGV"), (6, "SIGABRT"), (4, "SIGILL")])
def test_a_validator_that_crashes_names_the_gate_and_the_signal(number: int, name: str) -> None:
    no_core = "import resource; resource.setrlimit(resource.RLIMIT_CORE, (0, 0)); "
    code = f"{no_core}say({STARTED!r}); os.kill(os.getpid(), {number})"
    assert rejected(code) == f"gate load: the validator died of {name}"


def test_a_validator_that_is_killed_again_proves_nothing_about_the_version() -> None:
    answer = run(f"say({STARTED!r}); os.kill(os.getpid(), 9)")
    assert answer == NotJudged("gate load: the validator died of SIGKILL, 2 times (out of memory, perhaps)")


def test_a_validator_that_the_machine_hinders_proves_nothing_about_the_version() -> None:
    judged = protocol.encode(protocol.Judged(False, "cannot copy it: no space", hindered=True)).decode()
    assert run(f"say({judged!r})") == NotJudged("cannot copy it: no space")


def test_a_validator_that_is_stopped_proves_nothing_about_the_version() -> None:
    answer = run(f"say({STARTED!r}); os.kill(os.getpid(), signal.SIGSTOP)", timeout=0.2)
    assert answer == NotJudged("gate load: it made no progress for 1.2 s: it is stopped by a signal")


def test_a_validator_that_works_may_take_longer_than_its_time() -> None:
    work = "end = time.monotonic() + 3\nwhile time.monotonic() < end: sum(range(20_000)); time.sleep(0.02)\n"
    answer = run(f"{work}say({STARTED!r}, {DONE!r}, {JUDGED!r})", timeout=0.2)
    assert isinstance(answer, Verdict)
    assert answer.accepted


def test_a_validator_that_computes_without_end_is_ended_for_its_cpu_time() -> None:
    because = rejected(f"say({STARTED!r})\nwhile True: pass", timeout=0.1)
    assert because == "gate load: it used the 2 s of CPU time allowed"


def test_how_long_a_validator_stands_still_is_told_while_it_does() -> None:
    told: list[float] = []
    candidate = protocol.Candidate("/models/v1", "v1", timeout_seconds=0.2)
    argv = [sys.executable, "-c", SAYS + "time.sleep(600)"]
    asyncio.run(validate(candidate, spawn, argv=argv, clock=SystemClock(), stands=told.append))
    assert told[0] == 0
    assert told[-1] >= 1.0


def test_a_validator_that_somebody_killed_proves_nothing_and_is_followed_by_another(tmp_path: Path) -> None:
    mark = tmp_path / "killed"
    kill = f"(open({str(mark)!r}, 'w').close(), os.kill(os.getpid(), 9)) if not os.path.exists({str(mark)!r}) else None"
    verdict = run(f"say({STARTED!r}); {kill}; say({DONE!r}, {JUDGED!r})")
    assert isinstance(verdict, Verdict)
    assert verdict.accepted
    assert [gate.gate for gate in verdict.gates] == ["load"]  # of the first one nothing is left


def test_a_validator_that_hangs_is_ended_with_everything_it_started(tmp_path: Path) -> None:
    code = f"signal.signal(signal.SIGTERM, signal.SIG_IGN); pid = os.fork(); say({STARTED!r}) if pid else None; "
    code += f"open({str(tmp_path / 'pid')!r}, 'w').write(str(pid)) if pid else None; time.sleep(600)"
    assert rejected(code, timeout=0.2) == "gate load: it made no progress for 1.2 s"
    grandchild = int((tmp_path / "pid").read_text())
    eventually(lambda: not Path(f"/proc/{grandchild}").exists() or _is_zombie(grandchild))


def test_a_validator_that_answers_and_does_not_end_is_not_believed() -> None:
    assert rejected(f"say({JUDGED!r}); time.sleep(600)", timeout=0.2) == "it made no progress for 1.2 s"


def test_a_validator_that_leaves_its_output_open_to_another_delays_nobody_long() -> None:
    code = f"say({JUDGED!r}); pid = os.fork()\nif not pid:\n  os.setsid(); time.sleep(5)"
    verdict = run(code)
    assert isinstance(verdict, Verdict)
    assert verdict.accepted


@pytest.mark.parametrize(
    "code", ["", f"say({STARTED!r}, {DONE!r})", "sys.exit(3)", "raise SystemExit('no such model')"]
)
def test_a_validator_that_ends_without_a_verdict_rejects(code: str) -> None:
    assert "no verdict" in rejected(code)


def test_a_validator_that_accepts_and_then_fails_is_not_believed() -> None:
    assert rejected(f"say({JUDGED!r}); sys.exit(5)") == "the validator ended with status 5 and no verdict"


@pytest.mark.parametrize(
    "code",
    [
        r"say('rubbish\n')",
        r"say('{\"type\": \"judged\"}\n')",
        r"say('{\"type\": \"commit\", \"rollout\": \"1\"}\n')",
        r"sys.stdout.buffer.write(b'\xff\xfe\n'); sys.stdout.flush()",
        f"say({JUDGED!r}, {JUDGED!r})",
        f"say({JUDGED!r}, {DONE!r})",
        "say('x' * 200_000)",
        f"say({DONE!r} * 101)",
        f"[say({STARTED!r} * 1000) for _ in range(10_000)]",
    ],
)
def test_a_validator_that_talks_nonsense_or_without_end_rejects_at_once(code: str) -> None:
    because = rejected(f"{code}; time.sleep(600)")
    assert "the validator cannot be understood" in because


def test_words_without_a_newline_at_the_end_are_no_verdict() -> None:
    assert "no verdict" in rejected(f"say({JUDGED.rstrip()!r})")


def test_a_validator_that_cannot_be_started_says_nothing_about_the_version() -> None:
    candidate = protocol.Candidate("/models/v1", "v1")

    async def go() -> None:
        await validate(candidate, spawn, argv=["/no/such/program"], clock=SystemClock())

    with pytest.raises(CannotStart, match="cannot start a validator: .*No such file"):
        asyncio.run(go())


def test_a_cancelled_validation_leaves_no_child(tmp_path: Path) -> None:
    code = f"open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid())); time.sleep(600)"
    candidate = protocol.Candidate("/models/v1", "v1")

    async def go() -> None:
        argv = [sys.executable, "-c", SAYS + code]
        task = asyncio.create_task(validate(candidate, spawn, argv=argv, clock=SystemClock()))
        while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        pid = int((tmp_path / "pid").read_text())
        async with asyncio.timeout(PATIENCE_SECONDS):
            while Path(f"/proc/{pid}").exists():
                await asyncio.sleep(0.01)

    asyncio.run(go())


def test_no_descriptor_is_left_after_many_validations() -> None:
    candidate = protocol.Candidate("/models/v1", "v1")

    async def many(times: int) -> int:
        for _ in range(times):
            argv = ["/bin/sh", "-c", "exit 0"]
            await validate(candidate, spawn, argv=argv, clock=SystemClock())
        return len(os.listdir("/proc/self/fd"))

    async def go(then: Callable[[int], Awaitable[int]]) -> tuple[int, int]:
        return await then(2), await then(10)

    first, last = asyncio.run(go(many))
    assert last == first


def test_the_module_it_runs_is_named() -> None:
    assert validation.MODULE == "modelward.worker.validate"


def _is_zombie(pid: int) -> bool:
    try:
        return b") Z " in Path(f"/proc/{pid}/stat").read_bytes()
    except FileNotFoundError:
        return True
