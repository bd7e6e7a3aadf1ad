"""The Chinese of every text for people, and the choice of a language.

English stays in the source. `zh.json` maps each English template to its Chinese one. It is read when the first text is
translated: a process that answers in English never has it. A text without an entry stays English.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    from .templates import Templates

Language = Literal["en", "zh"]
MAX_TAGS: Final = 20
MAX_NODES: Final = 100_000
TEXT_FIELDS: Final = frozenset(
    {"because", "message", "problem", "rejected", "note", "refused", "shortfall", "held_because", "waiting"}
    | {"off", "failed_because", "away"}
    | {"confinement", "compiling", "unavailable", "trouble", "mistakes", "warnings"}
)
"""The fields of a JSON answer that hold sentences. All others hold names, words of the interface and figures."""


def load() -> None:
    """Reads the catalogue, so that no later call does: for a thread, or before there is an event loop."""
    _chinese()


def translated(text: str, language: str) -> str:
    """A finished English text in a language: "zh", or "en", which leaves it as it is."""
    return _chinese()(text) if language == "zh" and text else text


def word(text: str, language: str) -> str:
    """A single word or label. Words inside sentences are not translated: a version may be named `ready`."""
    return _chinese().word(text) if language == "zh" else text


def chinese_of(english: Mapping[str, str]) -> dict[str, str]:
    """The Chinese of a page's words, key by key. A word without an entry stays English."""
    entries = _entries()
    return {key: entries.get(text, text) for key, text in english.items()}


def translated_fields(value: Any, language: str) -> Any:
    """A JSON value with the sentences in its text fields translated; `value` itself for English."""
    if language != "zh":
        return value
    left = [MAX_NODES]
    return _fields(value, _chinese(), left)


def _fields(value: Any, chinese: Templates, left: list[int], text: bool = False) -> Any:
    left[0] -= 1
    if left[0] < 0:
        return value
    if isinstance(value, dict):
        return {key: _fields(inner, chinese, left, key in TEXT_FIELDS) for key, inner in value.items()}
    if isinstance(value, list):
        return [_fields(inner, chinese, left, text) for inner in value]
    return chinese.word(value) if text and isinstance(value, str) and value else value


def language_of_environment(environment: Mapping[str, str]) -> Language:
    """By POSIX: the first of LC_ALL, LC_MESSAGES and LANG that is set."""
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        if value := environment.get(name):
            return "zh" if value.lower().startswith("zh") else "en"
    return "en"


def language_of_header(accept_language: str) -> Language:
    """By RFC 9110, 12.5.4: Chinese where the client prefers it to English."""
    quality = {"zh": 0.0, "en": 0.0}
    for item in accept_language.lower().split(",")[:MAX_TAGS]:
        tag, _, parameter = item.strip().partition(";")
        primary = tag.strip().partition("-")[0]
        if primary in quality and not quality[primary]:
            quality[primary] = _quality(parameter)
    zh, en = quality["zh"], quality["en"]
    if zh == en and zh:
        return "zh" if accept_language.lower().find("zh") < accept_language.lower().find("en") else "en"
    return "zh" if zh > en else "en"


def _quality(parameter: str) -> float:
    name, _, value = parameter.strip().partition("=")
    if not name:
        return 1.0
    try:
        return float(value) if name.strip() == "q" else 1.0
    except ValueError:
        return 0.0


@cache
def _entries() -> dict[str, str]:
    entries: dict[str, str] = json.loads(Path(__file__).with_name("zh.json").read_text("utf-8"))
    return entries


@cache
def _chinese() -> Templates:
    from .templates import Templates

    return Templates(_entries())
