"""Matches a finished sentence with the templates of a catalogue and puts its parts into the other language.

A template is found by its rarest word; those with the most letters of their own are tried. What stands in a placeholder
is translated in the same way. Of several readings, the one that leaves the least English wins. The work is bounded by
the length of the text, by depth and by a count of trials; so is what is kept of it.
Invariant: a text that matches nothing comes back as it was.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import Final, NamedTuple

MAX_CHARS: Final = 8192
MAX_DEPTH: Final = 6
MAX_TRIALS: Final = 4000
MAX_WAYS: Final = 3
MAX_PARTS: Final = 200
MAX_KNOWN: Final = 2000
MAX_KNOWN_CHARS: Final = 500
SHORT_LETTERS: Final = 12
WORD_HOLES: Final = frozenset({"gate", "open_gate", "kind", "verb", "state", "stage", "what", "because"})
"""The placeholders that may hold a single word, which is translated. In others it may be a name."""
GATE_HOLES: Final = frozenset({"gate", "open_gate"})
"""The placeholders that hold the name of a gate."""
FREE_HOLES: Final = frozenset({"text", "names"})
"""The placeholders of short templates that may hold many words."""
NUMBER_HOLE: Final = "count"
"""The placeholder that holds a number and nothing else."""
_HOLE: Final = re.compile(r"\{([a-zA-Z_]\w*)(?:[!:][^{}]*)?\}")
_WORD: Final = re.compile(r"[A-Za-z]+")
_SEPARATORS: Final = (("\n", "\n", -1), ("; ", "；", -1), (": ", "：", 1), (", ", "，", -1))


class Template(NamedTuple):
    """An English sentence with placeholders: the texts around them, their names, and the Chinese sentence."""

    literals: tuple[str, ...]
    names: tuple[str, ...]
    chinese: str
    letters: int

    def match(self, text: str) -> list[str] | None:
        """What the text has in the place of each placeholder; None when it is another sentence."""
        first, last = self.literals[0], self.literals[-1]
        if not text.startswith(first) or not text.endswith(last) or len(text) < len(first) + len(last):
            return None
        values, at, end = [], len(first), len(text) - len(last)
        for literal in self.literals[1:-1]:
            found = text.find(literal, at, end)
            if found < 0:
                return None
            values.append(text[at:found])
            at = found + len(literal)
        values.append(text[at:end])
        fits = all(n != NUMBER_HOLE or v.replace(",", "").isdigit() for n, v in zip(self.names, values, strict=True))
        return values if fits else None


class Templates:
    """All templates of one language. Called with a text, it returns the translation."""

    def __init__(self, entries: Mapping[str, str]) -> None:
        entries = {**_clauses(entries), **entries}
        self._known = dict[str, str]()
        self._whole = {english: chinese for english, chinese in entries.items() if not _HOLE.search(english)}
        templates = [_template(e, c) for e, c in entries.items() if _HOLE.search(e)]
        words = [_own_words(template) for template in templates]
        often = Counter(word for own in words for word in own)
        self._by_word = dict[str, list[Template]]()
        for template, own in zip(templates, words, strict=True):
            rarest = min(sorted(own), key=often.__getitem__, default="")
            self._by_word.setdefault(rarest, []).append(template)

    def __call__(self, text: str) -> str:
        known = self._known.get(text)
        if known is None:
            known = _Translation(self._whole, self._by_word).sentence(text, MAX_DEPTH)
            if len(self._known) >= MAX_KNOWN:
                self._known.clear()
            if len(text) <= MAX_KNOWN_CHARS:
                self._known[text] = known
        return known

    def word(self, text: str) -> str:
        """A text that has no placeholder, also of one word."""
        return self._whole.get(text) or self(text)


class _Translation:
    """The translation of one text: what was found for its parts, and how many templates may still be tried."""

    def __init__(self, whole: Mapping[str, str], by_word: Mapping[str, list[Template]]) -> None:
        self._whole, self._by_word = whole, by_word
        self._done = dict[str, str]()
        self._left = MAX_TRIALS

    def sentence(self, text: str, depth: int) -> str:
        core = text.strip()
        if depth == 0 or len(core) > MAX_CHARS or " " not in core or not core.replace("\n", "").isprintable():
            return text  # without a space: a name, or a word that may be one
        chinese = self._done.get(core)
        if chinese is None:
            chinese = self._whole.get(core) or self._best(core, depth)
            self._done[core] = chinese
        return text.replace(core, chinese, 1)

    def _best(self, text: str, depth: int) -> str:
        """Of the ways to read it, the one that leaves the fewest English letters."""
        ways = [
            (_torn(template, values), self._filled(template, values, depth)) for template, values in self._matches(text)
        ]
        ways += [(0, way) for way in self._split(text, depth)]
        return min((way for way in ways if way[1]), key=lambda way: _letters_left(way[1]) + way[0], default=(0, text))[
            1
        ]

    def _matches(self, text: str) -> list[tuple[Template, list[str]]]:
        candidates = [t for word in dict.fromkeys(["", *_WORD.findall(text)]) for t in self._by_word.get(word, ())]
        found: list[tuple[Template, list[str]]] = []
        for template in sorted(candidates, key=lambda t: -t.letters):
            self._left -= 1
            if self._left < 0 or len(found) == MAX_WAYS:
                break
            if (values := template.match(text)) is not None:
                found.append((template, values))
        return found

    def _filled(self, template: Template, values: list[str], depth: int) -> str:
        """The Chinese sentence; "" where so short a template matches by chance."""
        own = {name: self._value(name, v, depth) for name, v in zip(template.names, values, strict=True)}
        if template.letters < SHORT_LETTERS and not self._has_gate(template, values):
            for name, value in zip(template.names, values, strict=True):
                if name not in FREE_HOLES and (", " in value or (own[name] == value and _is_doubtful(name, value))):
                    return ""
        return _HOLE.sub(lambda hole: own.get(hole[1], hole[0]), template.chinese)

    def _has_gate(self, template: Template, values: list[str]) -> bool:
        """Whether it names one of our gates: then it does not match by chance."""
        return any(n in GATE_HOLES and v in self._whole for n, v in zip(template.names, values, strict=True))

    def _value(self, name: str, value: str, depth: int) -> str:
        if name in WORD_HOLES and (word := self._whole.get(value)):
            return word
        return self.sentence(value, depth - 1)

    def _split(self, text: str, depth: int) -> list[str]:
        """A text that was joined from several, with each part by itself, for every way in which it may be joined."""
        ways = list[str]()
        for separator, chinese, most in _SEPARATORS:
            parts = text.split(separator, most)
            if 1 < len(parts) <= MAX_PARTS and self._left > 0:
                self._left -= 1
                done = [self.sentence(part, depth - 1) for part in parts]
                if done != parts:
                    ways.append(chinese.join(done))
        if text.endswith(")") and (at := text.find(" (")) > 0:
            parts = [text[:at], text[at + 2 : -1]]
            done = [self.sentence(part, depth - 1) for part in parts]
            if done != parts:
                ways.append(f"{done[0]}（{done[1]}）")
        return ways


def _is_doubtful(name: str, value: str) -> bool:
    return " " in value or name in {"state", "stage"}


def _clauses(entries: Mapping[str, str]) -> dict[str, str]:
    """What is added to a sentence, without the sign that joins it: a sentence that is split there loses the sign."""
    bare = {english[2:]: chinese[1:] for english, chinese in entries.items() if english.startswith("; ")}
    bare |= {e[1:-1]: c[1:-1] for e, c in entries.items() if e.startswith("(") and e.endswith(")")}
    return {english: chinese for english, chinese in bare.items() if " " in _HOLE.sub("", english).strip()}


def _torn(template: Template, values: list[str]) -> int:
    """How many placeholders before the last words hold the end of one sentence and the begin of another."""
    before = values if template.literals[-1] else values[:-1]
    return sum(": " in value or "; " in value for value in before)


def _letters_left(text: str) -> int:
    return sum(map(len, _WORD.findall(text)))


def _template(english: str, chinese: str) -> Template:
    literals = tuple(_HOLE.split(english)[::2])
    return Template(literals, tuple(_HOLE.findall(english)), chinese, sum(len(literal) for literal in literals))


def _own_words(template: Template) -> set[str]:
    """The words that a text of this template surely has, whole: none that touches a placeholder."""
    words, last = set[str](), len(template.literals) - 1
    for index, literal in enumerate(template.literals):
        for word in _WORD.finditer(literal):
            cut_left = index > 0 and word.start() == 0
            cut_right = index < last and word.end() == len(literal)
            if not cut_left and not cut_right:
                words.add(word[0])
    return words
