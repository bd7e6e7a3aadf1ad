"""A mapped form is whole or does not open; torn weights are never served."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from modelward.worker.compile import optimise
from modelward.worker.compile.compiled import Compiled


@pytest.fixture
def form(compile_it: Callable[..., Compiled], tmp_path: Path) -> Path:
    compiled = compile_it(flags=())
    assert compiled.form == "exact"
    return tmp_path / "out"


def test_missing_weights_do_not_open(form: Path) -> None:
    (form / "model.weights").unlink()
    with pytest.raises(optimise.CannotOptimise, match="model.weights"):
        optimise.open_mapped(form / "model.onnx", 1)


@pytest.mark.parametrize("left", [0, 1000, -4096])
def test_shortened_weights_do_not_open(form: Path, left: int) -> None:
    weights = form / "model.weights"
    with weights.open("r+b") as f:
        f.truncate(left if left >= 0 else weights.stat().st_size + left)
    with pytest.raises(optimise.CannotOptimise):
        optimise.open_mapped(form / "model.onnx", 1)


def test_a_torn_graph_does_not_open(form: Path) -> None:
    data = (form / "model.onnx").read_bytes()
    (form / "model.onnx").write_bytes(data[: len(data) // 2])
    with pytest.raises(optimise.CannotOptimise, match="model.onnx"):
        optimise.open_mapped(form / "model.onnx", 1)


def test_a_hole_in_the_weights_shows_in_the_hash(compile_it: Callable[..., Compiled], tmp_path: Path) -> None:
    compiled = compile_it()
    weights = tmp_path / "out" / "model.weights"
    size = weights.stat().st_size
    with weights.open("r+b") as f:
        f.seek(size // 2)
        f.write(bytes(4096))
    assert optimise.digest_of(weights)[0] == size
    assert optimise.digest_of(weights)[1] != compiled.files["model.weights"].sha256


def test_weights_are_mapped_not_copied(form: Path) -> None:
    session = optimise.open_mapped(form / "model.onnx", 1)
    assert str(form / "model.weights") in Path("/proc/self/maps").read_text()
    del session
