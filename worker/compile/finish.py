"""Writes a graph as a form that workers map, opens it as a worker does, proves it and measures it.

The original is opened from its own file and answers the same clips in turn with the form. Those runs are timed, so a
clear gain needs no other runs. Invariant: files get to `out_dir` only when every answer was the same.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import onnxruntime as ort
from msgspec import Struct

from ..resident_memory import trim
from ..validate.measure import private_bytes
from . import optimise, prove
from .compiled import Compiled, FileWritten
from .optimise import MODEL, CannotOptimise
from .probes import (
    Probes,
    answers,
    reader,
    run,
)
from .prove import Array, ClipAnswer, Feeds
from .recipe import StepDone
from .steps import Level, mean
from .trial import Measure

KEPT_AT = 1.03  # of the original's CPU time: the weights are shared between workers and load several times faster
ROUNDS = 3
TELLING_SECONDS = 0.1  # a shorter run is timed separately, in several rounds


class NotTheSame(Exception):
    """A form that answers a clip differently from the original; the text gives the place."""


class CompileJob(Struct, frozen=True):
    """What is compiled, where to and for what. `threads` of any run, `lone_threads` of one alone (0: the same)."""

    source: Path
    out_dir: Path
    work: Path
    threads: int
    lone_threads: int
    measure: Measure


class _Opened(Struct, frozen=True):
    session: ort.InferenceSession
    seconds: float
    bytes: int


def finish(
    job: CompileJob, graph: Path, probes: Probes, level: Level, form: Literal["mapped", "exact", "fast"]
) -> Compiled:
    """The form of the graph in `job.work`; "plain" when it costs too much. Raises NotTheSame, CannotOptimise."""
    written = job.work / "written"
    written.mkdir(exist_ok=True)
    model = optimise.write_mapped(graph, written, job.threads)
    mapped = _open(lambda: optimise.open_mapped(model, job.threads))
    original = _open(lambda: optimise.open_model(job.source, job.threads))
    got, gain = _prove(original.session, mapped.session, probes, level)
    gain = _weigh(original.session, mapped.session, probes, gain, job.measure)
    ratio = mean(list(gain.values()))
    if ratio > KEPT_AT:
        told = f"CPU time {ratio:.2f} of the original's, at most {KEPT_AT:.2f} wanted"
        return Compiled("plain", f"the {form} form is slower: {told}", gain=gain)
    loads, loads_original = (mapped.seconds, original.seconds), (mapped.bytes, original.bytes)
    del mapped, original
    lone = _lone(job, model, probes, got)
    files = {path.name: FileWritten(*optimise.digest_of(path)) for path in sorted(written.iterdir())}
    for name in files:
        os.replace(written / name, job.out_dir / name)
    return Compiled(
        form, "", MODEL, files, gain, *loads, *loads_original,
        job.lone_threads if lone and lone[0].kept else 0, lone,
    )  # fmt: skip


def _open(opener: Callable[[], ort.InferenceSession]) -> _Opened:
    trim()  # otherwise it loads into memory that was just freed, and seems to need none
    before, start = private_bytes(), time.perf_counter()
    session = opener()
    return _Opened(session, round(time.perf_counter() - start, 3), max(0, private_bytes() - before))


def _prove(
    original: ort.InferenceSession, mapped: ort.InferenceSession, probes: Probes, level: Level
) -> tuple[list[ClipAnswer], dict[float, float]]:
    """(the form's answers, CPU ratios of the timed clips whose runs are long enough). Raises NotTheSame."""
    got: list[ClipAnswer] = []
    gain: dict[float, float] = {}
    for number, clip in enumerate(probes.clips):
        outputs, seconds = _timed(mapped, clip)
        found = prove.answer(outputs)
        outputs, seconds_original = _timed(original, clip)
        if not probes.same(number, prove.answer(outputs, bits=bool(found.bits)), found, level):
            raise NotTheSame(probes.place(number, level))
        got.append(found)
        if min(seconds, seconds_original) >= TELLING_SECONDS:
            gain |= {at: seconds / seconds_original for at, timed in probes.timed.items() if timed is clip}
    return got, gain


def _timed(session: ort.InferenceSession, clip: Feeds) -> tuple[list[Array], float]:
    """(outputs, CPU seconds). Finding the best ids counts, whichever part does it."""
    before = time.process_time()
    outputs = run(session, clip)
    if outputs[0].ndim == 3:
        np.argmax(outputs[0], -1)
    return outputs, time.process_time() - before


def _weigh(
    original: ort.InferenceSession,
    mapped: ort.InferenceSession,
    probes: Probes,
    gain: dict[float, float],
    measure: Measure,
) -> dict[float, float]:
    """CPU time of the form divided by that of the original, by length. A result that is too high is measured again."""

    def again(seconds: float) -> float:
        clip = probes.timed[seconds]
        one, other = measure([reader(original, clip), reader(mapped, clip)], ROUNDS)
        return other / one if one else 1.0

    found = {seconds: gain[seconds] if seconds in gain else again(seconds) for seconds in probes.timed}
    if mean(list(found.values())) > KEPT_AT:
        found = {seconds: min(ratio, again(seconds)) for seconds, ratio in found.items()}
    return {seconds: round(ratio, 3) for seconds, ratio in found.items()}


def _lone(job: CompileJob, model: Path, probes: Probes, wanted: Sequence[ClipAnswer]) -> tuple[StepDone, ...]:
    """Whether the written form answers with the same bits with `lone_threads`; empty when that is not wanted.

    How threads share the work depends only on the length of the clip, so one clip of each length is enough.
    """
    if job.lone_threads <= job.threads:
        return ()
    name = f"{job.lone_threads} threads for a lone run"
    try:
        numbers = probes.each_length
        found = answers(optimise.open_mapped(model, job.lone_threads), [probes.clips[n] for n in numbers])
    except CannotOptimise as e:
        return (StepDone(name, False, str(e)),)
    same = all(prove.same_bits(one, other) for one, other in zip([wanted[n] for n in numbers], found, strict=True))
    return (StepDone(name, same, "" if same else "other bits"),)
