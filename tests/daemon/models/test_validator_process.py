"""Whatever becomes of a validator, a verdict or a clear failure comes of it: with real children."""

from __future__ import annotations

import asyncio
import hashlib
import os
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from tests.support import PATIENCE_SECONDS, eventually

from modelward.daemon.models import validator_process as validation
from modelward.daemon.models.validator_process import CannotStart, validate
from modelward.daemon.models.verdict import (
    Answer,
    Changing,
    NotJudged,
    Verdict,
)
from modelward.daemon.system.clock import SystemClock
from modelward.daemon.system.processes import spawn
from modelward.worker import child_protocol, protocol
from modelward.worker.shared.artifact import ArtifactFile, digest_of, read_artifact

STARTED = protocol.encode(child_protocol.GateStarted("load")).decode()
DONE = protocol.encode(child_protocol.GateDone("load", True, 0.5)).decode()
MODEL = ArtifactFile(5, hashlib.sha256(b"model").hexdigest())
DIGEST = digest_of({"model.onnx": MODEL})
JUDGED = protocol.encode(child_protocol.Judged(True, digest=DIGEST)).decode()
SAYS = f"""
import json, sys, os, time, signal
c = json.loads(sys.stdin.read())
say = lambda *l: (sys.stdout.write(''.join(l)), sys.stdout.flush())
def keep(**lies):
    def write(name, text):
        with open(os.open(os.path.join(c["directory"], name), os.O_WRONLY | os.O_CREAT, 0o440), "w") as f: f.write(text)
    write("model.onnx", "model")
    files = {{"model.onnx": {{"bytes": {MODEL.bytes}, "sha256": {MODEL.sha256!r}}}}}
    told = dict(version=c["version"], digest={DIGEST!r}, kind=c["kind"], model="model.onnx", files=files)
    write("artifact.json", json.dumps({{**told, "onnxruntime": "1", **lies}}))
"""


def run(
    code: str,
    *,
    timeout: float = PATIENCE_SECONDS,
    progress: Callable[[protocol.Message], None] = lambda message: None,
    path: Path | str = "/models/v1",
    root: Path | None = None,
) -> Answer:
    if root is None:
        with tempfile.TemporaryDirectory() as nowhere:
            return run(code, timeout=timeout, progress=progress, path=path, root=Path(nowhere))
    candidate = child_protocol.Candidate(str(path), "v1", timeout_seconds=timeout)
    argv = [sys.executable, "-c", SAYS + code]
    return asyncio.run(validate(candidate, spawn, root=root, argv=argv, clock=SystemClock(), progress=progress))


def rejected(code: str, **options: float) -> str:
    verdict = run(code, **options)  # type: ignore[arg-type]
    assert isinstance(verdict, Verdict)
    assert not verdict.accepted
    assert verdict.artifact == ""
    assert verdict.judged_at.endswith("Z")
    return verdict.because


def test_a_validator_that_accepts_is_believed_and_each_gate_is_told_as_it_comes(tmp_path: Path) -> None:
    heard: list[protocol.Message] = []
    verdict = run(f"keep(); say({STARTED!r}, {DONE!r}, {JUDGED!r})", progress=heard.append, root=tmp_path)
    assert isinstance(verdict, Verdict)
    assert (verdict.accepted, verdict.digest) == (True, DIGEST)
    assert verdict.artifact == str(tmp_path / f"v1-{DIGEST[:16]}")
    assert read_artifact(Path(verdict.artifact)).digest == DIGEST
    assert os.listdir(tmp_path) == [f"v1-{DIGEST[:16]}"]
    assert [g.gate for g in verdict.gates] == ["load"]
    assert heard == [child_protocol.GateStarted("load"), child_protocol.GateDone("load", True, 0.5)]


def test_the_validator_is_told_what_to_judge() -> None:
    judged = "print(json.dumps({'type': 'judged', 'accepted': False, 'because': c['path'] + c['version']}))"
    assert rejected(judged) == "/models/v1v1"


def test_a_rejection_keeps_the_validators_own_words() -> None:
    failed = protocol.encode(child_protocol.GateDone("signature", False, 0.1, "no input speech")).decode()
    judged = protocol.encode(child_protocol.Judged(False, "gate signature: no input speech")).decode()
    assert (
        rejected(f"say({STARTED!r}, {DONE!r}, {failed!r}, {judged!r}); sys.exit(1)")
        == "gate signature: no input speech"
    )


def test_a_version_that_changed_under_the_validator_has_no_verdict() -> None:
    judged = protocol.encode(child_protocol.Judged(False, changing=True)).decode()
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
    judged = protocol.encode(child_protocol.Judged(False, "cannot copy it: no space", hindered=True)).decode()
    assert run(f"say({judged!r})") == NotJudged("cannot copy it: no space")


def test_a_validator_that_is_stopped_proves_nothing_about_the_version() -> None:
    answer = run(f"say({STARTED!r}); os.kill(os.getpid(), signal.SIGSTOP)", timeout=0.2)
    assert answer == NotJudged("gate load: it made no progress for 1.2 s: it is stopped by a signal")


def test_a_validator_that_works_may_take_longer_than_its_time() -> None:
    work = "end = time.monotonic() + 3\nwhile time.monotonic() < end: sum(range(20_000)); time.sleep(0.02)\n"
    answer = run(f"{work}keep(); say({STARTED!r}, {DONE!r}, {JUDGED!r})", timeout=0.2)
    assert isinstance(answer, Verdict)
    assert answer.accepted


def test_a_validator_that_computes_without_end_is_ended_for_its_cpu_time() -> None:
    because = rejected(f"say({STARTED!r})\nwhile True: pass", timeout=0.1)
    assert because == "gate load: it used the 2 s of CPU time allowed"


def test_how_long_a_validator_stands_still_is_told_while_it_does(tmp_path: Path) -> None:
    told: list[float] = []
    candidate = child_protocol.Candidate("/models/v1", "v1", timeout_seconds=0.2)
    argv = [sys.executable, "-c", SAYS + "time.sleep(600)"]
    asyncio.run(validate(candidate, spawn, root=tmp_path, argv=argv, clock=SystemClock(), stands=told.append))
    assert told[0] == 0
    assert told[-1] >= 1.0


def test_a_validator_that_somebody_killed_proves_nothing_and_is_followed_by_another(tmp_path: Path) -> None:
    mark = tmp_path / "killed"
    kill = f"(open({str(mark)!r}, 'w').close(), os.kill(os.getpid(), 9)) if not os.path.exists({str(mark)!r}) else None"
    verdict = run(f"say({STARTED!r}); {kill}; keep(); say({DONE!r}, {JUDGED!r})")
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
    code = f"keep(); say({JUDGED!r}); pid = os.fork()\nif not pid:\n  os.setsid(); time.sleep(5)"
    verdict = run(code)
    assert isinstance(verdict, Verdict)
    assert verdict.accepted


@pytest.mark.parametrize("code", ["", f"say({STARTED!r}, {DONE!r})", "sys.exit(3)"])
def test_a_validator_that_ends_without_a_verdict_rejects(code: str) -> None:
    assert "no verdict" in rejected(code)


@pytest.mark.parametrize(("code", "gate"), [("", ""), (f"say({STARTED!r}); ", "gate load: ")])
def test_a_validator_that_could_not_begin_its_work_proves_nothing_about_the_version(code: str, gate: str) -> None:
    assert run(f"{code}raise SystemExit('no request')") == NotJudged(
        f"{gate}the validator ended with status 1 and no verdict"
    )


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


@pytest.mark.parametrize(("directory", "because"), [("", "No such file"), ("file/", "Not a directory")])
def test_a_validator_that_cannot_be_started_says_nothing_about_the_version(
    directory: str, because: str, tmp_path: Path
) -> None:
    candidate = child_protocol.Candidate("/models/v1", "v1")
    (tmp_path / "file").touch()

    async def go() -> None:
        root = tmp_path / directory / "compiled"
        await validate(candidate, spawn, root=root, argv=["/no/such/program"], clock=SystemClock())

    with pytest.raises(CannotStart, match=f"cannot start a validator: .*{because}"):
        asyncio.run(go())


KEEPS = f"keep(%s); %s; say({STARTED!r}, {DONE!r}, {JUDGED!r})"
IN_DIRECTORY = "os.chdir(c['directory'])"


@pytest.mark.parametrize(
    ("lies", "then", "because"),
    [
        ("version='v2'", "", "its version is 'v2', 'v1' was asked for"),
        ("version='../../v1'", "", "its version is '../../v1'"),
        (f"digest={'ab' * 32!r}", "", "its digest is 'abab"),
        ("kind='tensor'", "", "its kind is 'tensor'"),
        (f"files={{'model.onnx': {{'bytes': 5, 'sha256': {'cd' * 32!r}}}}}", "", "its digest of its files is"),
        ("files={'../x': {'bytes': 5, 'sha256': 'ab' * 32}}", "", "'../x' is not the name of a file inside it"),
        ("", "open('other', 'w').close()", "other is not listed"),
        ("", "os.chmod('model.onnx', 0o4440)", "would run as another user"),
        ("", "os.chmod('model.onnx', 0o666)", "writable by others"),
        ("", "os.unlink('model.onnx'); os.symlink('/etc/passwd', 'model.onnx')", "not a regular file"),
        ("", "os.unlink('model.onnx'); os.mkfifo('model.onnx')", "not a regular file"),
        ("", "os.unlink('artifact.json'); os.mkfifo('artifact.json')", "artifact.json"),
        ("", "os.truncate(os.path.realpath('artifact.json'), 20)", "artifact.json"),
        ("", "os.chmod('model.onnx', 0o600); os.truncate('model.onnx', 3)", "has 3 bytes, 5 were written"),
        ("", "os.rename(c['directory'], c['directory'] + '-away')", "No such file"),
    ],
)
def test_what_an_accepting_validator_left_is_checked_before_it_gets_a_name(
    lies: str, then: str, because: str, tmp_path: Path
) -> None:
    answer = run(KEEPS % (lies, f"{IN_DIRECTORY}; {then or 'pass'}"), root=tmp_path)
    assert isinstance(answer, NotJudged)
    assert answer.because.startswith("cannot keep the accepted version: ") and because in answer.because
    assert all(name.startswith(".tmp-") for name in os.listdir(tmp_path))


def test_an_accepted_version_that_cannot_be_renamed_into_place_is_not_judged_yet(tmp_path: Path) -> None:
    blocks = f"os.mkdir({str(tmp_path / 'away')!r}); os.rename({str(tmp_path / 'root')!r}, {str(tmp_path / 'x')!r})"
    answer = run(KEEPS % ("", blocks), root=tmp_path / "root")
    assert isinstance(answer, NotJudged) and "cannot keep the accepted version" in answer.because


def test_a_directory_in_the_place_of_an_accepted_version_that_is_none_is_moved_aside(tmp_path: Path) -> None:
    (place := tmp_path / f"v1-{DIGEST[:16]}").mkdir()
    (place / "rubbish").touch()
    verdict = run(KEEPS % ("", "pass"), root=tmp_path)
    assert isinstance(verdict, Verdict) and verdict.artifact == str(place)
    assert read_artifact(place).digest == DIGEST
    assert sorted(name[:10] for name in os.listdir(tmp_path)) == [".tmp-torn-", f"v1-{DIGEST[:7]}"]


def test_a_cancelled_validation_leaves_no_child(tmp_path: Path) -> None:
    code = f"open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid())); time.sleep(600)"
    candidate = child_protocol.Candidate("/models/v1", "v1")

    async def go() -> None:
        argv = [sys.executable, "-c", SAYS + code]
        root = tmp_path / "compiled"
        task = asyncio.create_task(validate(candidate, spawn, root=root, argv=argv, clock=SystemClock()))
        while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        pid = int((tmp_path / "pid").read_text())
        async with asyncio.timeout(PATIENCE_SECONDS):
            while Path(f"/proc/{pid}").exists():
                await asyncio.sleep(0.01)
        assert os.listdir(root) == []

    asyncio.run(go())


def test_no_descriptor_is_left_after_many_validations(tmp_path: Path) -> None:
    candidate = child_protocol.Candidate("/models/v1", "v1")

    async def many(times: int) -> int:
        for _ in range(times):
            argv = ["/bin/sh", "-c", "exit 0"]
            await validate(candidate, spawn, root=tmp_path, argv=argv, clock=SystemClock())
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
