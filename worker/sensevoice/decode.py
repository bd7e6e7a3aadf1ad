"""From a model's answer to words: greedy CTC, the four tag frames, and when each token begins.

Pure. Frames 0 to 3 carry language, emotion, event and text norm, and are read at these places. Text is decoded only
from frame 4 on. Other runtimes merge first and drop four tokens afterwards, which loses text or leaks a tag when a tag
frame is blank or equals its neighbour.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from .frontend import STACK_SECONDS
from .tokens import Vocabulary

TAG_FRAMES: Final = 4
BLANK: Final = 0


class BadOutput(RuntimeError):
    """An answer that gives no text: the model is broken."""


class Decoded(Struct, frozen=True):
    """Text and tags of one piece. Tags are names ("zh", "NEUTRAL", "Speech", "woitn"), "" where the frame held none.

    `times[i]` is the start of `tokens[i]` in seconds from the beginning of the piece.
    """

    text: str
    tokens: tuple[str, ...]
    times: tuple[float, ...]
    language: str
    emotion: str
    event: str
    textnorm: str


def greedy(logits: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.int64]:
    """The best id of each frame: [frames, V] → int64 [frames]. Raises BadOutput when a frame has no finite best.

    argmax stops at the first NaN, so checking only the winners finds a NaN anywhere.
    """
    if logits.shape[0] == 0:
        return np.zeros(0, dtype=np.int64)
    ids: npt.NDArray[np.int64] = logits.argmax(axis=-1).astype(np.int64, copy=False)
    if not np.isfinite(logits[np.arange(len(ids)), ids]).all():
        raise BadOutput("cannot decode the model's answer: it is not finite")
    return ids


def decode(ids: npt.NDArray[np.integer[Any]], vocabulary: Vocabulary, blank: int = BLANK) -> Decoded:
    """Text, tokens, times and tags from the best id of each frame, tag frames included: ids [T+4].

    Raises BadOutput when an id is outside the vocabulary.
    """
    if len(ids) and not 0 <= int(ids.min()) <= int(ids.max()) < len(vocabulary):
        wrong = int(ids.max()) if int(ids.max()) >= len(vocabulary) else int(ids.min())
        raise BadOutput(f"cannot decode the model's answer: id {wrong}, but there are {len(vocabulary)} tokens")
    tags = [vocabulary.tag(int(token)) for token in ids[:TAG_FRAMES]]
    language, emotion, event, textnorm = tags + [""] * (TAG_FRAMES - len(tags))
    tokens, times = _tokens(ids[TAG_FRAMES:], vocabulary, blank)
    text = "".join(tokens).strip()
    return Decoded(text, tuple(tokens), tuple(times), language, emotion, event, textnorm)


def _tokens(ids: npt.NDArray[np.integer[Any]], vocabulary: Vocabulary, blank: int) -> tuple[list[str], list[float]]:
    tokens: list[str] = []
    times: list[float] = []
    pending = bytearray()  # adjacent byte pieces are one text in UTF-8
    for frame, token in _changes(ids, blank):
        byte = vocabulary.byte(token)
        text = "" if byte is not None else vocabulary.text(token)
        if byte is None and not text:
            continue
        if pending and byte is None:
            tokens[-1] = pending.decode("utf-8", errors="replace")
            pending.clear()
        if byte is None or not pending:
            tokens.append(text)
            times.append(round(frame * STACK_SECONDS, 2))
        if byte is not None:
            pending.append(byte)
    if pending:
        tokens[-1] = pending.decode("utf-8", errors="replace")
    return tokens, times


def _changes(ids: npt.NDArray[np.integer[Any]], blank: int) -> list[tuple[int, int]]:
    """(frame, id) wherever the id differs from the frame before and is not blank."""
    if len(ids) == 0:
        return []
    starts = np.flatnonzero(np.concatenate(([True], ids[1:] != ids[:-1])) & (ids != blank))
    return [(int(frame), int(ids[frame])) for frame in starts]
