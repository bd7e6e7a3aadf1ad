"""The transcript of a clip: the answers for its pieces joined into one text with times, language, emotion and events.

Pure. Text is joined as it is written: without a space where both sides are of a script without spaces, with one
elsewhere. Tags are names without their brackets. The clip's language and emotion are those that lasted longest.
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import UNSET, Struct, UnsetType, field

from .segments import Span

NO_SPEECH = "nospeech"
NO_EMOTION = "EMO_UNKNOWN"
NO_EVENT = "Event_UNK"

# first and last code points of scripts written without spaces, and of their punctuation
_UNSPACED = (
    (0x2E80, 0x30FF),  # radicals, CJK punctuation, kana
    (0x3100, 0x312F),  # bopomofo
    (0x31A0, 0x31FF),
    (0x3400, 0x4DBF),
    (0x4E00, 0x9FFF),
    (0xF900, 0xFAFF),
    (0xFF00, 0xFF9F),  # full width forms, half width kana
    (0x20000, 0x3FFFF),
)
_CLOSING = frozenset("。，、？！；：）】」』》…")


class Piece(Struct, frozen=True):
    """The answer for one piece. `times[i]` is the start of `tokens[i]` in seconds from the beginning of the piece."""

    text: str = ""
    language: str = NO_SPEECH
    emotion: str = NO_EMOTION
    event: str = NO_EVENT
    tokens: tuple[str, ...] = ()
    times: tuple[float, ...] = ()


class Segment(Struct, frozen=True):
    """A piece in its place: start and end, and the token times, in seconds from the beginning of the clip.

    `channel` is present where channels were split; the first is 0.
    """

    start: float
    end: float
    text: str
    language: str
    emotion: str
    event: str
    tokens: tuple[str, ...] = ()
    times: tuple[float, ...] = ()
    channel: int | UnsetType = UNSET


class Transcript(Struct, frozen=True):
    """A clip's answer. `events` lists each event once, in order; `duration` is the clip's length in seconds."""

    text: str = ""
    segments: tuple[Segment, ...] = field(default=())
    language: str = NO_SPEECH
    emotion: str = NO_EMOTION
    events: tuple[str, ...] = ()
    duration: float = 0.0


def join(pieces: Iterable[tuple[Span, Piece]], duration: float) -> Transcript:
    """The transcript of pieces in their order. A piece without text gives no segment, but its tags count."""
    placed = [_place(span, piece) for span, piece in pieces]
    text = ""
    for segment in placed:
        text = join_texts(text, segment.text)
    events = dict.fromkeys(segment.event for segment in placed if segment.event not in ("", NO_EVENT))
    return Transcript(
        text=text,
        segments=tuple(segment for segment in placed if segment.text),
        language=_longest([(s.language, s.end - s.start) for s in placed], NO_SPEECH),
        emotion=_longest([(s.emotion, s.end - s.start) for s in placed], NO_EMOTION),
        events=tuple(events),
        duration=round(duration, 3),
    )


def join_texts(before: str, after: str) -> str:
    """Two texts one after the other, with a space unless the script at the join is written without."""
    if not before or not after:
        return before or after
    seam = before[-1] in _CLOSING or (is_unspaced(before[-1]) and is_unspaced(after[0]))
    return before + after if seam else f"{before} {after}"


def is_unspaced(character: str) -> bool:
    return any(first <= ord(character) <= last for first, last in _UNSPACED)


def _place(span: Span, piece: Piece) -> Segment:
    start = span.start_seconds
    return Segment(
        start=round(start, 3),
        end=round(span.end_seconds, 3),
        text=piece.text,
        language=piece.language,
        emotion=piece.emotion,
        event=piece.event,
        tokens=piece.tokens,
        times=tuple(round(start + time, 3) for time in piece.times),
        channel=UNSET if span.channel is None else span.channel,
    )


def _longest(weighed: list[tuple[str, float]], nothing: str) -> str:
    """The name with the most seconds, `nothing` only when there is no other; the first wins a tie."""
    totals: dict[str, float] = {}
    for name, seconds in weighed:
        if name and name != nothing:
            totals[name] = totals.get(name, 0.0) + seconds
    return max(totals, key=lambda name: totals[name]) if totals else nothing
