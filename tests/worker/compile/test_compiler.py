"""A compiled form answers as the original does, or is not used; what fails leaves a plainer one and the reason."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import numpy_helper
from tests.bench import tones
from tests.worker.compile.graphs import HERE, VNNI

from modelward.worker.compile import optimise
from modelward.worker.compile.compiled import Compiled
from modelward.worker.compile.graph import GraphView
from modelward.worker.compile.requantise import multiplies_exactly
from modelward.worker.compile.steps import STEPS, RewriteStep
from modelward.worker.ort_session import open_session

SIGNED = ["signed weights"] if multiplies_exactly(HERE) else []
"""The step that is taken where the CPU multiplies signed bytes exactly, and passed over elsewhere."""

Compile = Callable[..., Compiled]


def ids(session: ort.InferenceSession, feeds: dict[str, Any]) -> list[int]:
    known = {i.name for i in session.get_inputs()}
    first = session.run(None, {k: v for k, v in feeds.items() if k in known})[0]
    return list((first.argmax(-1) if first.ndim == 3 else first)[0].tolist())


def kept(compiled: Compiled) -> list[str]:
    return [s.name for s in compiled.steps if s.kept]


def because(compiled: Compiled, step: str) -> str:
    return next(s.because for s in compiled.steps if s.name == step)


def test_exact_form_answers_unheard_clips_frame_for_frame(compile_it: Compile, version: Path, tmp_path: Path) -> None:
    compiled = compile_it()
    assert compiled.form == "exact"
    assert kept(compiled) == [
        *SIGNED,
        "padding mask dropped",
        "attention in place",
        "best ids in the graph",
    ]
    mapped = optimise.open_mapped(tmp_path / "out" / compiled.model_file, 1)
    original = optimise.open_model(version / "model_quant.onnx", 1)
    for seed, seconds in enumerate((0.3, 1.7, 6.0, 21.0)):
        feeds = tones.feeds(tones.features(tones.clip(seconds, 900 + seed)[0]), language=3, textnorm=14)
        assert ids(mapped, feeds) == ids(original, feeds)


def test_more_threads_for_a_lone_run_are_proved_bit_for_bit(compile_it: Compile, tmp_path: Path) -> None:
    compiled = compile_it(lone_threads=3)
    assert (compiled.form, compiled.lone_threads) == ("exact", 3)
    assert kept(compiled)[-1] == "3 threads for a lone run"
    path = tmp_path / "out" / compiled.model_file
    usual, lone = (open_session(path, threads=n, mapped=True, lone=n > 1) for n in (1, 3))
    for seed, seconds in enumerate((0.1, 2.3, 28.0)):
        feeds = tones.feeds(tones.features(tones.clip(seconds, 700 + seed)[0]), language=3, textnorm=14)
        assert ids(lone, feeds) == ids(usual, feeds)


@pytest.mark.parametrize("more", [{"lone_threads": 1}, {"lone_threads": 4, "threads": 4}, {"one_clip": False}])
def test_no_more_threads_than_any_run_has_or_another_kind_of_model_need_no_proof(
    compile_it: Compile, more: dict[str, Any]
) -> None:
    compiled = compile_it(**{"lone_threads": 4, **more})
    assert compiled.lone_threads == 0
    assert not [s for s in compiled.steps if "lone" in s.name]


def test_fast_form_reads_the_clips_as_the_original_does(
    compile_it: Compile, version: Path, clips: list[dict[str, Any]], tmp_path: Path
) -> None:
    compiled = compile_it(level="fast")
    assert compiled.form == "fast"
    assert "memory convolution in blocks" in kept(compiled)
    mapped = optimise.open_mapped(tmp_path / "out" / compiled.model_file, 1)
    original = optimise.open_model(version / "model_quant.onnx", 1)
    assert [ids(mapped, c) for c in clips] == [ids(original, c) for c in clips]


def test_only_the_files_named_are_left_and_they_are_as_described(compile_it: Compile, tmp_path: Path) -> None:
    compiled = compile_it()
    there = {p.name: p for p in (tmp_path / "out").iterdir()}
    assert set(there) == set(compiled.files) == {"model.onnx", "model.weights"}
    for name, path in there.items():
        data = path.read_bytes()
        assert compiled.files[name].bytes == len(data)
        assert compiled.files[name].sha256 == hashlib.sha256(data).hexdigest()


def test_metadata_and_the_names_of_inputs_survive(compile_it: Compile, version: Path, tmp_path: Path) -> None:
    model = onnx.load(version / "model_quant.onnx")
    model.metadata_props.add(key="vocab_size", value="120")
    del model.graph.output[1:]  # the sherpa flavour has no lengths among its outputs
    source = tmp_path / "sherpa.onnx"
    onnx.save(model, source)
    compiled = compile_it(source=source)
    mapped = optimise.open_mapped(tmp_path / "out" / compiled.model_file, 1)
    assert mapped.get_modelmeta().custom_metadata_map["vocab_size"] == "120"
    assert [i.name for i in mapped.get_inputs()] == ["speech", "speech_lengths", "language", "textnorm"]
    assert [(o.name, o.type, len(o.shape)) for o in mapped.get_outputs()] == [("ids", "tensor(int64)", 2)]


def test_fp32_models_are_compiled_too(compile_it: Compile, version: Path) -> None:
    compiled = compile_it(source=version / "model.onnx", flags=VNNI)
    assert compiled.form == "exact"
    assert because(compiled, "signed weights") == "found nothing to change"
    assert "padding mask dropped" in kept(compiled)


def test_without_vnni_weights_stay_as_they_are(compile_it: Compile, tmp_path: Path) -> None:
    compiled = compile_it(flags=("avx2",))
    assert "VNNI" in because(compiled, "signed weights")
    model = onnx.load(tmp_path / "out" / "model.onnx", load_external_data=False)
    assert onnx.TensorProto.UINT8 in {t.data_type for t in model.graph.initializer}
    assert compiled.form == "exact"


def test_a_model_run_in_batches_keeps_its_logits(compile_it: Compile, tmp_path: Path) -> None:
    compiled = compile_it(one_clip=False)
    assert kept(compiled) == SIGNED
    mapped = optimise.open_mapped(tmp_path / "out" / compiled.model_file, 1)
    assert mapped.get_outputs()[0].name == "ctc_logits"


def test_a_graph_with_branches_is_only_mapped(compile_it: Compile, version: Path, tmp_path: Path) -> None:
    model = onnx.load(version / "model_quant.onnx")
    logits = next(n for n in model.graph.node if n.output[0] == "ctc_logits")
    logits.output[0] = "inner"
    arm = [
        onnx.helper.make_graph(
            [onnx.helper.make_node("Identity", ["inner"], [f"out{i}"])],
            f"arm{i}",
            [],
            [onnx.helper.make_tensor_value_info(f"out{i}", onnx.TensorProto.FLOAT, None)],
        )
        for i in range(2)
    ]
    asked = onnx.helper.make_node("Cast", ["textnorm"], ["asked"], to=onnx.TensorProto.BOOL)
    branch = onnx.helper.make_node("If", ["asked"], ["ctc_logits"], then_branch=arm[0], else_branch=arm[1])
    model.graph.node.extend([asked, branch])
    onnx.save(model, tmp_path / "branched.onnx")
    compiled = compile_it(source=tmp_path / "branched.onnx", flags=VNNI)
    assert compiled.form == "mapped"
    assert kept(compiled) == []
    assert "branches" in because(compiled, "signed weights")


def wrong(view: GraphView) -> int:
    """Moves one weight by one step: a mistake that few frames would show."""
    node = next(n for n in view.graph.node if n.op_type == "MatMulInteger")
    tensor = view.initializers[node.input[1]]
    value = view.value(tensor).copy()
    value[0, 0] ^= 1
    tensor.CopyFrom(numpy_helper.from_array(value, tensor.name))
    return 1


def deaf(view: GraphView) -> int:
    """Takes the first convolution's memory away: another reading."""
    for conv in view.nodes("Conv"):
        tensor = view.initializers[conv.input[1]]
        tensor.CopyFrom(numpy_helper.from_array(np.zeros_like(view.value(tensor)), tensor.name))
    return 1


def nonsense(view: GraphView) -> int:
    next(iter(view.nodes("MatMulInteger"))).input[0] = "nowhere"
    return 1


@pytest.mark.parametrize(
    ("change", "level", "reason"),
    [
        (wrong, "exact", "logits differ on clip "),
        (deaf, "fast", "another text, tag or token time on clip "),
        (nonsense, "exact", "cannot open trial.onnx"),
    ],
)
def test_a_wrong_rewrite_is_caught_and_left_out(compile_it: Compile, change: Any, level: Any, reason: str) -> None:
    bad = RewriteStep("bad", "bad", level, change)
    compiled = compile_it(level=level, rewrites=(STEPS[0], bad, STEPS[2]))
    assert kept(compiled) == [*SIGNED, "padding mask dropped"]
    assert because(compiled, "bad").startswith(reason)
    assert compiled.form == "exact"


def test_a_step_that_is_slower_is_left_out_with_the_figures(compile_it: Compile, tmp_path: Path) -> None:
    seen: list[int] = []
    before = 2 * len(SIGNED)

    def clock(runs: Any, rounds: int) -> list[float]:
        """The padding mask's step (measured after the signed weights, three times at two lengths) costs a fifth."""
        seen.append(1)
        return [1.0, 1.2] if before < len(seen) <= before + 6 else [1.0, 0.5]

    compiled = compile_it(measure=clock)
    assert "padding mask dropped" not in kept(compiled)
    assert because(compiled, "padding mask dropped") == "CPU time 1.20 and 1.20 of before; at most 0.99 wanted"
    assert compiled.form == "exact"


def test_a_form_slower_than_the_original_is_not_used(compile_it: Compile, tmp_path: Path) -> None:
    compiled = compile_it(rewrites=(), measure=lambda runs, rounds: [1.0, 1.04])
    assert compiled.form == "plain"
    assert "slower" in compiled.because
    assert list((tmp_path / "out").iterdir()) == []


def test_of_two_ways_the_cheaper_is_kept(compile_it: Compile) -> None:
    compiled = compile_it(level="fast")
    assert ("attention fused" in kept(compiled)) != ("attention in place" in kept(compiled))


def test_a_model_that_cannot_be_opened_leaves_the_original_in_use(compile_it: Compile, tmp_path: Path) -> None:
    torn = tmp_path / "torn.onnx"
    torn.write_bytes(b"\x08\x07nothing")
    compiled = compile_it(source=torn)
    assert compiled.form == "plain"
    assert compiled.because.startswith("cannot compile: cannot open torn.onnx")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_disk_that_cannot_be_written_leaves_the_original_in_use(compile_it: Compile, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "model.weights").mkdir()
    compiled = compile_it(out_dir=out)
    assert compiled.form == "plain"
    assert compiled.because.startswith("cannot compile: ")


def test_another_provider_is_not_compiled_for(compile_it: Compile) -> None:
    assert "CUDAExecutionProvider" in compile_it(providers=("CUDAExecutionProvider", "CPUExecutionProvider")).because


def test_nothing_is_compiled_without_clips(compile_it: Compile) -> None:
    with pytest.raises(ValueError, match="without probe clips"):
        compile_it(probe_inputs=[])
