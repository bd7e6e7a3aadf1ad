from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelward.worker.http.model_names import answers_to, is_version_of, split_name
from modelward.worker.shared.version_name import read_name


@pytest.mark.parametrize(
    ("version", "model", "trailing"),
    [
        ("sensevoice-small-onnx-quant-v1.1", "sensevoice-small-onnx-quant", "v1.1"),
        ("adder-2", "adder", "2"),
        ("dtmf-v1.2-rc.1", "dtmf", "v1.2-rc.1"),
        ("model_2024-07-17", "model", "2024-07-17"),
        ("v3", "", "v3"),
        ("wav2vec2", "wav2vec2", ""),
        ("int8", "int8", ""),
        ("模型-v1", "模型", "v1"),
        ("模型v2.0", "模型", "v2.0"),
        ("adder-v2.1-int8", "adder", "v2.1-int8"),
        ("adder-20240717-153000", "adder", "20240717-153000"),
        ("adder-v2.1-callcenter", "adder-v2.1-callcenter", ""),
    ],
)
def test_a_name_is_a_model_and_its_version(version: str, model: str, trailing: str) -> None:
    assert split_name(version) == (model, trailing)


@given(st.text(st.sampled_from("av1.20-_ rcbet@+é"), max_size=14) | st.text(max_size=10))
def test_sees_a_version_where_the_daemon_sees_one(name: str) -> None:
    model, trailing = split_name(name)
    assert not trailing or read_name(name).numbers
    assert name.startswith(model) and name.endswith(trailing)


def test_a_version_answers_to_its_own_name_and_to_its_models() -> None:
    assert answers_to("adder-v1", "adder-v1") and answers_to("adder", "adder-v1") and answers_to("v1", "v1")
    assert not any(answers_to(other, "adder-v1") for other in ("adder-v2", "add", "", "v1", "adder-"))
    assert not answers_to("", "v1")


def test_a_version_is_asked_for_by_its_name_or_its_number() -> None:
    assert all(is_version_of(asked, "adder-v1.10") for asked in ("adder-v1.10", "v1.10", "1.10", "V1.10"))
    assert not any(is_version_of(asked, "adder-v1.10") for asked in ("1.1", "1", "", "v", "adder"))
    assert is_version_of("wav2vec2", "wav2vec2") and not is_version_of("", "wav2vec2")
