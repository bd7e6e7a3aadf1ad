"""The clips that a compilation is proved on, and which answers count as the same on them. No I/O of its own.

The caller's clips come first, whole or shortened. Then come the same sounds at other lengths, because kernels choose
their algorithms by length. Some of the clips are timed too. Invariant: a form that differs on any of them is not used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import onnxruntime as ort
from msgspec import Struct

from . import prove
from .optimise import ORT_ERRORS, CannotOptimise
from .prove import Array, ClipAnswer, Feeds
from .steps import Level

FULL_LENGTHS = (1, 2, 3, 37, 84, 500)  # frames of 60 ms
SHORT_LENGTHS = (1, 2, 3, 37, 84)
FRAME_SECONDS = 0.06


class Extent(Struct, frozen=True):
    """Which clips a form is run on, all lengths in frames.

    `most_frames`: the caller's clips are cut to this (0: whole). `lengths` are the other lengths, and `timed` those
    that are timed too. `most_given`: at most this many of the caller's clips (0: all), spread evenly.
    """

    most_frames: int
    lengths: tuple[int, ...]
    timed: tuple[int, ...]
    most_given: int = 0


FULL = Extent(0, FULL_LENGTHS, (84, 500))  # 5 s and 30 s
SHORT = Extent(17, SHORT_LENGTHS, (37, 84))
# for a graph that was proved on all lengths, prompts and clips with other weights
KNOWN = Extent(84, SHORT_LENGTHS, (84,), most_given=2)


class Probes(Struct, frozen=True):
    """`clips`: the caller's `given` first. `timed`: seconds of audio → a clip; 0 where there is no audio."""

    clips: tuple[Feeds, ...]
    given: int
    timed: dict[float, Feeds]

    def difference(self, wanted: Sequence[ClipAnswer], got: Sequence[ClipAnswer], level: Level) -> str:
        """The first clip with a different answer, described in words; "" when the form is proved.

        Level fast promises the same reading of real clips; clips at other lengths only show that those lengths work.
        """
        for i, (one, other) in enumerate(zip(wanted, got, strict=True)):
            if not self.same(i, one, other, level):
                return self.place(i, level)
        return ""

    def same(self, number: int, wanted: ClipAnswer, got: ClipAnswer, level: Level) -> bool:
        alike = prove.same_reading if number < self.given else prove.much_alike
        return (prove.same_bits if level == "exact" else alike)(wanted, got)

    @property
    def each_length(self) -> tuple[int, ...]:
        """Indexes of the clips, without the caller's clips that differ from the first only in what is spoken."""
        return (0, *range(self.given, len(self.clips)))

    def place(self, number: int, level: Level) -> str:
        what = "logits differ" if level == "exact" else "another text, tag or token time"
        length = ", ".join(map(str, next(iter(self.clips[number].values())).shape[1:2]))
        return f"{what} on clip {number + 1} of {len(self.clips)} ({length} frames)"


def probes(given: Sequence[Feeds], extent: Extent, *, one_clip: bool) -> Probes:
    """The clips to prove a form on; unchanged for a model that is not run clip by clip. Raises ValueError
    without any.
    """
    if not given:
        raise ValueError("cannot compile without probe clips: nothing could be proved")
    if not one_clip:
        return Probes(tuple(given), len(given), {0.0: given[0]})
    if 0 < extent.most_given < len(given):
        given = [given[i * len(given) // extent.most_given] for i in range(extent.most_given)]
    longest, most = max(given, key=_frames), extent.most_frames
    clips: list[Feeds] = [prove.at_length(clip, most) if 0 < most < _frames(clip) else clip for clip in given]
    lengths = [n for n in extent.lengths if n not in extent.timed]
    clips += [prove.at_length(given[i % len(given)], n) for i, n in enumerate(lengths)]
    by_length = {float(round(n * FRAME_SECONDS)): _of_length(clips, longest, n) for n in extent.timed}
    clips += [clip for clip in by_length.values() if not any(clip is known for known in clips)]
    return Probes(tuple(clips), len(given), by_length)


def answers(session: ort.InferenceSession, clips: Sequence[Feeds]) -> list[ClipAnswer]:
    """The answers of a session to each clip. Raises CannotOptimise."""
    return [prove.answer(run(session, clip)) for clip in clips]


def run(session: ort.InferenceSession, clip: Feeds) -> list[Array]:
    """All outputs; inputs that the session does not have are left out. Raises CannotOptimise."""
    known = {i.name for i in session.get_inputs()}
    try:
        return list(session.run(None, {name: value for name, value in clip.items() if name in known}))
    except ORT_ERRORS as e:
        raise CannotOptimise(f"cannot run: {' '.join(str(e).split())[:500]}") from e


def reader(session: ort.InferenceSession, clip: Feeds) -> Callable[[], None]:
    """One run as it is timed: finding the best ids counts."""

    def read() -> None:
        first = run(session, clip)[0]
        if first.ndim == 3:
            first.argmax(-1)

    return read


def _of_length(clips: Sequence[Feeds], longest: Feeds, frames: int) -> Feeds:
    """One of the clips when it is about that long, else the longest one, cut or repeated."""
    near: Iterator[Feeds] = (clip for clip in clips if 0.8 * frames <= _frames(clip) <= 1.25 * frames)
    return next(near, None) or prove.at_length(longest, frames)


def _frames(clip: Feeds) -> int:
    shape = next(iter(clip.values())).shape
    return int(shape[1]) if len(shape) > 1 else 1
