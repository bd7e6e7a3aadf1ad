"""The demo's token table: blank first, the keys as digits or as words, then every tag of SenseVoice.

Both forms have the same length and the same ids, so that one set of weights serves both.
"""

from __future__ import annotations

from typing import Final

from . import synth

# fmt: off
_WORDS: Final = dict(zip(synth.KEYS, (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "star", "hash", "A", "B", "C", "D",
), strict=True))
_SPECIAL: Final = ("<unk>", "<s>", "</s>")
FULL_STOP: Final = "."
TAGS: Final = tuple(f"<|{name}|>" for name in (
    "zh", "en", "yue", "ja", "ko", "nospeech", "Speech", "BGM", "Laughter", "Applause", "HAPPY", "SAD", "ANGRY",
    "NEUTRAL", "FEARFUL", "DISGUSTED", "SURPRISED", "OTHER", "EMO_UNKNOWN", "Cry", "Sneeze", "Breath", "Cough", "Sing",
    "Speech_Noise", "withitn", "woitn", "GBG", "Event_UNK",
))
# fmt: on

FIRST_KEY: Final = len(_SPECIAL)
STOP_ID: Final = FIRST_KEY + len(synth.KEYS)
SIZE: Final = STOP_ID + 1 + len(TAGS)


def pieces(*, words: bool) -> list[str]:
    """The token of each id; U+2581 at the start of a word stands for the space before it."""
    keys = ["\u2581" + _WORDS[key] for key in synth.KEYS] if words else list(synth.KEYS)
    return [*_SPECIAL, *keys, FULL_STOP, *TAGS]


def tag_id(tag: str) -> int:
    """The id of a tag written without its brackets. Raises ValueError for a tag that is none."""
    return STOP_ID + 1 + TAGS.index(f"<|{tag}|>")


def text(digits: str, *, words: bool) -> str:
    """What the recogniser writes when these keys are dialled; spaces (pauses) have no text."""
    keys = digits.replace(" ", "")
    return " ".join(_WORDS[key] for key in keys) if words else keys
