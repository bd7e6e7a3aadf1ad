"""The columns of texts: what is cut fits, and what is broken is complete."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelward.daemon.cli.columns import broken, padded, shorten, width


@given(st.text(), st.integers(1, 40))
def test_a_shortened_text_fits(text: str, columns: int) -> None:
    assert width(shorten(text, columns)) <= columns


@pytest.mark.parametrize("text", ["", "ab", "版本", "e\u0301"])
def test_a_filled_text_has_the_width(text: str) -> None:
    assert width(padded(text, 6)) == 6


@pytest.mark.parametrize("text", ["一二三四五，六七八九十。", "用 --job 读取 /v1/jobs/ID/result，然后结束", "a" * 30])
def test_chinese_is_broken_by_columns_and_nothing_is_lost(text: str) -> None:
    lines = broken(text, 12)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")
    assert all(width(line) <= 14 or " " not in line for line in lines)
