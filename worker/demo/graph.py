"""The recogniser as an ONNX graph with the signature of SenseVoice-small's FunASR export (opset 14, IR 8).

Like the original it puts four prompt rows before the frames, masks what is after each clip's end, and ends in one
projection to the vocabulary. The projection reads a state of 50 numbers. The first are blank's and each key's
log-probability. Then comes which prompt row this is, once for a clip with keys and once for a clip without. The last
number says whether a full stop belongs here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from ..sensevoice import frontend
from . import vocabulary
from .lessons import BLANK, LABELS
from .network import Network

OPSET: Final = 14
IR_VERSION: Final = 8
PROMPTS: Final = 4
_WITH_ITN: Final = 14
_PROMPT_ROWS: Final = 16
_STATE: Final = LABELS + 2 * _PROMPT_ROWS + 1
_LANGUAGES: Final = {3: "zh", 4: "en", 7: "yue", 11: "ja", 12: "ko", 13: "nospeech"}
_SURE: Final = 10.0  # tags are this far above the keys in prompt rows, below them in frames (the best is above -ln 17)
_FAR: Final = -1.0e4


class _Builder:
    """Collects nodes and constants; `add` returns the name of the node's output."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def add(self, op: str, inputs: Sequence[str], output: str, **attributes: object) -> str:
        self.nodes.append(helper.make_node(op, list(inputs), [output], name=output, **attributes))
        return output

    def constant(self, name: str, value: npt.ArrayLike, dtype: npt.DTypeLike = np.float32) -> str:
        self.constants.append(numpy_helper.from_array(np.asarray(value, dtype=dtype), name))
        return name

    def ints(self, name: str, *values: int) -> str:
        return self.constant(name, values, np.int64)

    def layer(self, x: str, name: str, weight: npt.ArrayLike, bias: npt.ArrayLike) -> str:
        product = self.add("MatMul", [x, self.constant(f"{name}.weight", weight)], f"{name}.product")
        return self.add("Add", [product, self.constant(f"{name}.bias", bias)], name)


def build(network: Network) -> onnx.ModelProto:
    """The checked model: speech f32 [B,T,560], three int32 [B] → ctc_logits f32 [B,T+4,V], encoder_out_lens i32 [B]."""
    b = _Builder()
    inside = _mask(b)
    keys = _keys(b, network, inside)
    spoken = _spoken(b, keys, inside)
    frames = b.add("Concat", [keys, *_frame_rest(b, keys, spoken)], "frame_states", axis=2)
    states = b.add("Concat", [_prompts(b, spoken), frames], "states", axis=1)
    weight, bias = _projection()
    b.layer(states, "ctc_logits", weight, bias)
    b.add("Add", ["speech_lengths", b.constant("prompt_count", [PROMPTS], np.int32)], "encoder_out_lens")
    inputs = [helper.make_tensor_value_info("speech", TensorProto.FLOAT, ["batch_size", "feats_length", 560])]
    inputs += [
        helper.make_tensor_value_info(name, TensorProto.INT32, ["batch_size"])
        for name in ("speech_lengths", "language", "textnorm")
    ]
    outputs = [
        helper.make_tensor_value_info(
            "ctc_logits", TensorProto.FLOAT, ["batch_size", "logits_length", vocabulary.SIZE]
        ),
        helper.make_tensor_value_info("encoder_out_lens", TensorProto.INT32, ["batch_size"]),
    ]
    model = helper.make_model(
        helper.make_graph(b.nodes, "dtmf", inputs, outputs, b.constants),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="modelward.demo",
    )
    onnx.checker.check_model(model, full_check=True)
    return model


def _mask(b: _Builder) -> str:
    """[B,T,1], 1 for the frames of each clip and 0 for its padding."""
    shape = b.add("Shape", ["speech"], "speech_shape")
    count = b.add("Gather", [shape, b.constant("axis_of_time", 1, np.int64)], "frame_total")
    number = b.add("Range", [b.constant("zero", 0, np.int64), count, b.constant("one", 1, np.int64)], "frame_number")
    length = b.add("Cast", ["speech_lengths"], "length", to=TensorProto.INT64)
    column = b.add("Unsqueeze", [length, b.ints("axis1", 1)], "length_column")
    inside = b.add("Less", [number, column], "is_inside")
    as_float = b.add("Cast", [inside], "inside_flat", to=TensorProto.FLOAT)
    return b.add("Unsqueeze", [as_float, b.ints("axis2", 2)], "inside")


def _keys(b: _Builder, network: Network, inside: str) -> str:
    """[B,T,LABELS]: the logarithm of the probability that each key begins in a frame."""
    slices = b.add("Reshape", ["speech", b.ints("slice_shape", 0, 0, frontend.STACK_FRAMES, -1)], "slices")
    mean = b.add("ReduceMean", [slices], "slice_level", axes=[3], keepdims=1)
    free = b.add("Sub", [slices, mean], "level_free")
    ear = b.add("Relu", [b.layer(free, "ear.hidden", network.ear.w1, network.ear.b1)], "ear.active")
    heard = b.add("Softmax", [b.layer(ear, "ear.logits", network.ear.w2, network.ear.b2)], "ear.keys", axis=3)
    flat = b.add("Reshape", [heard, b.ints("stacked_shape", 0, 0, -1)], "heard_all")
    valid = b.add("Mul", [flat, inside], "heard")
    padded = b.add("Pad", [valid, b.ints("one_frame", 0, 1, 0, 0, 1, 0)], "heard_padded")
    neighbours = [
        b.add(
            "Slice",
            [padded, b.ints(f"{name}.from", first), b.ints(f"{name}.to", last), "axis1"],
            name,
        )
        for name, first, last in (("before", 0, -2), ("here", 1, -1), ("after", 2, np.iinfo(np.int64).max))
    ]
    context = b.add("Concat", neighbours, "context", axis=2)
    memory = b.add("Relu", [b.layer(context, "memory.hidden", network.memory.w1, network.memory.b1)], "memory.active")
    logits = b.layer(memory, "memory.logits", network.memory.w2, network.memory.b2)
    return b.add("LogSoftmax", [logits], "keys", axis=2)


def _spoken(b: _Builder, keys: str, inside: str) -> str:
    """[B,1,1]: 1 when any frame of the clip holds a key, else 0."""
    blank = b.add("Slice", [keys, b.ints("blank.from", BLANK), b.ints("blank.to", BLANK + 1), "axis2"], "blank")
    others = b.add("Slice", [keys, "blank.to", b.ints("keys.to", LABELS), "axis2"], "keys_only")
    best = b.add("ReduceMax", [others], "best_key", axes=[2], keepdims=1)
    margin = b.add("Sub", [best, blank], "margin")
    outside = b.add("Sub", [inside, b.constant("unit", 1.0)], "outside")
    lowered = b.add("Sub", [margin, b.add("Mul", [outside, b.constant("far", _FAR)], "lowering")], "margin_inside")
    top = b.add("ReduceMax", [lowered], "top_margin", axes=[1, 2], keepdims=1)
    return b.add("Cast", [b.add("Greater", [top, b.constant("none", 0.0)], "any_key")], "spoken", to=TensorProto.FLOAT)


def _frame_rest(b: _Builder, keys: str, spoken: str) -> list[str]:
    """The part of a frame's state after the keys: no prompt row [B,T,32], and the full stop's switch [B,T,1]."""
    narrow = b.add("Slice", [keys, b.ints("one.from", 0), b.ints("one.to", 1), "axis2"], "one_wide")
    zero = b.add("Mul", [narrow, b.constant("nothing", np.zeros((1, 1, 2 * _PROMPT_ROWS)))], "no_prompt")
    last = b.add("Sub", ["length_column", "one"], "last_frame")
    is_last = b.add("Equal", ["frame_number", last], "is_last")
    last_column = b.add("Unsqueeze", [b.add("Cast", [is_last], "last_flat", to=TensorProto.FLOAT), "axis2"], "last")
    with_itn = b.add("Equal", ["textnorm", b.constant("itn_id", [_WITH_ITN], np.int32)], "is_itn")
    itn = b.add("Cast", [with_itn], "itn_flat", to=TensorProto.FLOAT)
    itn_column = b.add("Unsqueeze", [itn, b.ints("axes12", 1, 2)], "itn")
    stop = b.add("Mul", [b.add("Mul", [last_column, itn_column], "itn_end"), spoken], "full_stop")
    return [zero, stop]


def _prompts(b: _Builder, spoken: str) -> str:
    """[B,4,state]: the rows language, 1, 2, textnorm of the prompt table, as the original orders them."""
    language = b.add("Unsqueeze", ["language", "axis1"], "language_column")
    textnorm = b.add("Unsqueeze", ["textnorm", "axis1"], "textnorm_column")
    blank_ids = b.add("Mul", [language, b.constant("no_id", [[0]], np.int32)], "id_base")
    fixed = b.add("Add", [blank_ids, b.constant("fixed_ids", [[1, 2]], np.int32)], "fixed_rows")
    ids = b.add("Concat", [language, fixed, textnorm], "prompt_ids", axis=1)
    heard = np.zeros((_PROMPT_ROWS, _STATE))
    quiet = np.zeros((_PROMPT_ROWS, _STATE))
    for row in range(_PROMPT_ROWS):
        heard[row, LABELS + row] = 1.0
        quiet[row, LABELS + _PROMPT_ROWS + row] = 1.0
    with_keys = b.add("Gather", [b.constant("prompt.heard", heard), ids], "rows_heard")
    without = b.add("Gather", [b.constant("prompt.quiet", quiet), ids], "rows_quiet")
    silent = b.add("Sub", ["unit", spoken], "silent")
    chosen = [b.add("Mul", [with_keys, spoken], "rows_if_heard"), b.add("Mul", [without, silent], "rows_if_quiet")]
    return b.add("Add", chosen, "prompts")


def _projection() -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """State → vocabulary: keys to their tokens, prompt rows to their tags, everything else far below."""
    weight = np.zeros((_STATE, vocabulary.SIZE), dtype=np.float32)
    bias = np.full(vocabulary.SIZE, -_SURE, dtype=np.float32)
    weight[BLANK, 0] = 1.0
    bias[0] = 0.0
    for key in range(1, LABELS):
        weight[key, vocabulary.FIRST_KEY + key - 1] = 1.0
        bias[vocabulary.FIRST_KEY + key - 1] = 0.0
    # the full stop beats the blank of the last frame by one, and no key that is certain
    weight[BLANK, vocabulary.STOP_ID] = 1.0
    weight[_STATE - 1, vocabulary.STOP_ID] = _SURE + 1.0
    for row in range(_PROMPT_ROWS):
        for offset, tag in ((LABELS, _tag(row, heard=True)), (LABELS + _PROMPT_ROWS, _tag(row, heard=False))):
            weight[offset + row, vocabulary.tag_id(tag)] = 2.0 * _SURE
    return weight, bias


def _tag(row: int, *, heard: bool) -> str:
    """The tag that the original learnt for each prompt row."""
    if row == 1:
        return "NEUTRAL" if heard else "EMO_UNKNOWN"
    if row == 2:
        return "Speech" if heard else "Event_UNK"
    if row in (_WITH_ITN, _WITH_ITN + 1):
        return "withitn" if row == _WITH_ITN else "woitn"
    return _LANGUAGES.get(row, "en" if heard else "nospeech")
