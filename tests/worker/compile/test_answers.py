"""Ids found in the graph are those numpy finds in the logits, ties and all, whatever the vocabulary's size."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from tests.worker.compile.graphs import (
    I32,
    F,
    graph,
    kinds,
    node,
    quantised_linear,
    rewritten,
    run,
)

from modelward.worker.compile import answers
from modelward.worker.compile.answers import answer_ids

DEPTH = 32


def model(columns: int, kind: str) -> onnx.ModelProto:
    random = np.random.default_rng(columns)
    weight, bias = random.normal(0, 1, (DEPTH, columns)), random.normal(0, 1, columns).astype(np.float32)
    weight[:, columns // 2 :] = weight[:, : columns - columns // 2]  # equal columns far apart: ties
    bias[columns // 2 :] = bias[: columns - columns // 2]
    constants: dict[str, np.ndarray] = {"b": bias}
    if kind == "plain":
        nodes = [node("MatMul", ["x", "w"], ["p"])]
        constants["w"] = weight.astype(np.float32)
    else:
        nodes, more = quantised_linear("x", "p", weight, "l", per_tensor=kind == "per tensor")
        constants |= more
    nodes += [node("Add", ["b", "p"], ["logits"]), node("Identity", ["n"], ["lengths"])]
    if kind == "soft":
        nodes = [node("MatMul", ["x", "w"], ["p"]), node("LogSoftmax", ["p"], ["logits"], axis=-1)]
        nodes.append(node("Identity", ["n"], ["lengths"]))
        constants = {"w": weight.astype(np.float32)}
    ins = {"x": (F, [1, "T", DEPTH]), "n": (I32, ["B"])}
    return graph(nodes, ins, {"logits": (F, [1, "T", columns]), "lengths": (I32, None)}, constants)


@pytest.mark.parametrize(
    "columns", [2, 100, answers.TILE_COLUMNS, answers.TILE_COLUMNS + 1, 3 * answers.TILE_COLUMNS - 7]
)
@pytest.mark.parametrize("kind", ["plain", "per column", "per tensor"])
def test_ids_are_those_of_the_logits(columns: int, kind: str) -> None:
    logits = model(columns, kind)
    ids, tiles = rewritten(logits, answer_ids)
    assert tiles == -(-columns // answers.TILE_COLUMNS)
    for frames in (1, 9):
        x = np.random.default_rng(frames).normal(0, 1, (1, frames, DEPTH)).astype(np.float32)
        feeds = {"x": x, "n": np.array([frames], np.int32)}
        (wanted, lengths), (got, same_lengths) = run(logits, feeds), run(ids, feeds)
        assert got.dtype == np.int64
        assert got.tolist() == wanted.argmax(-1).tolist()
        assert lengths.tolist() == same_lengths.tolist()


def test_any_other_last_layer_gets_one_argmax() -> None:
    logits = model(100, "soft")
    ids, _ = rewritten(logits, answer_ids)
    x = np.random.default_rng(3).normal(0, 1, (1, 5, DEPTH)).astype(np.float32)
    feeds = {"x": x, "n": np.array([5], np.int32)}
    assert "ArgMax" in kinds(ids)
    assert run(ids, feeds)[0].tolist() == run(logits, feeds)[0].argmax(-1).tolist()
    assert [o.name for o in ids.graph.output] == ["ids", "lengths"]
