"""What was learned of a graph is found again for the same graph, whatever its weights, and proves nothing by itself."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from modelward.worker.compile import optimise, weights
from modelward.worker.compile.compiled import Compiled
from modelward.worker.compile.recipe import (
    MOST_LETTERS,
    MOST_STEPS,
    Recipe,
    StepDone,
    digest_of_graph,
    recipe_of,
)

Rewrite = Callable[..., tuple[Compiled, Recipe | None]]
LEARNED = Recipe("exact", (StepDone("signed weights", True, "CPU time 0.50"), StepDone("other", False, "slower")))


def graph_digest(source: Path) -> str:
    return digest_of_graph(weights.read(source))


@pytest.fixture
def of_other_weights(version: Path, tmp_path: Path) -> Path:
    model = onnx.load(version / "model_quant.onnx")
    for tensor in model.graph.initializer:
        if tensor.data_type == onnx.TensorProto.UINT8 and len(tensor.dims) == 2:
            value = np.flip(numpy_helper.to_array(tensor)).copy()
            tensor.CopyFrom(numpy_helper.from_array(value, f"{tensor.name}"))
    onnx.save(model, tmp_path / "other.onnx")
    return tmp_path / "other.onnx"


def test_a_graph_is_known_again_by_its_structure_alone(version: Path, of_other_weights: Path, tmp_path: Path) -> None:
    digest = graph_digest(version / "model_quant.onnx")
    assert graph_digest(of_other_weights) == digest
    assert graph_digest(version / "model.onnx") != digest
    model = onnx.load(version / "model_quant.onnx")
    next(n for n in model.graph.node if n.op_type == "Softmax").attribute[0].i = 1
    onnx.save(model, tmp_path / "axis.onnx")
    assert graph_digest(tmp_path / "axis.onnx") != digest


def test_weights_may_lie_beside_the_graph(version: Path, tmp_path: Path) -> None:
    model = onnx.load(version / "model_quant.onnx")
    (tmp_path / "data").mkdir()
    onnx.save(model, tmp_path / "beside.onnx", save_as_external_data=True, location="data/w", size_threshold=1024)
    assert graph_digest(tmp_path / "beside.onnx") == graph_digest(version / "model_quant.onnx")


def test_a_recipe_survives_its_way_through_json() -> None:
    assert recipe_of(json.loads(json.dumps(LEARNED.to_json()))) == LEARNED


@pytest.mark.parametrize(
    "told",
    [
        {},
        {"number": -1, "level": "exact", "steps": []},
        LEARNED.to_json() | {"level": "other"},
        LEARNED.to_json() | {"steps": "none"},
        LEARNED.to_json() | {"steps": [{"name": 1}]},
        LEARNED.to_json() | {"steps": [7]},
    ],
)
def test_what_is_no_recipe_of_these_rewrites_is_forgotten(told: dict[str, Any]) -> None:
    assert recipe_of(told) is None


def test_a_recipe_is_bounded() -> None:
    long = Recipe("exact", tuple(StepDone(f"step {i}", False, "x" * 9999) for i in range(999)))
    assert len(json.dumps(long.to_json())) < MOST_STEPS * (MOST_LETTERS + 100)


def test_the_next_version_with_the_graph_is_compiled_without_trials(
    rewrite: Rewrite, of_other_weights: Path, tmp_path: Path
) -> None:
    _, learned = rewrite()
    assert learned is not None
    heard: list[str] = []
    out = tmp_path / "known"
    made, still = rewrite(source=of_other_weights, out_dir=out, recipe=learned, progress=heard.append)
    assert made.form == "exact"
    assert still == learned
    assert not [line for line in heard if line.startswith("trying")]
    assert [s.name for s in made.steps if s.kept] == list(learned.kept())
    optimise.open_mapped(out / made.model_file, 1)


def test_a_recipe_of_which_nothing_pays_ends_the_work_at_once(rewrite: Rewrite, tmp_path: Path) -> None:
    learned = Recipe("exact", (StepDone("signed weights", False, "slower"),))
    made, still = rewrite(recipe=learned)
    assert (made.form, still) == ("plain", learned)
    assert "no rewrite pays" in made.because
    assert list((tmp_path / "out").iterdir()) == []


def test_a_recipe_that_does_not_hold_is_learned_anew(rewrite: Rewrite) -> None:
    wrong = Recipe("exact", (StepDone("signed weights", True, ""), StepDone("attention fused", True, "moves answers")))
    made, learned = rewrite(recipe=wrong)
    assert made.form == "exact"
    assert learned is not None
    assert "attention fused" not in learned.kept()
    refused = [s for s in made.steps if s.name == "what was learned about this graph"]
    assert [s.kept for s in refused] == [False]


def test_a_recipe_for_another_level_is_not_used(rewrite: Rewrite) -> None:
    made, learned = rewrite(level="fast", recipe=LEARNED)
    assert (made.form, learned is not None and learned.level) == ("fast", "fast")
