from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from tests.worker.sensevoice.vectors import MODELS, clip

from modelward.worker.sensevoice.files import find
from modelward.worker.sensevoice.pipeline import BadSenseVoiceFiles, Recognizer

FUNASR, SHERPA = MODELS


def copied(source: Path, directory: Path) -> Path:
    target = directory / source.name
    shutil.copytree(source, target)
    return target


def rewritten(directory: Path, change: Callable[[onnx.ModelProto], None], name: str = "model.onnx") -> None:
    model = onnx.load(directory / name)
    change(model)
    onnx.save(model, directory / name)


def set_metadata(directory: Path, **values: str | None) -> None:
    def change(model: onnx.ModelProto) -> None:
        known = {entry.key: entry.value for entry in model.metadata_props}
        known.update({key: value for key, value in values.items() if value is not None})
        kept = {key: value for key, value in known.items() if values.get(key, "") is not None}
        del model.metadata_props[:]
        helper.set_model_props(model, kept)

    rewritten(directory, change)


def rename_input(directory: Path, old: str, new: str) -> None:
    def change(model: onnx.ModelProto) -> None:
        for entry in model.graph.input:
            if entry.name == old:
                entry.name = new
        for node in model.graph.node:
            for position, name in enumerate(node.input):
                if name == old:
                    node.input[position] = new

    rewritten(directory, change)


def small_graph(path: Path, inputs: list[tuple[str, int, list[int | str]]], comment: str = "") -> None:
    """A graph with these inputs that answers a constant."""
    values = [helper.make_tensor_value_info(*entry) for entry in inputs]
    answer = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 1, 1])
    constant = helper.make_tensor("c", TensorProto.FLOAT, [1, 1, 1], [0.0])
    node = helper.make_node("Identity", ["c"], ["y"])
    model = helper.make_model(
        helper.make_graph([node], "g", values, [answer], [constant]), opset_imports=[helper.make_opsetid("", 14)]
    )
    model.ir_version = 8
    helper.set_model_props(model, {"comment": comment})
    onnx.save(model, path)


def refusal(directory: Path, model: str = "") -> str:
    with pytest.raises(BadSenseVoiceFiles) as caught:
        Recognizer.load(directory, model=model)
    assert str(caught.value).startswith("cannot ")
    assert str(directory) not in str(caught.value)
    return str(caught.value)


def test_the_flavour_is_told_by_the_graph() -> None:
    for directory, flavour, length in ((FUNASR, "funasr", "encoder_out_lens"), (SHERPA, "sherpa", "")):
        known = Recognizer.load(directory).description
        assert known.flavour == flavour
        assert known.length_output == length
        assert known.vocabulary_size == known.logits_width == 400
        assert known.languages == {"auto": 0, "zh": 3, "en": 4, "yue": 7, "ja": 11, "ko": 12, "nospeech": 13}
        assert (known.with_itn, known.without_itn, known.blank) == (14, 15, 0)
        assert known.shift.shape == known.scale.shape == (560,)


def test_both_flavours_are_normalised_alike() -> None:
    one, other = (Recognizer.load(directory).description for directory in MODELS)
    assert np.array_equal(one.shift, other.shift)
    assert np.array_equal(one.scale, other.scale)


@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        (["model.onnx", "model_quant.onnx"], "model_quant.onnx"),
        (["model.onnx", "model.int8.onnx"], "model.int8.onnx"),
        (["model.onnx", "model_q8.onnx"], "model.onnx"),
        (["anything.onnx"], "anything.onnx"),
        (["big.onnx", "big_q8.onnx"], "big_q8.onnx"),
    ],
)
def test_the_quantised_model_is_preferred(tmp_path: Path, names: list[str], chosen: str) -> None:
    for name in [*names, "tokens.json"]:
        (tmp_path / name).touch()
    assert find(tmp_path).model.name == chosen
    assert find(tmp_path, model=names[0]).model.name == names[0]


def test_several_models_without_a_usual_name_are_refused(tmp_path: Path) -> None:
    for name in ("a.onnx", "b.onnx", "tokens.json"):
        (tmp_path / name).touch()
    assert "a.onnx, b.onnx are there" in refusal(tmp_path)


def test_a_model_for_pytorch_alone_is_named_with_what_is_needed(tmp_path: Path) -> None:
    for name in ("model.pt", "tokens.json"):
        (tmp_path / name).touch()
    assert "no .onnx file is there; model.pt is for PyTorch: export it" in refusal(tmp_path)


@pytest.mark.parametrize("name", ["other.onnx", "../model-funasr/model.onnx", "/etc/passwd", ".."])
def test_a_model_named_outside_the_version_is_refused(name: str) -> None:
    assert "no such file in the version" in refusal(FUNASR, model=name)


@pytest.mark.parametrize("missing", ["model.onnx", "tokens.json", "am.mvn"])
def test_a_missing_file_is_named(tmp_path: Path, missing: str) -> None:
    directory = copied(FUNASR, tmp_path)
    (directory / missing).unlink()
    text = refusal(directory)
    assert missing in text or missing == "model.onnx" and "no .onnx file" in text


@pytest.mark.parametrize(
    "damage", [lambda data: b"", lambda data: b"garbage" * 10, lambda data: data[: len(data) // 2]]
)
def test_a_torn_model_is_refused(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    directory = copied(FUNASR, tmp_path)
    path = directory / "model.onnx"
    path.write_bytes(damage(path.read_bytes()))
    assert refusal(directory).startswith("cannot open model.onnx: ")


def test_weights_beside_the_model_are_found(tmp_path: Path) -> None:
    directory = copied(FUNASR, tmp_path)
    model = onnx.load(directory / "model.onnx")
    onnx.save(model, directory / "model.onnx", save_as_external_data=True, location="model.onnx.data")
    assert Recognizer.load(directory).recognize(clip("tone440_0.5.wav")).text == "re"
    (directory / "model.onnx.data").unlink()
    assert "model.onnx" in refusal(directory)


def test_a_renamed_input_is_refused_with_what_was_expected(tmp_path: Path) -> None:
    directory = copied(FUNASR, tmp_path)
    rename_input(directory, "speech", "foo")
    assert refusal(directory) == (
        "cannot use model.onnx: input 0 is 'foo'; expected speech or x, the inputs of a SenseVoice export"
    )
    other = copied(SHERPA, tmp_path)
    rename_input(other, "text_norm", "norm")
    assert "expected x, x_length, language, text_norm" in refusal(other)


@pytest.mark.parametrize(
    ("inputs", "comment", "because"),
    [
        ([("x", TensorProto.FLOAT, [1, "T", 560])], "Fun-ASR-Nano CTC", "it is a Fun-ASR-Nano model"),
        ([("s", TensorProto.FLOAT, [1, "T", 560]), ("l", TensorProto.INT64, [1])], "", "encoder-only export"),
        ([("input", TensorProto.FLOAT, [1, 3, 224, 224])], "", "input 0 is 'input'"),
        ([], "", "it has no inputs"),
        ([("speech", TensorProto.FLOAT, [1, "T", 400]), ("speech_lengths", TensorProto.INT32, [1]),
          ("language", TensorProto.INT32, [1]), ("textnorm", TensorProto.INT32, [1])], "", "takes 400 features"),
        ([("speech", TensorProto.FLOAT, [1, "T", 560]), ("speech_lengths", TensorProto.INT64, [1]),
          ("language", TensorProto.INT32, [1]), ("textnorm", TensorProto.INT32, [1])], "", "expected tensor(int32)"),
    ],
)  # fmt: skip
def test_other_models_are_refused_by_their_signature(
    tmp_path: Path, inputs: list[tuple[str, int, list[int | str]]], comment: str, because: str
) -> None:
    directory = copied(FUNASR, tmp_path)
    small_graph(directory / "model.onnx", inputs, comment)
    assert because in refusal(directory)


def test_a_token_table_of_another_length_is_refused(tmp_path: Path) -> None:
    directory = copied(FUNASR, tmp_path)
    pieces = json.loads((directory / "tokens.json").read_text())
    (directory / "tokens.json").write_text(json.dumps(pieces[:-1]))
    assert refusal(directory) == (
        "cannot use tokens.json: it has 399 tokens, but model.onnx answers logits of width 400"
    )


def test_a_vocabulary_stated_differently_in_the_metadata_is_refused(tmp_path: Path) -> None:
    directory = copied(SHERPA, tmp_path)
    set_metadata(directory, vocab_size="25055")
    assert "metadata states a vocabulary of 25055" in refusal(directory)


def test_a_width_left_open_by_the_graph_is_checked_when_the_model_is_warmed(tmp_path: Path) -> None:
    directory = copied(FUNASR, tmp_path)

    def leave_open(model: onnx.ModelProto) -> None:
        model.graph.initializer.append(helper.make_tensor("all", TensorProto.BOOL, [400], [True] * 400))
        model.graph.node.append(helper.make_node("Compress", ["ctc_logits", "all"], ["picked"], axis=2))
        model.graph.output[0].CopyFrom(helper.make_tensor_value_info("picked", TensorProto.FLOAT, ["B", "T", "V"]))

    rewritten(directory, leave_open)
    pieces = json.loads((directory / "tokens.json").read_text())
    (directory / "tokens.json").write_text(json.dumps([*pieces, "extra"]))
    loaded = Recognizer.load(directory)
    assert loaded.description.logits_width is None
    with pytest.raises(BadSenseVoiceFiles, match="400 logits for 401 tokens"):
        loaded.warm()


@pytest.mark.parametrize(
    ("text", "because"),
    [
        ("", "no numbers in brackets after <AddShift>"),
        (
            "<AddShift> 2 2 <LearnRateCoef> 0 [ 1 2 ] <Rescale> 2 2 <LearnRateCoef> 0 [ 1 2 ]",
            "has 2 numbers, expected 560",
        ),
        ("<AddShift> <LearnRateCoef> 0 [ " + "x " * 560 + "] <Rescale> [ " + "1 " * 560 + "]", "could not convert"),
        ("<AddShift> <LearnRateCoef> 0 [ " + "1 " * 560 + "] <Rescale> [ " + "nan " * 560 + "]", "not finite"),
        ("<AddShift> <LearnRateCoef> 0 [ " + "1 " * 560, "no numbers in brackets"),
    ],
)
def test_a_normalisation_that_can_not_be_used_is_refused(tmp_path: Path, text: str, because: str) -> None:
    directory = copied(FUNASR, tmp_path)
    (directory / "am.mvn").write_text(text)
    found = refusal(directory)
    assert "am.mvn" in found
    assert because in found


def test_the_normalisation_may_lie_beside_a_sherpa_model(tmp_path: Path) -> None:
    directory = copied(SHERPA, tmp_path)
    set_metadata(directory, neg_mean=None)
    assert "no am.mvn, and model.onnx has no neg_mean" in refusal(directory)
    shutil.copy(FUNASR / "am.mvn", directory)
    assert Recognizer.load(directory).recognize(clip("tone440_0.5.wav")).text == "re"


@pytest.mark.parametrize(
    ("key", "value", "because"),
    [
        ("lfr_window_size", "5", "only 7 is supported"),
        ("normalize_samples", "1", "only 0 is supported"),
        ("with_itn", "many", "metadata with_itn is 'many', expected a whole number"),
        ("inv_stddev", "1,2,3", "metadata inv_stddev has 3 numbers, expected 560"),
    ],
)
def test_metadata_that_asks_for_another_front_end_is_refused(
    tmp_path: Path, key: str, value: str, because: str
) -> None:
    directory = copied(SHERPA, tmp_path)
    set_metadata(directory, **{key: value})
    assert because in refusal(directory)


def test_a_prompt_id_outside_the_table_is_found_when_the_model_is_warmed(tmp_path: Path) -> None:
    directory = copied(SHERPA, tmp_path)
    set_metadata(directory, lang_auto="99")
    with pytest.raises(BadSenseVoiceFiles, match=r"cannot use model\.onnx: cannot run the model: .*out of data bounds"):
        Recognizer.load(directory).warm()


def test_weights_that_are_no_numbers_are_found_when_the_model_is_warmed(tmp_path: Path) -> None:
    directory = copied(FUNASR, tmp_path)

    def spoil(model: onnx.ModelProto) -> None:
        largest = max(model.graph.initializer, key=lambda tensor: len(tensor.raw_data))
        values = onnx.numpy_helper.to_array(largest).copy()
        values[...] = np.nan
        largest.CopyFrom(onnx.numpy_helper.from_array(values, largest.name))

    rewritten(directory, spoil)
    with pytest.raises(BadSenseVoiceFiles, match="it is not finite"):
        Recognizer.load(directory).warm()


@pytest.mark.parametrize("source", MODELS, ids=lambda path: path.name)
def test_a_graph_that_answers_ids_gives_the_same_text(tmp_path: Path, source: Path) -> None:
    directory = copied(source, tmp_path)

    def take_best(model: onnx.ModelProto) -> None:
        logits = model.graph.output[0]
        model.graph.node.append(helper.make_node("ArgMax", [logits.name], ["ids"], axis=2, keepdims=0))
        ids = helper.make_tensor_value_info("ids", TensorProto.INT64, ["B", "T"])
        rest = list(model.graph.output)[1:]
        del model.graph.output[:]
        model.graph.output.extend([ids, *rest])

    rewritten(directory, take_best)
    changed, original = Recognizer.load(directory), Recognizer.load(source)
    assert changed.description.answers_ids
    assert changed.description.logits_width is None
    for name in ("en.wav", "melody.wav"):
        assert changed.recognize(clip(name)) == original.recognize(clip(name))
