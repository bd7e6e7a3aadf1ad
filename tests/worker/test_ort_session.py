from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
from tests.worker.sensevoice.vectors import VECTORS

from modelward.worker.ort_session import (
    RunFailed,
    RunTerminated,
    SessionError,
    missing_providers,
    open_session,
    run,
)

MODEL = VECTORS / "model-funasr" / "model.onnx"


def feeds(frames: int = 10, language: int = 0) -> dict[str, np.ndarray]:
    numbers = {"speech_lengths": frames, "language": language, "textnorm": 15}
    scalars = {name: np.array([value], dtype=np.int32) for name, value in numbers.items()}
    return {"speech": np.zeros((1, frames, 560), dtype=np.float32), **scalars}


def test_a_session_uses_the_threads_it_was_given_and_does_not_spin() -> None:
    options = open_session(MODEL, threads=3).get_session_options()
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (3, 1)
    assert options.execution_mode == ort.ExecutionMode.ORT_SEQUENTIAL
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"
    assert options.log_severity_level == 3


def test_a_missing_provider_is_named_and_passed_over() -> None:
    wanted = ("NoSuchExecutionProvider", "CPUExecutionProvider")
    assert missing_providers(wanted) == ("NoSuchExecutionProvider",)
    assert open_session(MODEL, threads=1, providers=wanted).get_providers() == ["CPUExecutionProvider"]


def test_no_provider_at_all_means_the_cpu() -> None:
    assert open_session(MODEL, threads=1, providers=()).get_providers() == ["CPUExecutionProvider"]


@pytest.mark.parametrize("data", [b"", b"garbage" * 100])
def test_a_file_that_is_no_model_is_refused_without_its_directory(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(data)
    with pytest.raises(SessionError, match=r"^cannot open model\.onnx: ") as caught:
        open_session(path, threads=1)
    assert str(tmp_path) not in str(caught.value)
    assert "ONNXRuntimeError" not in str(caught.value)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SessionError, match=r"cannot open model\.onnx: no such file"):
        open_session(tmp_path / "model.onnx", threads=1)


def test_a_run_answers_the_named_outputs() -> None:
    logits, lengths = run(open_session(MODEL, threads=1), ["ctc_logits", "encoder_out_lens"], feeds())
    assert logits.shape == (1, 14, 400)
    assert lengths.tolist() == [14]


def test_a_run_that_fails_says_why() -> None:
    session = open_session(MODEL, threads=1)
    with pytest.raises(RunFailed, match="cannot run the model: .*idx=99"):
        run(session, ["ctc_logits"], feeds(language=99))
    with pytest.raises(RunFailed, match="cannot run the model: "):
        run(session, ["ctc_logits"], {})
    assert run(session, ["ctc_logits"], feeds())


def test_a_run_can_be_told_to_end() -> None:
    options = ort.RunOptions()
    options.terminate = True
    with pytest.raises(RunTerminated, match="asked to end"):
        run(open_session(MODEL, threads=1), ["ctc_logits"], feeds(), options)
