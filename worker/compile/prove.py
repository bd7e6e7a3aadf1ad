"""Decides whether two forms of a model answer the same, and which of them is cheaper.

Answers are kept as a hash of the logits and the best id of each frame. `exact` requires every bit of the logits; `fast`
requires what a client can see: tags, tokens and their times. Times are CPU time, measured in turn in one process. A
busy machine only adds time, so the least time of several rounds is compared.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from msgspec import Struct

Array = npt.NDArray[Any]
Feeds = Mapping[str, Array]
Run = Callable[[Feeds], Sequence[Array]]

PROMPT_FRAMES = 4
BLANK = 0

TURN_SECONDS = 0.02
MOST_TIMES = 50
LEAST_TURNS = 5


class ClipAnswer(Struct, frozen=True):
    """One clip's answer: SHA-256 of the logits' bytes ("" when only ids are known), best ids i64 [T+4], the rest."""

    bits: str
    ids: tuple[int, ...]
    rest: str


def answer(outputs: Sequence[Array], *, bits: bool = True) -> ClipAnswer:
    """The answer in a run's outputs: logits [1,T,V] or ids [1,T] first. Anything else counts by its bytes only.

    `bits` False: of logits only the best ids are kept, for a form that has no others.
    """
    first = np.ascontiguousarray(outputs[0])
    rest = hashlib.sha256()
    for other in outputs[1:]:
        rest.update(np.ascontiguousarray(other).tobytes())
    if np.issubdtype(first.dtype, np.integer):
        return ClipAnswer("", tuple(int(i) for i in first.reshape(-1)), rest.hexdigest())
    ids = tuple(int(i) for i in first.argmax(-1).reshape(-1)) if first.ndim == 3 else ()
    if ids and not bits:
        return ClipAnswer("", ids, rest.hexdigest())
    hashed = hashlib.sha256(f"{first.dtype.str}{first.shape}".encode())
    hashed.update(first.data)
    return ClipAnswer(hashed.hexdigest(), ids, rest.hexdigest())


def same_bits(one: ClipAnswer, other: ClipAnswer) -> bool:
    """Whether the logits and everything else have the same bits. Where one side has only ids, those of every frame
    count.
    """
    if one.rest != other.rest:
        return False
    return one.bits == other.bits if one.bits and other.bits else one.ids == other.ids


def same_reading(one: ClipAnswer, other: ClipAnswer) -> bool:
    """Whether a client sees the same: the tags of the prompt frames, the tokens and the frame in which each begins."""
    return one.rest == other.rest and reading(one.ids) == reading(other.ids)


def much_alike(one: ClipAnswer, other: ClipAnswer) -> bool:
    """Whether there are as many frames, and nine of ten agree: for clips that are cut anywhere, even inside a word."""
    equal = sum(a == b for a, b in zip(one.ids, other.ids, strict=False))
    return one.rest == other.rest and len(one.ids) == len(other.ids) and 10 * equal >= 9 * len(one.ids)


def reading(ids: Sequence[int]) -> tuple[tuple[int, ...], tuple[tuple[int, int], ...]]:
    """(tags, (token, first frame) …) by greedy CTC decoding: equal neighbours merged, blanks dropped."""
    frames = ids[PROMPT_FRAMES:]
    starts = [(t, i) for i, t in enumerate(frames) if t != BLANK and (i == 0 or frames[i - 1] != t)]
    return tuple(ids[:PROMPT_FRAMES]), tuple(starts)


def cpu_seconds(runs: Sequence[Callable[[], object]], rounds: int) -> list[float]:
    """The least CPU seconds of each over `rounds` turns. The caller has run each once before.

    Some kernels count CPU time in ticks of milliseconds. So a run shorter than TURN_SECONDS is measured in wall time,
    several times a turn and in at least LEAST_TURNS turns. For such a short time the least is as good a measure.
    """
    times = [_times(run) for run in runs]
    least = [math.inf] * len(runs)
    for _ in range(rounds if max(times) == 1 else max(rounds, LEAST_TURNS)):
        for place, run in enumerate(runs):
            for _ in range(times[place]):
                least[place] = min(least[place], _seconds(run))
    return least


def _seconds(run: Callable[[], object]) -> float:
    cpu, wall = time.process_time(), time.perf_counter()
    run()
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    return cpu if cpu > TURN_SECONDS else wall


def _times(run: Callable[[], object]) -> int:
    before = time.perf_counter()
    run()
    return max(1, min(MOST_TIMES, math.ceil(TURN_SECONDS / max(1e-6, time.perf_counter() - before))))


def at_length(feeds: Feeds, frames: int) -> dict[str, Array]:
    """The same clip cut or repeated to `frames` feature frames: f32 [1,T,F] first, i32 [1] lengths second."""
    speech, lengths, *others = feeds
    source = feeds[speech]
    repeats = -(-frames // source.shape[1])
    made = {speech: np.ascontiguousarray(np.tile(source, (1, repeats, 1))[:, :frames])}
    made[lengths] = np.full_like(feeds[lengths], frames)
    return made | {name: feeds[name] for name in others}
