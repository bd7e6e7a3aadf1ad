"""The mapped form: made without trials, kept where it costs no more, because its memory is shared and it loads fast."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.bench import tones

from modelward.worker.compile import optimise
from modelward.worker.compile.compiled import Compiled
from modelward.worker.ort_session import open_session

MapIt = Callable[..., Compiled]


def same(seconds: float) -> Callable[[Any, int], list[float]]:
    return lambda runs, rounds: [1.0, seconds]


@pytest.mark.parametrize("ratio", [0.98, 1.0, 1.03])
def test_a_form_as_fast_as_the_original_is_kept_for_its_memory(map_it: MapIt, ratio: float) -> None:
    made = map_it(measure=same(ratio))
    assert made.form == "mapped"
    assert set(made.gain.values()) == {ratio}


def test_a_form_that_costs_more_is_not_and_the_reason_has_the_figure(map_it: MapIt, tmp_path: Path) -> None:
    made = map_it(measure=same(1.04))
    assert made.form == "plain"
    assert made.because == "the mapped form is slower: CPU time 1.04 of the original's, at most 1.03 wanted"
    assert list((tmp_path / "out").iterdir()) == []


def test_what_seems_to_cost_more_is_measured_again(map_it: MapIt) -> None:
    told = iter([1.2, 1.2, 1.0, 1.01])
    made = map_it(measure=lambda runs, rounds: [1.0, next(told)])
    assert made.form == "mapped"
    assert list(made.gain.values()) == [1.0, 1.01]


def test_it_keeps_logits_and_their_bits(map_it: MapIt, version: Path, tmp_path: Path) -> None:
    made = map_it()
    mapped = open_session(tmp_path / "out" / made.model_file, threads=1, mapped=True)
    original = open_session(version / "model_quant.onnx", threads=1)
    for seed, seconds in enumerate((0.2, 3.1, 17.0)):
        feeds = tones.feeds(tones.features(tones.clip(seconds, 300 + seed)[0]), language=4)
        assert mapped.run(None, feeds)[0].tobytes() == original.run(None, feeds)[0].tobytes()


def test_more_threads_for_a_lone_run_are_proved(map_it: MapIt) -> None:
    assert map_it(lone_threads=2).lone_threads == 2
    assert map_it(lone_threads=2, one_clip=False).lone_threads == 0


def test_load_and_memory_are_told_apart_from_the_processor(map_it: MapIt) -> None:
    made = map_it()
    assert made.load_seconds > 0
    assert made.load_seconds_original > 0
    assert made.private_bytes < made.private_bytes_original


def test_an_original_with_weights_beside_it_is_mapped_too(map_it: MapIt, version: Path, tmp_path: Path) -> None:
    import onnx

    (tmp_path / "beside" / "data").mkdir(parents=True)
    source = tmp_path / "beside" / "model.onnx"
    onnx.save(onnx.load(version / "model.onnx"), source, save_as_external_data=True, location="data/w")
    made = map_it(source=source)
    assert made.form == "mapped"
    optimise.open_mapped(tmp_path / "out" / made.model_file, 1)


@pytest.mark.parametrize("left", [0, 1, 1000, 100_000])
def test_a_torn_original_is_no_more_than_a_reason(map_it: MapIt, version: Path, tmp_path: Path, left: int) -> None:
    torn = tmp_path / "torn.onnx"
    torn.write_bytes((version / "model_quant.onnx").read_bytes()[:left])
    made = map_it(source=torn)
    assert made.form == "plain"
    assert made.because.startswith("cannot compile: cannot open torn.onnx")
