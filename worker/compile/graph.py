"""A small view of an ONNX graph for rewriting: which node makes a tensor, which nodes read it, what a constant holds.

Rewrites use its structure only, never the names of nodes. It does no I/O and knows no model. After a rewrite call
`sweep`: it drops what nothing reads any more, and keeps every input and output of the graph.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from onnx import AttributeProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from . import weights
from .weights import Array

MICROSOFT = "com.microsoft"


class GraphView:
    """A mutable index over one model's main graph. Constants are decoded on demand; weights stay where they are.

    `directory`: where the graph's file of weights is; None for a graph that holds all its weights itself.
    """

    def __init__(self, model: ModelProto, directory: Path | None = None) -> None:
        self.model, self.graph, self.directory = model, model.graph, directory
        self._index()

    def _index(self) -> None:
        self.initializers: dict[str, TensorProto] = {t.name: t for t in self.graph.initializer}
        self.makers: dict[str, NodeProto] = {}
        self.readers: dict[str, list[NodeProto]] = defaultdict(list)
        self.outputs = {o.name for o in self.graph.output}
        self._taken = set(self.initializers) | {i.name for i in self.graph.input}
        for node in self.graph.node:
            self._enter(node)

    def _enter(self, node: NodeProto) -> None:
        for name in node.output:
            self.makers[name] = node
            self._taken.add(name)
        for name in node.input:
            self.readers[name].append(node)

    def nodes(self, *kinds: str) -> Iterator[NodeProto]:
        """Nodes of these kinds in the order of the graph; the list does not change after the call."""
        return iter([n for n in self.graph.node if n.op_type in kinds])

    def maker(self, name: str, *kinds: str) -> NodeProto | None:
        """The node that makes this tensor, if it is of one of these kinds (any kind when none is given)."""
        node = self.makers.get(name)
        return node if node is not None and (not kinds or node.op_type in kinds) else None

    def only_reader(self, name: str, *kinds: str) -> NodeProto | None:
        """The only node that reads this tensor; None when there are more, other kinds, or it is an output of
        the graph.
        """
        readers = self.readers.get(name, [])
        if len(readers) != 1 or name in self.outputs or (kinds and readers[0].op_type not in kinds):
            return None
        return readers[0]

    def constant(self, name: str, limit: int = 4096) -> Array | None:
        """The value of an initializer or Constant node of at most `limit` elements, else None."""
        tensor = self.initializers.get(name)
        if tensor is None:
            node = self.maker(name, "Constant")
            tensor = next((a.t for a in node.attribute if a.name == "value"), None) if node is not None else None
        if tensor is None or int(np.prod(tensor.dims)) > limit:
            return None
        return self.value(tensor)

    def value(self, tensor: TensorProto) -> Array:
        """A tensor's values, from the graph or from the file of weights."""
        return weights.load(tensor, self.directory)

    def scalar(self, name: str) -> float | None:
        """The one number that a constant holds, of whatever rank."""
        value = self.constant(name, limit=1)
        return float(value.reshape(-1)[0]) if value is not None and value.size == 1 else None

    def add_constant(self, value: Array, hint: str) -> str:
        name = self.fresh(hint)
        tensor = numpy_helper.from_array(value, name)
        self.graph.initializer.append(tensor)
        self.initializers[name] = self.graph.initializer[-1]
        return name

    def fresh(self, hint: str) -> str:
        number = len(self._taken)
        while f"{hint}_{number}" in self._taken:
            number += 1
        self._taken.add(f"{hint}_{number}")
        return f"{hint}_{number}"

    def add_node(
        self, kind: str, inputs: Iterable[str], *, domain: str = "", outputs: int = 1, **attributes: Any
    ) -> NodeProto:
        """Appends a node with fresh output names; `sort` puts it in its place."""
        names = [self.fresh(kind) for _ in range(outputs)]
        node = helper.make_node(kind, list(inputs), names, name=names[0], domain=domain, **attributes)
        self.graph.node.append(node)
        node = self.graph.node[-1]
        self._enter(node)
        return node

    def rewire(self, old: str, new: str) -> None:
        """Makes everything that read `old` read `new`. An output of the graph keeps its name: its maker is renamed."""
        for reader in self.readers.pop(old, []):
            for i, name in enumerate(reader.input):
                if name == old:
                    reader.input[i] = new
                    self.readers[new].append(reader)
        if old in self.outputs:
            keep = self.add_node("Identity", [new])
            self.makers[old].output[list(self.makers[old].output).index(old)] = self.fresh("unread")
            keep.output[0] = old
            self.makers[old] = keep

    def sweep(self) -> int:
        """Drops nodes and initializers that lead to no output, and sorts the rest. Returns the number of
        dropped nodes.
        """
        needed, stack = set(), [self.makers[o] for o in self.outputs if o in self.makers]
        while stack:
            node = stack.pop()
            if id(node) in needed:
                continue
            needed.add(id(node))
            stack += [self.makers[i] for i in node.input if i in self.makers]
        kept = [n for n in self.graph.node if id(n) in needed]
        dropped = len(self.graph.node) - len(kept)
        ordered = [copied(n) for n in in_order(kept)]
        used = {i for n in ordered for i in n.input} | self.outputs
        del self.graph.node[:]
        self.graph.node.extend(ordered)
        for index in reversed(range(len(self.graph.initializer))):
            if self.graph.initializer[index].name not in used:
                del self.graph.initializer[index]
        del self.graph.value_info[:]
        self._index()
        return dropped


def copied(node: NodeProto) -> NodeProto:
    out = NodeProto()
    out.CopyFrom(node)
    return out


def in_order(nodes: list[NodeProto]) -> list[NodeProto]:
    """The nodes, each after those that it reads from, otherwise in the given order. Raises on a cycle."""
    makers = {name: index for index, node in enumerate(nodes) for name in node.output if name}
    waiting = [{makers[i] for i in node.input if i in makers} for node in nodes]
    readers: dict[int, list[int]] = defaultdict(list)
    for index, sources in enumerate(waiting):
        for source in sources:
            readers[source].append(index)
    ready = [i for i, sources in enumerate(waiting) if not sources]
    heapq.heapify(ready)
    order: list[NodeProto] = []
    while ready:
        index = heapq.heappop(ready)
        order.append(nodes[index])
        for reader in readers[index]:
            waiting[reader].discard(index)
            if not waiting[reader]:
                heapq.heappush(ready, reader)
    if len(order) != len(nodes):
        raise ValueError("the graph has a cycle")
    return order


def attribute(node: NodeProto, name: str, default: Any = None) -> Any:
    """An attribute's value; strings come as str, tensors as arrays."""
    for a in node.attribute:
        if a.name == name:
            if a.type == AttributeProto.TENSOR:
                return numpy_helper.to_array(a.t)
            value = helper.get_attribute_value(a)
            return value.decode() if isinstance(value, bytes) else value
    return default


def other_input(node: NodeProto, name: str) -> str | None:
    """The input that is not `name`, of a node with two inputs."""
    if len(node.input) != 2 or name not in node.input or node.input[0] == node.input[1]:
        return None
    return str(node.input[1] if node.input[0] == name else node.input[0])


def has_branches(model: ModelProto) -> bool:
    """Whether any node holds graphs of its own (If, Loop, Scan): what they read from outside is not in a GraphView."""
    kinds = (AttributeProto.GRAPH, AttributeProto.GRAPHS)
    return any(a.type in kinds for node in model.graph.node for a in node.attribute)


def opset(model: ModelProto, domain: str = "") -> int:
    return next((o.version for o in model.opset_import if o.domain == domain), 0)


def need_domain(model: ModelProto, domain: str = MICROSOFT, version: int = 1) -> None:
    if not opset(model, domain):
        model.opset_import.append(helper.make_opsetid(domain, version))
