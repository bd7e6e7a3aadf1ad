"""Writes version directories that have the shape of SenseVoice-small and know sixteen telephone keys.

It lays down, node for node, the graph that the funasr exporter (TorchScript, opset 14) writes, with random
well-scaled weights, and the usual unsigned int8 file made from it (`quantize_dynamic`, MatMul only, QUInt8, per
channel). `FULL` has the real sizes (234 M parameters), `SMALL` is the same graph for tests. Only the output layer is
taught (`teach`), by least squares on tones, so that answers have margins as a trained model's have: with random ones,
near-ties on every tenth frame would make "the same answer" a matter of luck.

    python tests/bench/shape.py DIR [--small] [--fp32] [--seed N]
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # so that it runs as a script too

from tests.bench import flavours
from tests.bench.tones import (
    KEYS,
    clip,
    features,
    feeds,
    normalisation,
)

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Shape:
    """Sizes of the network; `blocks` counts the entry block, which widens 560 to `width` and has no residual."""

    width: int = 512
    heads: int = 4
    hidden: int = 2048
    blocks: int = 50
    tp_blocks: int = 20
    vocabulary: int = 25055
    features: int = 560
    kernel: int = 11


FULL = Shape()
SMALL = Shape(width=128, heads=4, hidden=256, blocks=3, tp_blocks=2, vocabulary=120)

TAGS = {
    24884: "zh", 24885: "en", 24888: "yue", 24892: "ja", 24896: "ko", 24992: "nospeech", 24993: "Speech", 24995: "BGM",
    24997: "Laughter", 24999: "Applause", 25001: "HAPPY", 25002: "SAD", 25003: "ANGRY", 25004: "NEUTRAL",
    25009: "EMO_UNKNOWN", 25016: "withitn", 25017: "woitn", 25018: "GBG", 25019: "Event_UNK",
}  # fmt: skip
LESSONS, RIDGE, LOUDNESS = 96, 2e-4, 16.0


class Graph:
    """Nodes and initializers in the order they are laid down; names are only there to be unique."""

    def __init__(self, seed: int) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self.random = np.random.default_rng(seed)
        self.scope = ""
        self.count = 0

    @contextmanager
    def inside(self, name: str) -> Iterator[None]:
        outer, self.scope = self.scope, f"{self.scope}/{name}"
        yield
        self.scope = outer

    def name(self, kind: str) -> str:
        self.count += 1
        return f"{self.scope}/{kind}_{self.count}"

    def op(self, kind: str, *inputs: str, outputs: int = 1, **attributes: Any) -> Any:
        name = self.name(kind)
        out = [f"{name}_output_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(kind, list(inputs), out, name=name, **attributes))
        return out[0] if outputs == 1 else out

    def const(self, value: Any, dtype: Any = np.int64) -> str:
        name = self.name("Constant")
        tensor = numpy_helper.from_array(np.asarray(value, dtype=dtype))
        self.nodes.append(helper.make_node("Constant", [], [name], name=name, value=tensor))
        return name

    def weight(self, value: Array) -> str:
        name = self.name("weight").lstrip("/")
        self.initializers.append(numpy_helper.from_array(np.asarray(value, dtype=np.float32), name))
        return name

    def normal(self, *shape: int, scale: float) -> Array:
        return self.random.standard_normal(shape, dtype=np.float32) * np.float32(scale)

    def linear(self, x: str, inputs: int, outputs: int, gain: float = 1.0) -> str:
        """The exporter writes Add(bias, product), the bias first."""
        product = self.op("MatMul", x, self.weight(self.normal(inputs, outputs, scale=gain / math.sqrt(inputs))))
        return str(self.op("Add", self.weight(self.normal(outputs, scale=0.02)), product))

    def dimension(self, x: str, axis: int) -> str:
        return str(self.op("Gather", self.op("Shape", x), self.const(axis), axis=0))

    def vector(self, *parts: str | int) -> str:
        """An int64 vector from scalars and numbers, as `torch.reshape(x, (b, t, 4, 128))` exports."""
        rows = [self.const([p]) if isinstance(p, int) else self.op("Unsqueeze", p, self.const([0])) for p in parts]
        return str(self.op("Concat", *rows, axis=0))


def layer_norm(g: Graph, x: str, width: int) -> str:
    """Layer normalisation as opset 14 spells it: nine primitive nodes behind a Cast that changes nothing."""
    x = g.op("Cast", x, to=TensorProto.FLOAT)
    centred = g.op("Sub", x, g.op("ReduceMean", x, axes=[-1]))
    square = g.op("Pow", centred, g.const(2.0, np.float32))
    variance = g.op("Add", g.op("ReduceMean", square, axes=[-1]), g.const(1e-5, np.float32))
    scaled = g.op("Mul", g.op("Div", centred, g.op("Sqrt", variance)), g.weight(1 + g.normal(width, scale=0.05)))
    return str(g.op("Add", scaled, g.weight(g.normal(width, scale=0.05))))


def memory(g: Graph, v: str, mask: str, s: Shape) -> str:
    """The FSMN memory: a masked depthwise convolution over time plus what went in, masked again."""
    mask = g.op("Reshape", mask, g.vector(g.dimension(v, 0), -1, 1), allowzero=0)
    masked = g.op("Mul", v, mask)
    x = g.op("Transpose", masked, perm=[0, 2, 1])
    side = s.kernel // 2
    zeros = g.op("ConstantOfShape", g.const([4]), value=numpy_helper.from_array(np.array([0])))
    pads = g.op("Reshape", g.op("Concat", g.const([side, side]), zeros, axis=0), g.const([-1, 2]), allowzero=0)
    starts, ends, axes, steps = g.const([-1]), g.const([-(2**63) + 1]), g.const([0]), g.const([-1])
    pads = g.op("Transpose", g.op("Slice", pads, starts, ends, axes, steps), perm=[1, 0])
    pads = g.op("Cast", g.op("Reshape", pads, g.const([-1]), allowzero=0), to=TensorProto.INT64)
    x = g.op("Pad", x, pads, g.const(0.0, np.float32), mode="constant")
    kernel = g.weight(g.normal(s.width, 1, s.kernel, scale=0.3 / math.sqrt(s.kernel)))
    x = g.op("Conv", x, kernel, dilations=[1], group=s.width, kernel_shape=[s.kernel], pads=[0, 0], strides=[1])
    x = g.op("Add", g.op("Transpose", x, perm=[0, 2, 1]), masked)
    return str(g.op("Mul", x, mask))


def attention(g: Graph, x: str, mask: str, unseen: str, inputs: int, s: Shape) -> str:
    """`mask` f32 [B,1,T] is 1 where there is speech; `unseen` bool [B,1,1,T] is its opposite."""
    batch, time = g.dimension(x, 0), g.dimension(x, 1)
    qkv = g.linear(x, inputs, 3 * s.width, gain=0.8)
    q, k, v = g.op("Split", qkv, g.const([s.width] * 3), outputs=3, axis=-1)
    size = s.width // s.heads
    shapes = [g.vector(batch, time, s.heads, size) for _ in range(3)]
    q_heads = g.op("Transpose", g.op("Reshape", q, shapes[0], allowzero=0), perm=[0, 2, 1, 3])
    k_rows = g.op("Reshape", k, shapes[1], allowzero=0)
    v_heads = g.op("Transpose", g.op("Reshape", v, shapes[2], allowzero=0), perm=[0, 2, 1, 3])
    remembered = memory(g, v, mask, s)
    q_heads = g.op("Mul", q_heads, g.const(size**-0.5, np.float32))
    scores = g.op("MatMul", q_heads, g.op("Transpose", k_rows, perm=[0, 2, 3, 1]))
    out_batch = g.dimension(v_heads, 0)
    hidden = g.op("Cast", unseen, to=TensorProto.BOOL)
    scores = g.op("Where", hidden, g.const(-np.inf, np.float32), scores)
    hidden = g.op("Cast", unseen, to=TensorProto.BOOL)
    weights = g.op("Where", hidden, g.const(0.0, np.float32), g.op("Softmax", scores, axis=-1))
    mixed = g.op("Transpose", g.op("MatMul", weights, v_heads), perm=[0, 2, 1, 3])
    mixed = g.op("Reshape", mixed, g.vector(out_batch, -1, s.width), allowzero=0)
    return str(g.op("Add", g.linear(mixed, s.width, s.width, gain=0.5), remembered))


def block(g: Graph, x: str, mask: str, unseen: str, inputs: int, s: Shape) -> str:
    with g.inside("norm1"):
        normed = layer_norm(g, x, inputs)
    with g.inside("self_attn"):
        y = attention(g, normed, mask, unseen, inputs, s)
    y = g.op("Mul", y, g.const(1.0, np.float32))
    x = g.op("Add", x, y) if inputs == s.width else y
    with g.inside("norm2"):
        normed = layer_norm(g, x, s.width)
    with g.inside("feed_forward"):
        hidden = g.op("Relu", g.linear(normed, s.width, s.hidden))
        y = g.linear(hidden, s.hidden, s.width, gain=0.5)
    return str(g.op("Add", x, g.op("Mul", y, g.const(1.0, np.float32))))


def prompts(g: Graph, s: Shape) -> tuple[str, str]:
    """The four prompt rows before the frames, f32 [B,T+4,560], and the lengths with them, i32 [B]."""
    table = g.weight(g.normal(16, s.features, scale=1.0))
    language = g.op("Unsqueeze", g.op("Gather", table, "language"), g.const([1]))
    textnorm = g.op("Unsqueeze", g.op("Gather", table, "textnorm"), g.const([1]))
    x = g.op("Concat", textnorm, "speech", axis=1)
    lengths = g.op("Add", "speech_lengths", g.const(1, np.int32))
    slots = g.op("Gather", table, g.const([[1, 2]]))
    batch = g.dimension(x, 0)
    repeats, target = g.vector(batch, 1, 1), g.vector(batch, 1, 1)
    ones = g.op("ConstantOfShape", g.op("Shape", target), value=numpy_helper.from_array(np.array([1])))
    slots = g.op("Tile", g.op("Expand", slots, ones), repeats)
    x = g.op("Concat", language, slots, x, axis=1)
    return x, g.op("Add", lengths, g.const(3, np.int32))


def padding(g: Graph, lengths: str) -> tuple[str, str]:
    """Which frames are speech: f32 [B,1,T], and its opposite, bool [B,1,1,T]."""
    longest = g.op("Cast", g.op("ReduceMax", lengths, keepdims=0), to=TensorProto.FLOAT)
    frames = g.op("Range", g.const(0.0, np.float32), longest, g.const(1.0, np.float32))
    frames = g.op("Cast", frames, to=TensorProto.INT64)
    ends = g.op("Cast", g.op("Unsqueeze", lengths, g.const([-1])), to=TensorProto.INT64)
    inside = g.op("Cast", g.op("Less", frames, ends), to=TensorProto.FLOAT)
    mask = g.op("Unsqueeze", g.op("Cast", inside, to=TensorProto.FLOAT), g.const([1]))
    unseen = g.op("Equal", g.op("Unsqueeze", mask, g.const([1])), g.const(0.0, np.float32))
    return mask, unseen


def positions(g: Graph, x: str, s: Shape) -> str:
    """Scale by sqrt(width), then add sines and cosines of the positions from 1, worked out in the graph."""
    x = g.op("Mul", x, g.const(math.sqrt(s.width), np.float32))
    time, depth = g.dimension(x, 1), g.dimension(x, 2)
    end = g.op("Cast", g.op("Add", time, g.const(1)), to=TensorProto.INT64)
    where = g.op("Unsqueeze", g.op("Range", g.const(1), end, g.const(1)), g.const([0]))
    batch = g.dimension(where, 0)
    where = g.op("Cast", where, to=TensorProto.FLOAT)
    half = g.op("Div", g.op("Cast", depth, to=TensorProto.FLOAT), g.const(2.0, np.float32))
    step = g.op("Sub", half, g.const(1.0, np.float32))
    rate = g.op("Neg", g.op("Div", g.const([math.log(10000.0)], np.float32), step))
    steps = g.op("Range", g.const(0.0, np.float32), g.op("Cast", half, to=1), g.const(1.0, np.float32))
    scales = g.op("Exp", g.op("Mul", g.op("Cast", steps, to=TensorProto.FLOAT), rate))
    scales = g.op("Reshape", scales, g.vector(batch, -1), allowzero=0)
    where = g.op("Reshape", where, g.const([1, -1, 1]), allowzero=0)
    angles = g.op("Mul", where, g.op("Reshape", scales, g.const([1, 1, -1]), allowzero=0))
    code = g.op("Concat", g.op("Sin", angles), g.op("Cos", angles), axis=2)
    return str(g.op("Add", x, g.op("Cast", code, to=TensorProto.FLOAT)))


def head(g: Graph, x: str, weight: str, bias: str) -> None:
    product = g.op("MatMul", x, weight)
    g.nodes.append(helper.make_node("Add", [bias, product], ["ctc_logits"], name=g.name("Add")))


def build(s: Shape, seed: int = 0) -> onnx.ModelProto:
    """The fp32 model: speech f32 [B,T,560], three i32 [B] → ctc_logits f32 [B,T+4,V], encoder_out_lens i32 [B]."""
    g = Graph(seed)
    x, lengths = prompts(g, s)
    with g.inside("encoder"):
        mask, unseen = padding(g, lengths)
        x = positions(g, x, s)
        for i in range(s.blocks):
            with g.inside(f"encoders.{i}"):
                x = block(g, x, mask, unseen, s.features if i == 0 else s.width, s)
        x = layer_norm(g, x, s.width)
        total = g.op("ReduceSum", g.op("Squeeze", mask, g.const([1])), g.const([1]), keepdims=0)
        for i in range(s.tp_blocks):
            with g.inside(f"tp_encoders.{i}"):
                x = block(g, x, mask, unseen, s.width, s)
        x = layer_norm(g, x, s.width)
    # whispered until `teach` writes the columns of the tokens it knows
    weight = g.weight(g.normal(s.width, s.vocabulary, scale=0.3 / math.sqrt(s.width)))
    head(g, x, weight, g.weight(g.normal(s.vocabulary, scale=0.02) - 4.0))
    g.nodes.append(helper.make_node("Cast", [total], ["encoder_out_lens"], name="lens", to=TensorProto.INT32))
    info = helper.make_tensor_value_info
    inputs = [info("speech", TensorProto.FLOAT, ["batch_size", "feats_length", s.features])]
    inputs += [info(n, TensorProto.INT32, ["batch_size"]) for n in ("speech_lengths", "language", "textnorm")]
    outputs = [
        info("ctc_logits", TensorProto.FLOAT, ["batch_size", "logits_length", s.vocabulary]),
        info("encoder_out_lens", TensorProto.INT32, ["batch_size"]),
    ]
    graph = helper.make_graph(g.nodes, "main_graph", inputs, outputs, g.initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=7, producer_name="pytorch")


def quantise(source: Path, target: Path) -> None:
    """The usual int8 file: dynamic, MatMul only, unsigned, per channel, no reduced range."""
    import logging

    from onnxruntime.quantization import QuantType, quantize_dynamic

    logging.getLogger().setLevel(logging.ERROR)  # it advises a preprocessing step that exporters don't do
    quantize_dynamic(
        source,
        target,
        op_types_to_quantize=["MatMul"],
        per_channel=True,
        reduce_range=False,
        weight_type=QuantType.QUInt8,
    )


def tokens(s: Shape) -> list[str]:
    """One piece an id: <unk> is the blank, then the keys; tags sit at their real ids, or last in a small vocabulary."""
    pieces = ["<unk>", "<s>", "</s>", *KEYS] + [f"▁w{i}" for i in range(3 + len(KEYS), s.vocabulary)]
    for place, (number, tag) in enumerate(TAGS.items()):
        pieces[number if number < s.vocabulary else s.vocabulary - len(TAGS) + place] = f"<|{tag}|>"
    return pieces


def teach(model: onnx.ModelProto, s: Shape, seed: int) -> None:
    """Least squares from the encoder's output to what is dialled, written into the columns of those tokens."""
    import onnxruntime as ort

    layer = next(n for n in model.graph.node if n.output[0] == "ctc_logits")
    bias_name, product = layer.input
    encoded, weight_name = next(n for n in model.graph.node if n.output[0] == product).input
    model.graph.output.append(helper.make_tensor_value_info(encoded, TensorProto.FLOAT, None))
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    del model.graph.output[-1]
    pieces = tokens(s)
    spoken = [f"<|{tag}|>" for tag in ("en", "NEUTRAL", "Speech", "withitn", "woitn")]
    taught = [0, *(pieces.index(p) for p in [*KEYS, *spoken])]
    rows, wanted = [], []
    for lesson in range(LESSONS):
        samples, _, labels = clip(3.0 + lesson % 5, seed * 1000 + lesson)
        textnorm = 14 + lesson % 2
        x = features(samples)
        rows.append(session.run([encoded], feeds(x, (0, 3, 4)[lesson % 3], textnorm))[0][0])
        wanted += [17, 18, 19, 20 + textnorm - 14, *labels[: len(x)], *[0] * (len(x) - len(labels))]
    x, y = np.concatenate(rows).astype(np.float64), np.eye(len(taught))[wanted]
    x = np.concatenate([x, np.ones((len(x), 1))], axis=1)
    solved = np.linalg.solve(x.T @ x + RIDGE * len(x) * np.eye(x.shape[1]), x.T @ y) * LOUDNESS
    for name, values in ((weight_name, solved[:-1]), (bias_name, solved[-1])):
        tensor = next(t for t in model.graph.initializer if t.name == name)
        changed = numpy_helper.to_array(tensor).copy()
        changed[..., taught] = values
        tensor.CopyFrom(numpy_helper.from_array(changed, name))


def write_version(directory: Path, s: Shape, *, seed: int = 0, fp32: bool = False) -> Path:
    """A version directory that modelward, funasr-onnx and sherpa-onnx load; returns it.

    `fp32` keeps model.onnx beside model_quant.onnx.
    """
    directory.mkdir(parents=True, exist_ok=True)
    plain = directory / "model.onnx"
    model = build(s, seed)
    teach(model, s, seed)
    flavours.describe(model, s.vocabulary, *normalisation())
    onnx.save(model, plain)
    del model
    quantise(plain, directory / "model_quant.onnx")
    if not fp32:
        plain.unlink()
    mean, scale = (" ".join(f"{value:.3f}" for value in values) for values in normalisation())
    n = s.features
    (directory / "am.mvn").write_text(
        f"<Nnet>\n<Splice> {n} {n}\n[ 0 ]\n<AddShift> {n} {n}\n<LearnRateCoef> 0 [ {mean} ]\n"
        f"<Rescale> {n} {n}\n<LearnRateCoef> 0 [ {scale} ]\n</Nnet>\n"
    )
    flavours.write_tokens(directory, tokens(s))
    (directory / "config.yaml").write_text(
        "model: SenseVoiceSmall\nfrontend: WavFrontend\nfrontend_conf:\n    fs: 16000\n    window: hamming\n"
        "    n_mels: 80\n    frame_length: 25\n    frame_shift: 10\n    lfr_m: 7\n    lfr_n: 6\n    dither: 0.0\n"
    )
    return directory


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("directory", type=Path)
    parser.add_argument("--small", action="store_true", help="few blocks, small vocabulary")
    parser.add_argument("--fp32", action="store_true", help="keep the fp32 model too")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    shape = SMALL if options.small else FULL
    print(write_version(options.directory, shape, seed=options.seed, fp32=options.fp32))


if __name__ == "__main__":
    main()
