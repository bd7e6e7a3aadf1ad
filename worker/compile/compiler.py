"""Compiles one version: tries each rewrite, keeps what is proved and pays, writes the mapped form and proves that too.

Nothing is taken on trust: the original's answers are taken first, on the caller's clips and on the same sounds at other
lengths, and every form is held against them. Writes only into `out_dir`; publishing what is there is the caller's
business. Whatever fails, the answer is a plainer form, at worst the original, with the reason.
"""

from __future__ import annotations

import math
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import onnx
import onnxruntime as ort

from . import optimise, prove
from .graph import View, has_branches
from .optimise import CPU, MODEL, ORT_ERRORS, CannotOptimise
from .prove import Answer, Array, Feeds
from .steps import STEPS, Level, Step, plan, verdict

PROOF_FRAMES = (1, 2, 3, 37, 84, 500)  # 60 ms each
TIMED_FRAMES = (84, 500)  # 5 s and 30 s
ROUNDS = 4
FRAME_SECONDS = 0.06

Measure = Callable[[Sequence[Callable[[], object]], int], list[float]]


@dataclass(frozen=True)
class StepDone:
    """A step and what became of it; `because` is for the operator."""

    name: str
    kept: bool
    because: str


@dataclass(frozen=True)
class FileWritten:
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Compiled:
    """What came of it. `form` "plain": use the version as it came; `because` says why, and there are no files.

    With `lone_threads` the form answers bit for bit what it answers with those it was compiled for; 0: not proved.

    `files` are all of the form's files, relative to `out_dir`: a form is whole only while each has this size and hash.
    `gain`: seconds of audio → CPU time of the form over that of the original. Load times in seconds (wall).
    """

    form: Literal["plain", "exact", "fast"]
    because: str = ""
    model_file: str = ""
    files: dict[str, FileWritten] = field(default_factory=dict)
    gain: dict[float, float] = field(default_factory=dict)
    load_seconds: float = 0.0
    load_seconds_original: float = 0.0
    lone_threads: int = 0
    steps: tuple[StepDone, ...] = ()


@dataclass
class _Bench:
    """What a compilation works with: the clips (the caller's `given` first), the original's answers, scratch space."""

    source: Path
    work: Path
    threads: int
    clips: list[Feeds]
    given: int
    timed: list[tuple[float, Feeds]]
    measure: Measure
    wanted: list[Answer] = field(default_factory=list)
    lone_threads: int = 0
    number: int = 0
    until: float = math.inf
    grace: float = 0.0

    def check_time(self) -> None:
        """Raises CannotOptimise when not even what was begun can be finished."""
        if time.perf_counter() > self.until + self.grace:
            raise CannotOptimise("no time was left to finish")

    def fresh(self) -> Path:
        self.number += 1
        return self.work / str(self.number)


@dataclass(frozen=True)
class _Form:
    """A graph on disk, open, with the steps that made it. `level` is what it is proved at."""

    graph: Path
    session: ort.InferenceSession
    level: Level


def compile_model(
    source: Path,
    out_dir: Path,
    *,
    level: Level,
    probe_inputs: Sequence[Feeds],
    flags: Iterable[str],
    threads: int = 1,
    lone_threads: int = 0,
    providers: Sequence[str] = (CPU,),
    one_clip: bool = True,
    rewrites: Sequence[Step] = STEPS,
    measure: Measure = prove.cpu_seconds,
    patience_seconds: float = math.inf,
) -> Compiled:
    """Compile the model at `source` into the empty directory `out_dir`.

    `probe_inputs`: one feed a clip, of one clip at its full length: features f32 [1,T,F], lengths i32 [1], the rest.
    `one_clip`: the model is always run so, and its caller wants best ids, not logits (SenseVoice); otherwise only
    rewrites that hold for every input are tried, and `lone_threads`, with which the form may run too, are not proved.
    `flags`: see `key.flags_in`. `patience_seconds`: after that no further
    rewrite is tried. Raises ValueError without clips; everything that goes wrong with the model or the disk comes back
    as a plainer form.
    """
    if not probe_inputs:
        raise ValueError("cannot compile without probe clips: nothing could be proved")
    if tuple(providers)[:1] not in ((), (CPU,)):
        return Compiled("plain", because=f"compiled forms are for the CPU and {providers[0]} comes first")
    flags = frozenset(flags)
    try:
        with tempfile.TemporaryDirectory(prefix=".work-", dir=out_dir, ignore_cleanup_errors=True) as work:
            until = time.perf_counter() + patience_seconds
            bench = _bench(source, Path(work), threads, probe_inputs, one_clip, measure, until)
            bench.lone_threads = lone_threads if one_clip else 0
            compiled = _compile(bench, out_dir, *plan(rewrites, level, one_clip=one_clip, flags=flags))
            if compiled.form == "plain" and level == "fast":
                refused = StepDone("the fast form", False, compiled.because)
                compiled = _compile(bench, out_dir, *plan(rewrites, "exact", one_clip=one_clip, flags=flags))
                compiled = replace(compiled, steps=(refused, *compiled.steps))
            return compiled
    except (CannotOptimise, OSError, MemoryError) as e:
        return Compiled("plain", because=f"cannot compile: {e or type(e).__name__}; the version is served as it came")


def _bench(
    source: Path,
    work: Path,
    threads: int,
    probes: Sequence[Feeds],
    one_clip: bool,
    measure: Measure,
    until: float,
) -> _Bench:
    """Clips to prove on and to time: the caller's, and for models run one clip at a time those at other lengths."""
    clips: list[Feeds] = list(probes)
    timed: list[tuple[float, Feeds]] = []
    if one_clip:
        longest = max(probes, key=lambda f: next(iter(f.values())).shape[1])
        clips += [prove.at_length(probes[i % len(probes)], n) for i, n in enumerate(PROOF_FRAMES)]
        timed = [(float(round(n * FRAME_SECONDS)), prove.at_length(longest, n)) for n in TIMED_FRAMES]
    else:
        timed = [(0.0, probes[0])]
    bench = _Bench(source, work, threads, clips, len(probes), timed, measure)
    bench.until, bench.grace = until, (until - time.perf_counter()) / 2
    session = optimise.open_model(source, threads)
    bench.wanted = _answers(bench, session)
    return bench


def _compile(
    bench: _Bench, out_dir: Path, groups: Sequence[Sequence[Step]], passed: Sequence[tuple[Step, str]]
) -> Compiled:
    done = [StepDone(step.name, False, because) for step, because in passed]
    best = _start(bench)
    for group in groups:
        if time.perf_counter() > bench.until:
            done += [StepDone(step.name, False, "no time was left to try it") for step in group]
            continue
        best = _best_of(bench, best, group, done)
    graph, proved = best.graph, best.level
    del best
    return _finish(bench, out_dir, graph, proved, tuple(done))


def _start(bench: _Bench) -> _Form:
    """The tidied original, which has to answer as the original does."""
    bench.number += 1
    directory = bench.work / str(bench.number)
    directory.mkdir()
    model = optimise.tidied(bench.source, directory, bench.threads)
    graph = optimise.save(model, bench.fresh())
    shutil.rmtree(directory)
    session = optimise.open_model(graph, bench.threads)
    clip = _difference(bench, _answers(bench, session), "exact")
    if clip is not None:
        raise CannotOptimise(f"the tidied graph answers clip {clip} differently")
    return _Form(graph, session, "exact")


def _best_of(bench: _Bench, before: _Form, group: Sequence[Step], done: list[StepDone]) -> _Form:
    """The cheapest proved form among `before` and what the alternatives make of it; notes each in `done`."""
    best, kept = before, -1
    for step in group:
        form, because = _try(bench, before, step)
        worth = False
        if form is not None:
            worth, because = _weighed(bench, step if best is before else replace(step, limit=1.0), best, form)
        if form is None or not worth:
            done.append(StepDone(step.name, False, because))
            if form is not None:
                shutil.rmtree(form.graph.parent)
            continue
        if best is not before:
            done[kept] = replace(done[kept], kept=False, because=f"{group[-1].name} is faster")
            shutil.rmtree(best.graph.parent)
        best, kept = form, len(done)
        done.append(StepDone(step.name, True, because))
    if best is not before:
        shutil.rmtree(before.graph.parent)
    return best


def _try(bench: _Bench, before: _Form, step: Step) -> tuple[_Form | None, str]:
    """The form that `step` makes, when it changes anything and is proved; else None and the reason."""
    model = onnx.load(before.graph)
    if has_branches(model):
        return None, "the graph has branches or loops, which rewrites do not look into"
    if not step.apply(View(model)):
        return None, "found nothing to change"
    level: Level = "fast" if "fast" in (step.level, before.level) else "exact"
    directory = bench.fresh()
    try:
        graph = optimise.save(model, directory)
        del model
        session = optimise.open_model(graph, bench.threads)
        clip = _difference(bench, _answers(bench, session), level)
    except CannotOptimise as e:
        shutil.rmtree(directory, ignore_errors=True)
        return None, str(e)
    if clip is None:
        return _Form(graph, session, level), ""
    shutil.rmtree(directory)
    what = "logits differ" if level == "exact" else "another text, tag or token time"
    frames = next(iter(bench.clips[clip].values())).shape[1:2]
    return None, f"{what} on clip {clip + 1} of {len(bench.clips)} ({', '.join(map(str, frames))} frames)"


def _finish(bench: _Bench, out_dir: Path, graph: Path, level: Level, done: tuple[StepDone, ...]) -> Compiled:
    """Write the mapped form, open it as a worker does, prove it again, weigh it against the original, hand it over."""
    written = bench.fresh()
    written.mkdir()
    model = optimise.write_mapped(graph, written, bench.threads)
    mapped, load_seconds = _timed_open(lambda: optimise.open_mapped(model, bench.threads))
    original, load_seconds_original = _timed_open(lambda: optimise.open_model(bench.source, bench.threads))
    answers = _answers(bench, mapped)
    clip = _difference(bench, answers, level)
    if clip is not None:
        return Compiled("plain", because=f"the written form answers clip {clip + 1} differently", steps=done)
    ratios = _weigh(bench, original, mapped)
    if max(ratios) > 1.0:
        told = ", ".join(f"{r:.2f}" for r in ratios)
        return Compiled("plain", because=f"the compiled form is slower: CPU time {told} of the original's", steps=done)
    lone = _lone(bench, model, answers)
    gain = {seconds: round(ratio, 3) for (seconds, _), ratio in zip(bench.timed, ratios, strict=True)}
    files = {path.name: FileWritten(*optimise.digest_of(path)) for path in sorted(written.iterdir())}
    for name in files:
        os.replace(written / name, out_dir / name)
    lone_threads = bench.lone_threads if lone and lone[0].kept else 0
    return Compiled(level, "", MODEL, files, gain, load_seconds, load_seconds_original, lone_threads, (*done, *lone))


def _lone(bench: _Bench, model: Path, answers: Sequence[Answer]) -> tuple[StepDone, ...]:
    """Whether the written form answers the same bits with `lone_threads`; empty when that is not wanted."""
    if bench.lone_threads <= bench.threads:
        return ()
    name = f"{bench.lone_threads} threads for a lone run"
    try:
        found = _answers(bench, optimise.open_mapped(model, bench.lone_threads))
    except CannotOptimise as e:
        return (StepDone(name, False, str(e)),)
    same = all(prove.same_bits(one, other) for one, other in zip(answers, found, strict=True))
    return (StepDone(name, same, "" if same else "other bits"),)


def _difference(bench: _Bench, got: Sequence[Answer], level: Level) -> int | None:
    """Index of the first clip that is answered otherwise than by the original; None when the form is proved.

    Level fast promises the same reading of real clips; those cut to other lengths only show that lengths work.
    """
    for i, (wanted, found) in enumerate(zip(bench.wanted, got, strict=True)):
        alike = prove.same_reading if i < bench.given else prove.much_alike
        same = prove.same_bits if level == "exact" else alike
        if not same(wanted, found):
            return i
    return None


def _answers(bench: _Bench, session: ort.InferenceSession) -> list[Answer]:
    found = []
    for clip in bench.clips:
        bench.check_time()
        found.append(prove.answer(_run(session, clip)))
    return found


def _weighed(bench: _Bench, step: Step, before: _Form, after: _Form) -> tuple[bool, str]:
    """Whether `step` pays. One that seems not to is measured once more: a busy neighbour only ever adds time."""
    ratios = _weigh(bench, before.session, after.session)
    worth, because = verdict(step, ratios)
    if worth:
        return worth, because
    again = _weigh(bench, before.session, after.session)
    return verdict(step, [min(pair) for pair in zip(ratios, again, strict=True)])


def _weigh(bench: _Bench, before: ort.InferenceSession, after: ort.InferenceSession) -> list[float]:
    """CPU time of `after` over that of `before`, one number a timed length; finding the best ids counts for both."""
    ratios = []
    for _, clip in bench.timed:
        bench.check_time()
        one, other = bench.measure([lambda c=clip: _read(before, c), lambda c=clip: _read(after, c)], ROUNDS)  # type: ignore[misc]
        ratios.append(other / one if one else 1.0)
    return ratios


def _read(session: ort.InferenceSession, clip: Feeds) -> None:
    first = _run(session, clip)[0]
    if first.ndim == 3:
        first.argmax(-1)


def _run(session: ort.InferenceSession, clip: Feeds) -> list[Array]:
    known = {i.name for i in session.get_inputs()}
    try:
        return list(session.run(None, {name: value for name, value in clip.items() if name in known}))
    except ORT_ERRORS as e:
        raise CannotOptimise(f"cannot run: {' '.join(str(e).split())[:500]}") from e


def _timed_open(opener: Callable[[], ort.InferenceSession]) -> tuple[ort.InferenceSession, float]:
    before = time.perf_counter()
    session = opener()
    return session, round(time.perf_counter() - before, 3)
