"""What the demo leaves on disk: complete versions, the same ones each time, nothing half written, nothing replaced."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import wave
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from tests.support import PATIENCE_SECONDS
from tests.versions import demo
from tests.worker.demo.ears import Ears

from modelward.worker.demo import build_version, fit, network

FILES = {"model.onnx", "tokens.json", "am.mvn", "config.yaml", "configuration.json", "golden"}


def run(directory: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "modelward.worker.demo", str(directory)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )


def digest(directory: Path) -> dict[str, str]:
    files = (path for path in sorted(directory.rglob("*")) if path.is_file())
    return {str(path.relative_to(directory)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture
def made() -> Path:
    return demo()


def test_the_command_makes_three_versions_and_the_clips(made: Path) -> None:
    versions = sorted((made / "versions").iterdir())
    assert [path.name for path in versions] == ["dtmf-v1.0", "dtmf-v1.1", "dtmf-v1.2"]
    assert all({path.name for path in version.iterdir()} == FILES for version in versions)
    assert len(list((made / "clips").glob("*.wav"))) == 5
    for path in (made / "clips").glob("*.wav"):
        with wave.open(str(path)) as clip:
            assert (clip.getframerate(), clip.getnchannels(), clip.getsampwidth()) == (16_000, 1, 2)


def test_the_first_two_versions_write_their_golden_texts(made: Path) -> None:
    for name in ("dtmf-v1.0", "dtmf-v1.1"):
        version = made / "versions" / name
        ears = Ears(version)
        golden = sorted((version / "golden").glob("*.wav"))
        assert len(golden) == 2
        for path in golden:
            sound = np.frombuffer(path.read_bytes()[44:], dtype="<i2").astype(np.float32) / 32768
            assert ears.text(sound) == path.with_suffix(".txt").read_text(encoding="utf-8").strip()


def test_the_third_version_runs_but_its_answers_are_not_numbers(made: Path) -> None:
    (heard,) = Ears(made / "versions" / "dtmf-v1.2").hear(np.zeros(16_000, dtype=np.float32))
    assert np.isnan(heard.logits).any()


def test_two_runs_make_the_same_bytes(made: Path, tmp_path: Path) -> None:
    assert run(tmp_path).stderr == ""
    assert digest(made) == digest(tmp_path)


def test_running_it_again_leaves_what_is_there(made: Path, tmp_path: Path) -> None:
    shutil.copytree(made, tmp_path / "demo")
    before = {path: path.stat().st_ino for path in (tmp_path / "demo" / "versions").iterdir()}
    assert run(tmp_path / "demo").returncode == 0
    assert {path: path.stat().st_ino for path in (tmp_path / "demo" / "versions").iterdir()} == before


def test_never_replaces_a_version(tmp_path: Path) -> None:
    (tmp_path / "taken").symlink_to("nowhere")
    with pytest.raises(FileExistsError, match="cannot build"):
        build_version(tmp_path / "taken", words=False)
    assert (tmp_path / "taken").is_symlink()


def test_a_directory_that_cannot_be_written_is_said_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    done = run(tmp_path / "file")
    assert done.returncode == 1
    assert done.stderr.startswith("cannot build the demo in ")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_the_graph_has_the_signature_of_the_published_export(made: Path) -> None:
    model = onnx.load(made / "versions" / "dtmf-v1.0" / "model.onnx")
    published = onnx.load(Path(__file__).parents[2] / "vectors" / "model-funasr" / "model.onnx")

    def signature(values):
        return [
            (value.name, value.type.tensor_type.elem_type, len(value.type.tensor_type.shape.dim)) for value in values
        ]

    assert signature(model.graph.input) == signature(published.graph.input)
    assert signature(model.graph.output) == signature(published.graph.output)
    assert model.graph.input[0].type.tensor_type.shape.dim[2].dim_value == 560
    assert model.opset_import[0].version <= 17
    assert model.ir_version == published.ir_version


def test_the_graph_computes_what_the_learner_does(made: Path) -> None:
    ears = Ears(made / "versions" / "dtmf-v1.0")
    model = onnx.load(made / "versions" / "dtmf-v1.0" / "model.onnx")
    learnt = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    parts = ("hidden.weight", "hidden.bias", "logits.weight", "logits.bias")
    ear, memory = (fit.Net(*(learnt[f"{name}.{part}"] for part in parts)) for name in ("ear", "memory"))
    sound = (np.random.default_rng(8).standard_normal(20_000) * 0.05).astype(np.float32)
    heard = network.ear_answers(ear, network.frontend.fbank(sound), ears.shift[:80], ears.scale[:80])
    keys = memory.logits(network.context(heard))
    expected = np.log(fit.softmax(keys))
    (answer,) = ears.hear(sound)
    np.testing.assert_allclose(answer.logits[4:][:, [0, *range(3, 19)]], expected, atol=1e-3)


def test_learns_to_tell_what_a_straight_line_cannot() -> None:
    x = np.random.default_rng(1).uniform(-1, 1, (4_000, 2)).astype(np.float32)
    y = (x[:, 0] * x[:, 1] > 0).astype(np.int64)
    net = fit.fit(x, y, classes=2, hidden=16, epochs=30, rate=1e-2, seed=0)
    assert (net.logits(x).argmax(axis=1) == y).mean() > 0.97
