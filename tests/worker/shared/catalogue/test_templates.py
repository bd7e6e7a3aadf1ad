"""One catalogue has the Chinese of every text for people, and a finished English sentence finds its entry."""

from __future__ import annotations

import re
import string

import pytest
from tests import sentences

from modelward.worker.shared import catalogue
from modelward.worker.shared.catalogue import (
    language_of_environment,
    language_of_header,
    translated,
    translated_fields,
    word,
)
from modelward.worker.shared.catalogue.templates import MAX_CHARS, Templates

SMALL = Templates(
    {
        "cannot activate {version}: {because}": "无法激活 {version}：{because}",
        "{version} is rejected: {because}": "{version} 被拒绝：{because}",
        "it holds {total}, at most {most}": "它有 {total}，上限 {most}",
        "{errors} of {requests} requests failed": "{requests} 个请求中有 {errors} 个失败",
        "still serving {name}": "线上仍是 {name}",
        "no golden clips": "没有 golden 音频",
        "{name}s of a kind": "{name} 类",
        "{subject} was rejected: {because}": "{subject} 被拒绝：{because}",
        "{bad} of {total} numbers are not finite": "{total} 个数中有 {bad} 个不是有限数",
        "{count} files": "{count} 个文件",
        "{name} is {stage}": "{name} {stage}",
        "{ratio} at {time}": "{ratio}（{time}）",
        "ready": "就绪",
    }
)


def test_the_catalogue_has_every_sentence_of_the_source_and_no_other() -> None:
    missing, unused = sentences.missing_and_unused()
    assert not missing and not unused, "python -m tests.sentences prints them"


def test_the_sentences_are_really_found() -> None:
    found = {sentences.normal(text) for text in sentences.sentences()}
    assert len(found) > 1000
    for known in ("cannot activate {}: {}", "the model root is absent", "list the workers", "no golden clips"):
        assert known in found
    assert not any(text.startswith("cannot show a part of the panel") for text in found)  # an event of the log


def test_a_translation_has_the_placeholders_of_its_sentence_and_no_others() -> None:
    for english, chinese in catalogue._entries().items():
        given, used = _names(english), _names(chinese)
        assert used <= given, english
        assert chinese.strip(), english


def test_the_vocabulary_is_that_of_the_readme() -> None:
    readme = (sentences.ROOT / "README.zh-CN.md").read_text(encoding="utf-8")
    for word_of_old in ("工作进程", "金丝雀", "评审", "渠道", "模型目录"):
        assert word_of_old not in readme
        assert [c for c in catalogue._entries().values() if word_of_old in c] == []


def _names(template: str) -> set[str]:
    try:
        return {name for _, name, _, _ in string.Formatter().parse(template) if name}
    except ValueError:  # a brace of JSON
        return set()


@pytest.mark.parametrize(
    ("english", "chinese"),
    [
        ("no golden clips", "没有 golden 音频"),
        ("cannot activate v2: v2 is rejected: no golden clips", "无法激活 v2：v2 被拒绝：没有 golden 音频"),
        ("it holds 3 GiB, at most 2 GiB", "它有 3 GiB，上限 2 GiB"),
        ("3 of 10 requests failed", "10 个请求中有 3 个失败"),
        ("no golden clips; still serving v1", "没有 golden 音频；线上仍是 v1"),
        ("v1: no golden clips", "v1：没有 golden 音频"),
        ("  still serving v1\nno golden clips", "  线上仍是 v1\n没有 golden 音频"),
        ("still serving ready", "线上仍是 ready"),  # a name of a version, not a word
        ("v2 was rejected: 3 of 9 numbers are not finite", "v2 被拒绝：9 个数中有 3 个不是有限数"),
        ("v2 was rejected: ready", "v2 被拒绝：就绪"),  # a reason of one word
        ("1.01 at 2s, 0.97 at 5s", "1.01（2s），0.97（5s）"),
        ("a.b: it holds 3, at most 2; still serving v1", "a.b：它有 3，上限 2；线上仍是 v1"),
        ("1,200 files", "1,200 个文件"),
        ("w1 is ready", "w1 就绪"),
        ("w1 is broken", "w1 is broken"),
        ("the model root is ready", "the model root is ready"),
        ("no such files", "no such files"),
        ("a whole sentence that stands at no time", "a whole sentence that stands at no time"),
        ("ready", "ready"),
        ("what nobody translated", "what nobody translated"),
        ("", ""),
    ],
)
def test_a_finished_sentence_is_translated_with_what_it_holds(english: str, chinese: str) -> None:
    assert SMALL(english) == chinese


def test_a_single_word_is_translated_where_it_is_a_label() -> None:
    assert SMALL.word("ready") == "就绪" and SMALL.word("v1") == "v1"


@pytest.mark.parametrize(
    "text",
    [
        "x: " * 2000 + "y",
        "cannot activate " * 500,
        "is rejected: " * 600,
        "; ".join(["a b"] * 2000),
        "y" * (MAX_CHARS + 1),
    ],
)
def test_a_hostile_text_comes_back_in_bounded_work(text: str) -> None:
    assert isinstance(Templates(catalogue._entries())(text), str)


def test_every_entry_is_found_again() -> None:
    for english, chinese in catalogue._entries().items():
        if names := _names(english):
            filled = english
            for number, name in enumerate(sorted(names)):
                filled = filled.replace("{" + name + "}", "ready" if name in {"state", "stage"} else str(number))
            assert " " not in filled or translated(filled, "zh") != filled or chinese == english, english
        else:
            assert word(english, "zh") == chinese, english


def test_an_answer_has_only_its_sentences_translated() -> None:
    answer = {"version": "no version", "because": "no golden clips", "list": [{"message": "nothing is served"}], "n": 1}
    english = dict(answer)
    assert translated_fields(answer, "zh") == {
        "version": "no version",
        "because": "没有 golden 音频",
        "list": [{"message": "没有提供服务"}],
        "n": 1,
    }
    assert translated_fields(answer, "en") is answer and answer == english


@pytest.mark.parametrize(
    ("environment", "language"),
    [
        ({}, "en"),
        ({"LANG": "zh_CN.UTF-8"}, "zh"),
        ({"LANG": "zh_CN.UTF-8", "LC_ALL": "C.UTF-8"}, "en"),
        ({"LANG": "en_US.UTF-8", "LC_MESSAGES": "zh_CN.UTF-8"}, "zh"),
        ({"LANG": "zh_CN.UTF-8", "LC_ALL": ""}, "zh"),
        ({"LANG": "de_DE.UTF-8"}, "en"),
    ],
)
def test_the_environment_names_the_language(environment: dict[str, str], language: str) -> None:
    assert language_of_environment(environment) == language


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("", "en"),
        ("zh-CN,zh;q=0.9,en;q=0.8", "zh"),
        ("en-US,en;q=0.9,zh;q=0.8", "en"),
        ("zh", "zh"),
        ("de, zh;q=0.5", "zh"),
        ("zh;q=0, en", "en"),
        ("en;q=x, zh;q=0.1", "zh"),
        ("*", "en"),
        ("," * 10_000, "en"),
    ],
)
def test_a_browser_names_the_language(header: str, language: str) -> None:
    assert language_of_header(header) == language


@pytest.mark.parametrize(
    "english",
    [
        "cannot fetch https://1/2: the server answered 404; there is no such file",
        "cannot fetch https://1/2: the server answered 401; it needs a token: HF_TOKEN for Hugging Face, "
        "MODELSCOPE_API_TOKEN for ModelScope",
        "cannot fetch https://1/2: the server answered 403; only some users may have it",
        "cannot fetch 1:2: the answer is not that of Hugging Face: Input data was truncated",
        "cannot fetch 1:2: the answer is not that of Hugging Face: JSON is malformed: invalid character (byte 0)",
        "cannot fetch 1:2: the answer is not that of ModelScope: Expected `object`, got `array` - at `$.1`",
        "cannot fetch 1:2: the answer is not that of Hugging Face: Object missing required field `1` - at `$[0]`",
        "cannot fetch 1:2: there is no such repository or revision, or it needs HF_TOKEN (the hub answered 404)",
        "cannot fetch https://1/2: it redirects to 3://4, which is no address of the web",
        "cannot serve /1: a daemon of /2 runs already and answers on http://3; a version that is copied into /4 is "
        "served by it; --home DIR starts another one; `kill 5` ends it",
    ],
)
def test_what_is_added_to_a_sentence_is_translated_with_it(english: str) -> None:
    chinese = catalogue.translated(english, "zh")
    names = r"`[^`]*`|https?://[\w/]+|--home|Hugging Face|ModelScope|_TOKEN"
    assert re.findall(r"[a-z]{2,}", re.sub(names, "", chinese)) == [], chinese
