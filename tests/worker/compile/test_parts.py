"""A large model's rewrites are tried on parts of it; the form made from what was found is proved as a whole."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from onnx import numpy_helper

from modelward.worker.compile import optimise, sample, weights
from modelward.worker.compile.compiled import Compiled
from modelward.worker.compile.graph import GraphView
from modelward.worker.compile.recipe import Recipe
from modelward.worker.compile.steps import STEPS, RewriteStep

Rewrite = Callable[..., tuple[Compiled, Recipe | None]]


def opened(part: sample.ModelPart, directory: Path) -> ort.InferenceSession:
    return optimise.open_model(weights.save(part.model, directory, "part.onnx"), 1)


def test_parts_of_a_model_run_by_themselves(version: Path, clips: list[dict[str, Any]], tmp_path: Path) -> None:
    model = optimise.tidied(version / "model_quant.onnx", tmp_path, 1)
    total = sum(weights.size(t) for t in model.graph.initializer)
    layers, last = sample.first_layers(model, total // 3), sample.last_layer(model)
    assert layers is not None
    assert last is not None
    assert total // 3 <= sum(weights.size(t) for t in layers.model.graph.initializer) < total // 2
    session = opened(layers, tmp_path)
    known = {i.name for i in session.get_inputs()}
    (hidden,) = session.run(None, {k: v for k, v in clips[0].items() if k in known})
    assert hidden.shape[1] == clips[0]["speech"].shape[1] + 4
    (logits,) = opened(last, tmp_path).run(None, last.feeds(clips[0]))
    assert logits.shape == (1, clips[0]["speech"].shape[1], 120)


def test_what_is_found_on_parts_is_what_is_found_on_the_whole(rewrite: Rewrite, tmp_path: Path) -> None:
    whole, of_whole = rewrite(out_dir=tmp_path / "whole")
    parts, of_parts = rewrite(out_dir=tmp_path / "parts", small_bytes=0)
    assert of_whole is not None
    assert of_parts is not None
    assert of_parts.kept() == of_whole.kept()
    assert parts.form == "exact"
    assert parts.files == whole.files


def late(view: GraphView) -> int:
    """Changes one weight in the middle of the model: the first layers do not show it."""
    weight = [n for n in view.graph.node if n.op_type == "MatMulInteger"][-2].input[1]
    tensor = view.initializers.get(weight)
    if tensor is None:
        return 0
    value = view.value(tensor).copy()
    value[0, 0] ^= 1
    tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(value), tensor.name))
    return 1


def test_a_mistake_that_the_parts_do_not_show_is_found_by_the_proof(rewrite: Rewrite) -> None:
    def unseen(view: GraphView) -> int:
        return late(view) if len(list(view.nodes("MatMulInteger"))) > 8 else 1

    padding = next(step for step in STEPS if step.name == "padding mask dropped")
    made, learned = rewrite(rewrites=(padding, RewriteStep("late", "late", "exact", unseen)), small_bytes=0)
    assert made.form == "exact"
    assert learned is not None
    assert learned.kept() == (padding.name,)
    assert [s.because for s in made.steps if s.name == "what was found on parts of the model"][0].startswith("logits")


def test_a_graph_without_such_parts_is_tried_whole(rewrite: Rewrite, version: Path, tmp_path: Path) -> None:
    model = onnx.load(version / "model_quant.onnx")
    model.graph.node.append(onnx.helper.make_node("Softmax", ["ctc_logits"], ["shares"], axis=-1))
    model.graph.output[0].name = "shares"
    onnx.save(model, tmp_path / "shares.onnx")
    made, learned = rewrite(source=tmp_path / "shares.onnx", small_bytes=0)
    assert made.form == "exact"
    assert learned is not None
    assert "best ids in the graph" in learned.kept()
