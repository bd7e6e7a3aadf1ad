"""Words and captions from segments: pure text work for subtitles and word times.

It knows nothing of HTTP or models. A word is a run of tokens up to the next space, or one sign in scripts without
spaces. A caption is a few words, cut at sentence ends, at pauses, and before it is too long to read. Invariant: the
words of a segment one after the other, with their spaces, are its text.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from msgspec import Struct

from .transcript import Segment, is_unspaced

CAPTION_SECONDS: Final = 7.0
CAPTION_WIDTH: Final = 84  # columns: two lines of 42, as broadcasters use; a wide sign takes two
CLAUSE_WIDTH: Final = 42  # after this much a comma ends a caption too
PAUSE_SECONDS: Final = 1.0
WORD_SECONDS: Final = 1.0  # the longest time from the last token of a word before a pause to its end
_SENTENCE_END: Final = frozenset(".?!。？！…")
_CLAUSE_END: Final = frozenset(",;:，、；：")
_MARKS: Final = _SENTENCE_END | _CLAUSE_END | frozenset("\"'”’）)》」』】")


class Timed(Struct, frozen=True):
    """Text with its start and end in seconds from the beginning of the clip; `spaced`: there is a space before it."""

    text: str
    start: float
    end: float
    spaced: bool = False


def words_of(segment: Segment) -> list[Timed]:
    """The words of a segment; marks belong to the word before them. Without token times the segment is one word."""
    begun: list[tuple[str, float, float, bool]] = []  # text, its first and its last sound, whether a space was before
    space = False
    for token, time in zip(segment.tokens, segment.times, strict=False):
        bare = token.strip()
        space = space or token[:1].isspace()
        if not bare:
            continue
        if begun and not space and _goes_on(begun[-1][0], bare):
            text, began, sounded, spaced = begun[-1]
            begun[-1] = (text + bare, began, sounded if _is_mark(bare) else time, spaced)
        else:
            begun.append((bare, time, time, space and bool(begun)))
        space = token[-1].isspace()
    if not begun:
        return [Timed(segment.text, segment.start, segment.end)] if segment.text else []
    ends = [*(began for _, began, _, _ in begun[1:]), segment.end]
    return [
        Timed(text, round(began, 3), round(max(began, min(end, sounded + WORD_SECONDS)), 3), spaced)
        for (text, began, sounded, spaced), end in zip(begun, ends, strict=True)
    ]


def captions_of(segments: Iterable[Segment]) -> list[Timed]:
    """Captions in order. None is over CAPTION_SECONDS or CAPTION_WIDTH, except a single long word."""
    found: list[Timed] = []
    for segment in segments:
        held: list[Timed] = []
        for word in words_of(segment):
            if held and _ends_before(held, word):
                found.append(_caption(held))
                held = []
            held.append(word)
        if held:
            found.append(_caption(held))
    return found


def srt(captions: Sequence[Timed]) -> str:
    """SubRip: numbered, comma before the milliseconds."""
    blocks = (
        f"{number}\n{_clock(c.start, ',')} --> {_clock(c.end, ',')}\n{c.text}\n"
        for number, c in enumerate(captions, start=1)
    )
    return "\n".join(blocks)


def vtt(captions: Sequence[Timed]) -> str:
    """WebVTT (W3C): text with its three special signs escaped."""
    blocks = (f"\n{_clock(c.start, '.')} --> {_clock(c.end, '.')}\n{_escaped(c.text)}\n" for c in captions)
    return "WEBVTT\n" + "".join(blocks)


def _goes_on(before: str, token: str) -> bool:
    """Whether `token` belongs to the word `before`, after which it comes without a space."""
    return _is_mark(token) or not (is_unspaced(before[-1]) or is_unspaced(token[0]))


def _is_mark(token: str) -> bool:
    return all(sign in _MARKS for sign in token)


def _ends_before(held: Sequence[Timed], word: Timed) -> bool:
    text = _text(held)
    if word.start - held[-1].end > PAUSE_SECONDS or word.end - held[0].start > CAPTION_SECONDS:
        return True
    if _width(text) + _width(word.text) + word.spaced > CAPTION_WIDTH:
        return True
    return text[-1] in _SENTENCE_END or (text[-1] in _CLAUSE_END and _width(text) >= CLAUSE_WIDTH)


def _caption(held: Sequence[Timed]) -> Timed:
    return Timed(_text(held), held[0].start, held[-1].end)


def _text(held: Sequence[Timed]) -> str:
    return "".join(" " * (word.spaced and place > 0) + word.text for place, word in enumerate(held))


def _width(text: str) -> int:
    return sum(2 if is_unspaced(sign) else 1 for sign in text)


def _clock(seconds: float, point: str) -> str:
    milliseconds = round(seconds * 1000)
    minutes, rest = divmod(milliseconds, 60_000)
    return f"{minutes // 60:02}:{minutes % 60:02}:{rest // 1000:02}{point}{rest % 1000:03}"


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
