"""Versions of kind tensor, from the gates to the worker that serves what they left."""

from __future__ import annotations

from pathlib import Path

import pytest
from onnx import TensorProto, helper
from tests import asking
from tests.versions import tensor_version
from tests.worker.compile.making import compiled
from tests.worker.running import worker
from tests.worker.tensor_models import save, typed_version
from tests.worker.validate.judging import judge


def of_type(directory: Path, kind: int) -> Path:
    return save(
        directory,
        [helper.make_node("Identity", ["x"], ["y"])],
        [helper.make_tensor_value_info("x", kind, ["N"])],
        [helper.make_tensor_value_info("y", kind, ["N"])],
    )


@pytest.mark.parametrize("level", ["off", "exact", "fast"])
def test_what_is_accepted_is_served_whatever_its_form(tmp_path: Path, level: str) -> None:
    verdict = judge(tensor_version(tmp_path, "adder-v1"), tmp_path / "cache", kind="tensor").verdict
    assert verdict.accepted, verdict.because
    if level == "off":
        forms = [Path(verdict.artifact)]
    else:
        outcome = compiled(Path(verdict.artifact), level=level)
        assert {*outcome.made, *outcome.refused} == {"mapped", "rewritten"}, outcome
        forms = [Path(message.artifact) for message in outcome.made.values()]
    for number, form in enumerate(forms):
        _adds(tmp_path / f"w{number}", form, verdict.digest)


def _adds(room: Path, artifact: Path, digest: str) -> None:
    with worker(room, artifact, kind="tensor", version="adder-v1") as running:
        given = {"name": "x", "shape": [2, 3], "datatype": "FP32", "data": [1, 2, 3, 4, 5, 6]}
        answer = asking.post(running.url + "/v2/models/adder/infer", json={"inputs": [given]}).json()
        assert answer["outputs"][0]["data"] == [6, 1, 15, 1] and answer["parameters"]["digest"] == digest


def test_every_type_that_is_served_is_accepted(tmp_path: Path) -> None:
    for version in (typed_version(tmp_path / "typed-v1"), of_type(tmp_path / "brain-v1", TensorProto.BFLOAT16)):
        verdict = judge(version, tmp_path, kind="tensor").verdict
        assert verdict.accepted, verdict.because


def test_a_type_that_is_not_served_is_refused(tmp_path: Path) -> None:
    outcome = judge(of_type(tmp_path / "complex-v1", TensorProto.COMPLEX64), kind="tensor")
    assert outcome.failed == "load" and "complex64" in outcome.verdict.because
