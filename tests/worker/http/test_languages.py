"""What clients call the languages."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelward.worker.http.languages import ENGLISH_NAMES, language_code

NAMES = {
    "auto": ["", " ", "auto", "AUTO", "None", "null", "detect", "auto-detect", "und", "undefined", '""'],
    "zh": [
        *("zh", "ZH", "zh-CN", "zh_CN", "zh-TW", "zh-SG", "zh-Hans", "zh-Hant", "zh-Hans-CN", "zh-Hant-TW"),
        *("zh-cmn-Hans-CN", "cn", "cmn", "cmn-Hans-CN", "zho", "chi", "chinese", "Chinese (Simplified)"),
        *("Mandarin", "中文", "普通话"),
    ],
    "yue": ["yue", "yue-HK", "zh-HK", "zh_hk", "zh-Hant-HK", "zh-MO", "zh-yue", "Cantonese", "粤语"],
    "en": ["en", "en-US", "en_GB", "EN-us", "eng", "english", "English", "en-001", "en-Latn-US", "英语"],
    "ja": ["ja", "ja-JP", "ja_JP", "jp", "jpn", "Japanese", "日本語"],
    "ko": ["ko", "ko-KR", "kr", "kor", "Korean", "한국어"],
}  # fmt: skip


@pytest.mark.parametrize(("code", "name"), [(code, name) for code, names in NAMES.items() for name in names])
def test_a_language_is_known_by_all_of_its_names(code: str, name: str) -> None:
    assert language_code(name) == code


@pytest.mark.parametrize("name", ["de", "German", "klingon", "french", "x-zh", "zh-", "e", "english!", "nospeech"])
def test_what_is_no_language_of_ours_is_not_guessed(name: str) -> None:
    assert language_code(name) not in {"auto", "yue", "en", "ja", "ko"} and (
        name == "zh-" or language_code(name) != "zh"
    )


@given(st.text(max_size=40))
def test_any_text_has_an_answer_that_stays_what_it_is(text: str) -> None:
    code = language_code(text)
    assert code in {*ENGLISH_NAMES, "auto"} or language_code(code) == code
