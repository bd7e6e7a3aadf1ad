"""An answer is always JSON, whatever a file was called that it quotes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from modelward.daemon.answers.encode import encoded
from modelward.daemon.answers.status import FullestDisk, VersionReason


@pytest.mark.parametrize(
    ("answer", "shape"),
    [
        (VersionReason("模型-v2", "línea\n2"), {"version": "模型-v2", "because": "línea\n2"}),
        (VersionReason("v2", "cannot read a\udcff.onnx"), {"version": "v2", "because": "cannot read a\udcff.onnx"}),
        (FullestDisk(), {}),
        ({"unavailable": "why"}, {"unavailable": "why"}),
        (None, None),
    ],
)
def test_an_answer_is_one_line_of_json_with_the_fields_that_it_has(answer: object, shape: Any) -> None:
    text = encoded(answer)
    assert json.loads(text) == shape
    assert b"\n" not in text
