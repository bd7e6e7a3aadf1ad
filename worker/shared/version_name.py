"""Reads a version's name: the model that it belongs to, its number or date, its suffixes, its forms.

Pure: does not decide which is newer; the daemon orders by it, and a worker answers to it. The first part that is marked
with v or is a date counts as the number, else the last plain number; what stands behind it are suffixes. A word that
is not known (see version_words) belongs to the model.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Final, Literal, NamedTuple
from unicodedata import normalize

from msgspec import Struct

from .version_words import FIXES, MARKS, NO_MARK, NO_NUMBER, PADDING, RELEASES, SHORT, STAGES, VARIANT

Numbers = tuple[int, ...]
RELEASE_RANK: Final = 9
"""Of a name without suffix among those with one; stages have less, what comes after a release has more."""
AFTER_RANK: Final = 10
_YEARS: Final = range(1990, 2100)
_MOST_JOINED: Final = 3
"""Digits that `_` joins to a version: v1_2, and not v1_20240717."""

_MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTH_NAME: Final = (
    "jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?"
    "|nov(?:ember)?|dec(?:ember)?"
)
_Y, _M, _D = "(?:19|20)[0-9]{2}", "(?:1[0-2]|0?[1-9])", "(?:3[01]|[12][0-9]|0?[1-9])"
_H, _60 = "(?:[01][0-9]|2[0-3])", "[0-5][0-9]"
_TIME: Final = rf"(?: [-_.t\ ]{{0,2}} {_H} [-_:.]? {_60} (?: [-_:.]? {_60} )? z? )?"
_ATOM: Final = re.compile(
    rf"""
      (?P<date> (?<![0-9]) (?<![0-9][.])
        (?: {_Y} (?: (?:0[1-9]|1[0-2]) (?:0[1-9]|[12][0-9]|3[01]) {_TIME}     # 20240717, 20240717-153000
                   | (?P<sep>[-_.]) {_M} (?P=sep) {_D} (?![0-9]) {_TIME}       # 2024-07-17, 2024.7.18
                   | 年 {_M} 月 (?: {_D} 日? )?
                   | [-_] (?:0[1-9]|1[0-2]) (?![-_.]?[0-9]) )                  # 2024-07
          | {_Y} [-_.\ ]? (?:{_MONTH_NAME}) [-_.\ ]? {_D}                      # 2024-Jul-17
          | {_D} [-_.\ ]? (?:{_MONTH_NAME}) [-_.\ ]? {_Y} )                    # 17Jul2024
        (?![0-9]) )
    | (?P<ambiguous> (?<![0-9a-z]) (?<![0-9][.])                               # the day or the month first?
        (?: [0-9]{{1,2}} (?P<sep2>[-_.]) [0-9]{{1,2}} (?P=sep2) {_Y}
          | (?:0[1-9]|[12][0-9]|3[01]){{2}} {_Y}
          | (?:0[1-9]|[12][0-9]|3[01]) (?P<sep3>[-_]) [0-9]{{2}} (?P=sep3) [0-9]{{2}} )
        (?![0-9]) )
    | (?P<form> (?<![0-9a-z]) q[2-8] (?: _[0-9kmsl]+ )+ (?![0-9a-z]) )            # q4_0, q4_k_m
    | (?P<number> [0-9]+ (?: [.][0-9]+ )* )
    | (?P<letters> [a-z]+ )
    | (?P<others> [^\x00-\x7f]+ )""",
    re.VERBOSE | re.IGNORECASE | re.ASCII,
)
_KINDS: Final = ("date", "ambiguous", "form", "number", "letters", "others")
_WIDE: Final = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)} | {0x3000: 0x20}
"""Full-width letters and digits; each stays one character."""
_DIGITS_OR_MONTH: Final = re.compile(f"[0-9]+|{'|'.join(_MONTHS)}", re.IGNORECASE | re.ASCII)

Kind = Literal["word", "marked", "plain", "date", "stage", "fix", "release", "variant"]


class Suffix(NamedTuple):
    """What stands behind the number. `group`: only steps of the same one can be compared, where ranks are equal."""

    rank: int
    group: str = ""
    step: Numbers = ()


class VersionName(Struct, frozen=True):
    """A name as it was read. `family` is the model's: what is left before and behind the number. `dated`: its number is
    a date. `start` is where the trailing version begins, the end of the name when a word of the model follows or there
    is no number."""

    family: tuple[str, str]
    numbers: Numbers
    dated: bool
    suffixes: tuple[Suffix, ...]
    variants: tuple[str, ...]
    start: int


class _Atom(NamedTuple):
    kind: str
    text: str
    start: int
    end: int

    @property
    def numbers(self) -> Numbers:
        return _date(self.text) if self.kind == "date" else tuple(map(int, self.text.split(".")))


class _Item(NamedTuple):
    kind: Kind
    text: str
    start: int
    numbers: Numbers = ()


@lru_cache(maxsize=4096)
def read_name(name: str) -> VersionName:
    """The parts of any text."""
    items = list(_Reader(name.translate(_WIDE)).items())
    main = _main(items)
    head, tail = (items, []) if main is None else (items[:main], items[main + 1 :])
    words = [item.text for item in tail if item.kind == "word"]
    family = _joined(_whole(i) for i in head if i.kind != "variant"), _joined(words)
    variants = tuple(sorted({i.text for i in items if i.kind == "variant"}))
    if main is None:
        return VersionName(family, (), False, (), variants, len(name))
    numbers = _without_zeros(items[main])
    suffixes = tuple(s for item in tail if (s := _suffix(item)) is not None)
    dated = numbers[0] in _YEARS
    return VersionName(family, numbers, dated, suffixes, variants, len(name) if words else items[main].start)


def _main(items: list[_Item]) -> int | None:
    """Which of the items is the number: the first that is marked or a date, else the last run of plain ones."""
    sure = [i for i, item in enumerate(items) if item.kind in ("marked", "date")]
    if sure:
        return sure[0]
    plain = [i for i, item in enumerate(items) if item.kind == "plain"]
    last_word = max((i for i, item in enumerate(items) if item.kind == "word"), default=-1)
    behind = [i for i in plain if i > last_word]
    return behind[0] if behind else plain[-1] if plain else None


def _without_zeros(item: _Item) -> Numbers:
    """v1 and v1.0 are the same version."""
    numbers = list(item.numbers)
    while item.kind != "date" and len(numbers) > 1 and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)


def _suffix(item: _Item) -> Suffix | None:
    if item.kind in ("marked", "plain"):
        return Suffix(AFTER_RANK, "number", item.numbers)
    if item.kind == "date":
        return Suffix(AFTER_RANK, "date", item.numbers)
    if item.kind == "stage":
        return Suffix(STAGES[item.text], "", item.numbers)
    if item.kind == "fix":
        return Suffix(AFTER_RANK, FIXES[item.text], item.numbers)
    return None


def _whole(item: _Item) -> str:
    """Its text with its number, where that is no version's."""
    return item.text + (".".join(map(str, item.numbers)) if item.kind in ("stage", "fix") else "")


def _joined(words: Iterable[str]) -> str:
    return normalize("NFKC", "".join(words)).casefold()


def _date(text: str) -> Numbers:
    """Year, month, day, hour, minute, second, as far as they are given."""
    parts = [part.lower() for part in _DIGITS_OR_MONTH.findall(text)]
    named = next((i for i, part in enumerate(parts) if part in _MONTHS), None)
    if named is not None:
        month = _MONTHS.index(parts[named]) + 1
        first, last = int(parts[0]), int(parts[-1])
        return (first, month, last) if first in _YEARS or first > 31 else (last, month, first)
    digits = [int(part) for part in parts[:1] if len(part) == 4]
    for part in parts[len(digits) :]:
        if len(part) > 4 and not digits:  # 20240717 and what follows it at once
            digits.append(int(part[:4]))
            part = part[4:]
        digits += [int(part[at : at + 2]) for at in range(0, len(part), 2)]
    return tuple(digits)


class _Reader:
    """One name's atoms as items, one after another."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._atoms = [_atom(found) for found in _ATOM.finditer(text)]
        self._at = 0

    def items(self) -> Iterator[_Item]:
        while self._at < len(self._atoms):
            atom = self._atoms[self._at]
            self._at += 1
            if atom.kind in ("letters", "others"):
                yield from self._word(atom)
            elif atom.kind == "date":
                yield _Item("date", atom.text, atom.start, atom.numbers)
            elif atom.kind in ("ambiguous", "form"):
                yield _Item("variant" if atom.kind == "form" else "word", atom.text.lower(), atom.start)
            else:
                yield self._number(atom)

    def _next(self, atom: _Atom, *kinds: str, gap: int = 0) -> _Atom | None:
        """The atom behind this one, when at most so many characters lie between and it is of these kinds."""
        following = self._atoms[self._at] if self._at < len(self._atoms) else None
        if following is None or following.kind not in kinds or following.start - atom.end > gap:
            return None
        return following

    def _number(self, atom: _Atom) -> _Item:
        letters = self._next(atom, "letters")
        if letters is None or letters.text.lower() in (STAGES.keys() | FIXES.keys() | RELEASES):
            return _Item("plain", atom.text, atom.start, atom.numbers)
        if VARIANT.fullmatch(text := (atom.text + letters.text).lower()):
            self._at += 1
            return _Item("variant", text, atom.start)
        return self._opaque(atom)

    def _opaque(self, atom: _Atom) -> _Item:
        """This atom and all that is written to it: a word whose digits mean nothing to us."""
        end = atom
        while (following := self._next(end, "letters", "number")) is not None:
            end = following
            self._at += 1
        text = self._text[atom.start : end.end].lower()
        return _Item("variant" if VARIANT.fullmatch(text) else "word", text, atom.start)

    def _word(self, atom: _Atom) -> Iterator[_Item]:
        word = atom.text.lower().strip("（）【】「」·、，。")
        number = self._next(atom, "number", "date")
        if word in PADDING:
            return
        if word in MARKS:
            yield from self._marked(atom, atom.start)
        elif word in STAGES or word in FIXES:
            yield from self._step(atom, word)
        elif word in RELEASES:
            yield _Item("release", word, atom.start)
        elif VARIANT.fullmatch(word) and number is None:
            yield _Item("variant", word, atom.start)
        elif number is None or atom.kind == "others":
            yield _Item("word", word, atom.start)
        elif number.kind == "date" or self._ends_in_mark(word, number):
            kept = word.removesuffix("v")
            if kept:
                yield _Item("word", kept, atom.start)
            yield from self._marked(atom, atom.end - (len(word) - len(kept)))
        elif self._ends_here(number) and word not in NO_NUMBER | NO_MARK:
            yield _Item("word", word, atom.start)
        else:
            yield self._opaque(atom)

    @staticmethod
    def _ends_in_mark(word: str, number: _Atom) -> bool:
        """Whether a `v` at the end of a word marks the number: modelv2.0, modelv2; not dev2, wav2, conv2."""
        return word.endswith("v") and word not in NO_MARK and ("." in number.text or len(word) > 3)

    def _ends_here(self, number: _Atom) -> bool:
        """Whether no letters are written to the number behind a word, as in wav2vec2."""
        at = self._at + 1
        following = self._atoms[at] if at < len(self._atoms) else None
        return following is None or following.kind != "letters" or following.start > number.end

    def _marked(self, atom: _Atom, start: int) -> Iterator[_Item]:
        """The number behind a mark, v1.2 or v1_2."""
        number = self._next(atom, "number", "date", gap=1)
        if number is None:
            return
        self._at += 1
        if number.kind == "date":
            yield _Item("date", number.text, start, number.numbers)
            return
        numbers, end = list(number.numbers), number
        while (more := self._next(end, "number", gap=1)) is not None and self._joins(end, more):
            numbers += more.numbers
            end = more
            self._at += 1
        yield _Item("marked", self._text[start : end.end], start, tuple(numbers))

    def _joins(self, end: _Atom, more: _Atom) -> bool:
        joined = self._text[end.end : more.start] == "_" and len(more.text) <= _MOST_JOINED and more.text.isdigit()
        return joined and self._ends_here(more)

    def _step(self, atom: _Atom, word: str) -> Iterator[_Item]:
        """A stage or a fix with its number: rc1, rc.1, hotfix-2. Short ones need a digit beside them."""
        before = self._atoms[self._at - 2] if self._at > 1 else None
        beside = before is not None and before.kind in ("number", "date") and before.end == atom.start
        number = self._next(atom, "number", "date", gap=0 if word in SHORT else 1)
        if word in SHORT and not beside and number is None:
            yield _Item("word", word, atom.start)
            return
        if number is not None:
            self._at += 1
        yield _Item("stage" if word in STAGES else "fix", word, atom.start, number.numbers if number else ())


def _atom(found: re.Match[str]) -> _Atom:
    kind = next(kind for kind in _KINDS if found[kind] is not None)
    return _Atom(kind, found[kind], found.start(), found.end())
