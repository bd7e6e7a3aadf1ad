"""Gate 3: the graph is one that workers can serve, and everything it names is in the version.

Reads the ONNX file and the small files beside it; loads no weights, runs nothing.
"""

from __future__ import annotations

from typing import Final

from ..context import Context, GateAnswer
from ..kinds import KINDS
from ..model_under_test import BadSubject
from ..onnx_graph import (
    BadGraph,
    Signature,
    operators,
    read_graph,
    wrong_operators,
    wrong_weights,
)

_MAY_COME: Final = ("cannot read", "cannot find", "cannot normalise features: there is no")
"""How reasons begin that the rest of a copy may take away: a small file that is missing or cut off."""


def check(context: Context) -> GateAnswer:
    """Passes when operators, external weights, inputs, outputs, vocabulary and normalisation fit together."""
    name = context.model
    try:
        graph = read_graph(context.directory / name)
    except BadGraph as e:
        return context.fails(f"cannot read {name}: {e}", incomplete=True)
    sizes = {file: entry.bytes for file, entry in context.files.items()}
    if wrong := wrong_operators(graph):
        return context.fails(f"cannot use {name}: {wrong}")
    if wrong := wrong_weights(graph, sizes):
        return context.fails(f"cannot use {name}: {wrong}", incomplete="outside" not in wrong)
    signature = Signature(graph)
    context.operators = frozenset(name for _, name in operators(graph))
    del graph  # its weights, when they are inside
    try:
        return GateAnswer(True, KINDS[context.candidate.kind].signature(context.directory, name, signature))
    except BadSubject as e:
        return context.fails(str(e), incomplete=str(e).startswith(_MAY_COME))
