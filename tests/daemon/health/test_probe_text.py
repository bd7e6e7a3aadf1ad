"""What counts as the same text."""

from __future__ import annotations

import pytest

from modelward.daemon.health.probe_text import MAX_CHARS, error_rate


@pytest.mark.parametrize(
    ("heard", "expected", "rate"),
    [
        ("Hello, World!", "hello world", 0.0),
        ("５ 5 5 1", "5551", 0.0),
        ("开放时间早上九点。", "开放时间早上9点", 1 / 8),
        ("", "abcd", 1.0),
        ("abxd", "abcd", 0.25),
        ("abcd extra", "abcd", 1.25),
        ("", "", 0.0),
        ("x", "...", 1.0),
    ],
)
def test_the_rate_of_errors(heard: str, expected: str, rate: float) -> None:
    assert error_rate(heard, expected) == pytest.approx(rate)


def test_a_long_text_is_compared_by_its_beginning() -> None:
    assert error_rate("a" * 100_000, "a" * MAX_CHARS) == 0.0
