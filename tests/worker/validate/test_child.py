"""The validator as a process: what it accepts, what it leaves, and that it says nothing but protocol lines."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import msgspec
import onnx
import pytest
from onnx import TensorProto, helper
from tests.support import PATIENCE_SECONDS
from tests.versions import (
    external_version,
    good_version,
    quantized_version,
    sherpa_version,
    tensor_version,
)
from tests.worker.validate.judging import (
    ROOT,
    candidate,
    judge,
    run_child,
)

from modelward.worker.child_protocol import GateDone, Judged, decode_from_validator
from modelward.worker.shared.artifact import DESCRIPTION, read_artifact

pytestmark = pytest.mark.system
GATES = ("sandbox", "layout", "integrity", "signature", "load", "probe", "golden", "budget")
FORMS = {
    "funasr": good_version,
    "external": external_version,
    "quantized": quantized_version,
    "sherpa": sherpa_version,
    "sherpa-external": lambda root: sherpa_version(root, external=True),
}


@pytest.mark.parametrize("form", FORMS)
def test_accepts_every_form_of_a_good_version_and_leaves_a_whole_artifact(form: str, tmp_path: Path) -> None:
    version = FORMS[form](tmp_path / "models")
    outcome = judge(version, tmp_path / "cache")
    assert outcome.verdict.accepted, outcome
    assert tuple(gate.gate for gate in outcome.gates) == outcome.started == GATES
    assert all(gate.because and "\n" not in gate.because for gate in outcome.gates)
    artifact = read_artifact(Path(outcome.verdict.artifact))
    assert artifact.digest == outcome.verdict.digest and artifact.load_bytes == outcome.verdict.load_bytes > 0
    assert artifact.gates == outcome.gates
    assert Path(outcome.verdict.artifact).name == f"{version.name}-{artifact.digest[:16]}"
    assert [p.name for p in (tmp_path / "cache").iterdir()] == [Path(outcome.verdict.artifact).name]
    for name in artifact.files:
        assert (Path(outcome.verdict.artifact) / name).read_bytes() == (version / name).read_bytes()
    sums = sorted((p.relative_to(version).as_posix(), p) for p in version.rglob("*") if p.is_file())
    lines = "".join(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {name}\n" for name, path in sums)
    assert outcome.verdict.digest == hashlib.sha256(lines.encode()).hexdigest()
    assert outcome.verdict.bytes == sum(path.stat().st_size for _, path in sums)


def test_the_sandbox_of_an_ordinary_user_lacks_nothing_that_roots_has() -> None:
    code = (
        "import os, sys, modelward.worker.validate.__main__ as validator\n"
        "if os.geteuid() == 0: os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "sys.exit(validator.main())"
    )
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        done = subprocess.run(
            [sys.executable, "-c", code],
            input=msgspec.json.encode(candidate(Path(name) / "none", Path(name))),
            capture_output=True,
            timeout=PATIENCE_SECONDS,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / ".imports"), "PYTHONDONTWRITEBYTECODE": "1"},
        )
    _, gate = map(decode_from_validator, done.stdout.splitlines()[:2])
    assert isinstance(gate, GateDone) and "system calls" not in gate.because, gate


def test_accepts_a_tensor_model_and_refuses_one_that_answers_nothing_finite(tmp_path: Path) -> None:
    good = tensor_version(tmp_path / "models")
    assert judge(good, tmp_path / "cache", kind="tensor").verdict.accepted
    bad = tensor_version(tmp_path / "models", "adder-v2", number=float("nan"))
    outcome = judge(bad, tmp_path / "cache", kind="tensor")
    assert outcome.failed == "probe" and "1 of 2 numbers" in outcome.verdict.because


def test_a_second_judgement_of_the_same_bytes_keeps_the_artifact_that_is_there(tmp_path: Path) -> None:
    version = good_version(tmp_path / "models")
    first = judge(version, tmp_path / "cache").verdict
    inode = (Path(first.artifact) / DESCRIPTION).stat().st_ino
    second = judge(version, tmp_path / "cache", live_artifact=first.artifact)
    assert second.verdict.artifact == first.artifact
    assert (Path(first.artifact) / DESCRIPTION).stat().st_ino == inode
    assert len(list((tmp_path / "cache").iterdir())) == 1
    assert "ms a clip, dtmf-v1.0 takes" in second.gate("budget").because


def test_a_torn_artifact_in_its_place_is_moved_aside(tmp_path: Path) -> None:
    version = good_version(tmp_path / "models")
    first = judge(version, tmp_path / "cache").verdict
    (Path(first.artifact) / "model.onnx").unlink()
    second = judge(version, tmp_path / "cache").verdict
    assert second.artifact == first.artifact
    assert read_artifact(Path(second.artifact)).digest == second.digest
    others = [p.name for p in (tmp_path / "cache").iterdir() if p != Path(second.artifact)]
    assert [name[:10] for name in others] == [".tmp-torn-"]


def test_gives_nothing_a_name_and_leaves_what_it_accepted_whole_in_the_directory_it_was_given(tmp_path: Path) -> None:
    version, scratch = good_version(tmp_path / "models"), tmp_path / "scratch"
    scratch.mkdir()
    (given := tmp_path / "cache" / "given").mkdir(parents=True, mode=0o750)
    done = run_child(msgspec.json.encode(candidate(version, given)), TMPDIR=str(scratch))
    verdict = decode_from_validator(done.stdout.splitlines()[-1])
    assert isinstance(verdict, Judged) and verdict.accepted
    assert read_artifact(given).digest == verdict.digest
    assert [*scratch.iterdir(), *given.parent.iterdir()] == [given]


def test_a_version_that_is_gone_gets_no_verdict(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    outcome = judge(tmp_path / "models" / "v1", tmp_path / "cache")
    assert not outcome.verdict.accepted and outcome.verdict.changing
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_version_that_is_still_written_to_gets_no_verdict(tmp_path: Path) -> None:
    version = good_version(tmp_path / "models")
    (version / "big.bin").write_bytes(bytes(64 << 20))
    ended = threading.Event()

    def write_on() -> None:
        with open(version / "big.bin", "r+b", buffering=0) as f:
            while not ended.is_set():
                f.seek(0)
                f.write(b"x")

    writer = threading.Thread(target=write_on)
    writer.start()
    try:
        outcome = judge(version, tmp_path / "cache")
    finally:
        ended.set()
        writer.join()
    assert not outcome.verdict.accepted and outcome.verdict.changing
    assert "big.bin was modified" in outcome.verdict.because
    assert list((tmp_path / "cache").iterdir()) == []


def test_an_overwritten_version_is_another_artifact_and_the_first_is_untouched(tmp_path: Path) -> None:
    version = good_version(tmp_path / "models")
    first = judge(version, tmp_path / "cache").verdict
    before = (Path(first.artifact) / "model.onnx").read_bytes()
    other = good_version(tmp_path / "other", words=True)
    with open(version / "tokens.json", "r+b") as f:  # in place, as careless copiers do
        f.truncate(0)
        f.write((other / "tokens.json").read_bytes())
    os.truncate(version / "model.onnx", 10)
    assert (Path(first.artifact) / "model.onnx").read_bytes() == before
    assert read_artifact(Path(first.artifact)).digest == first.digest
    assert not judge(version, tmp_path / "cache").verdict.accepted


@pytest.mark.parametrize("stdin", [b"", b"{", b"[]", b'{"version": "v1"}', b"\xff", b"x" * (2 << 20)])
def test_refuses_to_start_without_a_candidate(stdin: bytes) -> None:
    done = run_child(stdin)
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr.startswith(b"cannot validate: ")


def test_a_kind_nobody_knows_is_a_reason(tmp_path: Path) -> None:
    verdict = judge(good_version(tmp_path / "models"), tmp_path / "cache", kind="vosk").verdict
    assert not verdict.accepted and "kind 'vosk' is not one of sensevoice, tensor" in verdict.because


def test_refuses_a_directory_that_is_not_there_or_holds_something(tmp_path: Path) -> None:
    version = good_version(tmp_path / "models")
    for directory, because in ((tmp_path / "nowhere", b"No such file"), (version, b"is not empty")):
        done = run_child(msgspec.json.encode(candidate(version, directory)))
        assert done.returncode == 1 and because in done.stderr


def test_names_from_the_version_cannot_paint_the_terminal(tmp_path: Path) -> None:
    version = tensor_version(tmp_path / "models")
    graph = helper.make_graph(
        [helper.make_node("Evil\x1b[2J\nDone", ["x"], ["y"], domain="d")],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])],
    )
    (version / "model.onnx").write_bytes(helper.make_model(graph).SerializeToString())
    outcome = judge(version, kind="tensor")
    assert not outcome.verdict.accepted and outcome.verdict.because.isprintable()


def test_what_libraries_print_does_not_reach_the_protocol(tmp_path: Path) -> None:
    """ONNX Runtime reports a failing node on its own; every line on standard output must stay a message."""
    version = tensor_version(tmp_path / "models")
    graph = helper.make_graph(
        [helper.make_node("Reshape", ["x", "shape"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [helper.make_tensor("shape", TensorProto.INT64, [2], [7, 11])],
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8), version / "model.onnx"
    )
    outcome = judge(version, kind="tensor")
    assert outcome.failed == "load" and "Reshape" in outcome.verdict.because


def test_needs_no_environment_and_no_open_descriptor_of_its_parent(tmp_path: Path) -> None:
    """A descriptor it inherited is closed before anything of the version is read."""
    version = good_version(tmp_path / "models")
    read_end, write_end = os.pipe()
    (tmp_path / "given").mkdir(mode=0o750)
    wish = msgspec.json.encode(candidate(version, tmp_path / "given"))
    child = subprocess.Popen(
        [sys.executable, "-m", "modelward.worker.validate"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={"PYTHONPATH": str(ROOT / ".imports"), "OPENBLAS_NUM_THREADS": "1"},
        pass_fds=(write_end,),
    )
    os.close(write_end)
    assert child.stdin is not None
    with os.fdopen(read_end, "rb") as pipe:
        assert pipe.read() == b""  # its end comes although the child has not been given its candidate
    out, _ = child.communicate(wish, timeout=PATIENCE_SECONDS)
    assert json.loads(out.splitlines()[-1])["accepted"]
