"""What was learned by compiling one graph on one machine: which rewrites are kept, and which are refused and why.

Which of them are faster and exact depends on the graph, the processor and ONNX Runtime, not on the weights. So the next
version with that graph is compiled without trials. A recipe is no proof: its result is proved like any other.
`digest_of_graph` identifies the graph. Pure.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any, Final, cast

from msgspec import Struct
from msgspec.structs import asdict
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto

from ..shared.form_key import RECIPE
from . import weights
from .steps import Level

MOST_STEPS: Final = 32
MOST_LETTERS: Final = 300
_WHOLE_NUMBERS: Final = frozenset({TensorProto.INT64, TensorProto.INT32, TensorProto.BOOL})


class StepDone(Struct, frozen=True):
    """A step and its result; `because` is for the operator."""

    name: str
    kept: bool
    because: str


class Recipe(Struct, frozen=True):
    """Steps in the order in which they were tried. `number` is that of the rewrites known at that time (see
    key.RECIPE).
    """

    level: Level
    steps: tuple[StepDone, ...] = ()
    number: int = RECIPE

    def kept(self) -> tuple[str, ...]:
        return tuple(step.name for step in self.steps if step.kept)

    def to_json(self) -> dict[str, object]:
        """The recipe as text, numbers, lists and objects; bounded."""
        steps = [asdict(s) | {"because": s.because[:MOST_LETTERS]} for s in self.steps[:MOST_STEPS]]
        return {"number": self.number, "level": self.level, "steps": steps}


def recipe_of(told: Mapping[str, Any]) -> Recipe | None:
    """The recipe from what `to_json` made; None for one of other rewrites, or for anything else."""
    level, steps = told.get("level"), told.get("steps")
    if told.get("number") != RECIPE or level not in ("exact", "fast") or not isinstance(steps, list):
        return None
    done = [_step(step) for step in steps[:MOST_STEPS]]
    return None if None in done else Recipe(level, cast(tuple[StepDone, ...], tuple(done)))


def _step(told: object) -> StepDone | None:
    if not isinstance(told, Mapping):
        return None
    name, kept, because = (told.get(key) for key in ("name", "kept", "because"))
    if not (isinstance(name, str) and isinstance(kept, bool) and isinstance(because, str)):
        return None
    return StepDone(name[:MOST_LETTERS], kept, because[:MOST_LETTERS])


def digest_of_graph(model: ModelProto) -> str:
    """SHA-256 of a model's structure: operators, attributes, shapes and whole numbers, not weights or names."""
    found = hashlib.sha256()
    imports = sorted((o.domain, o.version) for o in model.opset_import)
    for piece in (imports, *_pieces(model.graph)):
        found.update(json.dumps(piece).encode() + b"\n")
    return found.hexdigest()


def _pieces(graph: GraphProto) -> Iterator[object]:
    """A graph as JSON values; tensors are numbered in the order in which they appear."""
    numbers: dict[str, int] = {"": -1}

    def number(name: str) -> int:
        return numbers.setdefault(name, len(numbers))

    for port in (*graph.input, *graph.output):
        kind = port.type.tensor_type
        yield [number(port.name), kind.elem_type, [d.dim_value if d.dim_value else -1 for d in kind.shape.dim]]
    constants = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        told = [number(name) for name in (*node.input, *node.output)]
        told_constants = [_constant(constants[name]) for name in node.input if name in constants]
        yield [node.domain, node.op_type, told, len(node.input), told_constants, _attributes(node)]


def _constant(tensor: TensorProto) -> object:
    """Type and shape; whole numbers (shapes, axes) with their values."""
    value = tensor.SerializeToString() if tensor.data_type in _WHOLE_NUMBERS and _is_small(tensor) else b""
    if value:
        plain = TensorProto()
        plain.CopyFrom(tensor)
        plain.ClearField("name")
        value = plain.SerializeToString(deterministic=True)
    return [tensor.data_type, list(tensor.dims), hashlib.sha256(value).hexdigest() if value else ""]


def _is_small(tensor: TensorProto) -> bool:
    return tensor.data_location != TensorProto.EXTERNAL and len(tensor.raw_data) <= weights.INLINE_BYTES


def _attributes(node: NodeProto) -> list[object]:
    told: list[object] = []
    for attribute in sorted(node.attribute, key=lambda a: a.name):
        plain = AttributeProto()
        plain.CopyFrom(attribute)
        plain.t.ClearField("name") if plain.HasField("t") else None
        told.append(hashlib.sha256(plain.SerializeToString(deterministic=True)).hexdigest())
    return told
