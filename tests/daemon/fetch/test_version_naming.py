"""Names of fetched versions: as people know them, and in the order of their content."""

from __future__ import annotations

import math

import pytest

from modelward.daemon.errors import Refused
from modelward.daemon.fetch.version_naming import version_name, with_date
from modelward.daemon.version_order import is_higher

SEP_2024, SEP_2025 = 1_727_395_200.0, 1_758_931_200.0
NO_DATES = (-1e300, -1.0, 631_151_999.0, 4_102_444_800.0, 253_402_300_800.0, 1e18, 1e300, math.inf, math.nan)
SHERPA = "sherpa-onnx-sense-voice-zh-en-ja-ko-yue-2024-07-17"


@pytest.mark.parametrize(
    ("name", "revision", "wall", "found"),
    [
        ("SenseVoiceSmall-onnx", "", SEP_2024, "SenseVoiceSmall-onnx-20240927"),
        ("SenseVoiceSmall-onnx", "", 0.0, "SenseVoiceSmall-onnx"),
        ("SenseVoiceSmall-onnx", "v2.0", SEP_2024, "SenseVoiceSmall-onnx-v2.0"),
        ("SenseVoiceSmall-onnx", "dev", SEP_2024, "SenseVoiceSmall-onnx-20240927"),
        (SHERPA, "", SEP_2025, SHERPA),
        ("model-v1.1", "", SEP_2025, "model-v1.1"),
        ("SenseVoiceSmall-onnx-v1___1", "", SEP_2025, "SenseVoiceSmall-onnx-v1.1"),
        ("模型", "", SEP_2024, "模型-20240927"),
        *((SHERPA[:11], "", wall, SHERPA[:11]) for wall in NO_DATES),
    ],
)
def test_a_version_is_named_after_its_source(name: str, revision: str, wall: float, found: str) -> None:
    assert version_name(name, revision=revision, wall=wall) == found


def test_later_content_is_the_higher_version() -> None:
    older, newer = (version_name("SenseVoiceSmall-onnx", wall=wall) for wall in (SEP_2024, SEP_2025))
    assert is_higher(newer, older)
    assert is_higher(with_date(SHERPA, SEP_2025), SHERPA)
    assert {with_date(SHERPA, wall) for wall in NO_DATES} == {"NAME"}


@pytest.mark.parametrize("name", ["", "..", ".hidden", "a/b", "-x", "a\nb", "x.tmp", "x" * 300])
def test_a_name_that_no_version_may_have_is_asked_for(name: str) -> None:
    with pytest.raises(Refused, match="--as NAME"):
        version_name(name)
