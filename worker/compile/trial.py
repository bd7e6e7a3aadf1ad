"""Tries the rewrites one after the other on a part of the model: which of them are proved there, and which are faster.

Alternatives start from the same graph, and the cheapest is kept. The result is for the part only: the form that is made
by it is proved as a whole. Steps for the graph's end are tried on the last layer, all others on the first layers. A
small model, or one without such parts, is tried whole.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import onnx
import onnxruntime as ort
from msgspec import Struct, field
from msgspec.structs import replace

from . import optimise, sample, weights
from .graph import GraphView
from .optimise import CannotOptimise
from .probes import Probes, answers, reader
from .prove import ClipAnswer
from .recipe import StepDone
from .sample import ModelPart
from .steps import (
    FREE_OF_LAST,
    Level,
    RewriteStep,
    is_clear,
    verdict,
)

ROUNDS = 3
TRIES = 2

Measure = Callable[[Sequence[Callable[[], object]], int], list[float]]
Progress = Callable[[str], None]


class Setting(Struct, frozen=True):
    """What all trials of one compilation share. `directory` has the file of weights that the graphs refer to."""

    directory: Path
    threads: int
    probes: Probes
    short: Probes
    measure: Measure
    progress: Progress


class _TrialForm(Struct):
    """A rewritten part, open; `level` is the level at which it is proved."""

    model: onnx.ModelProto
    session: ort.InferenceSession
    level: Level


class _Bench(Struct):
    """A part on which steps are tried, its original answers, and the best form of it so far."""

    setting: Setting
    sample: ModelPart
    probes: Probes
    best: _TrialForm
    wanted: list[ClipAnswer] = field(default_factory=list)


def learn(
    model: onnx.ModelProto,
    groups: Sequence[Sequence[RewriteStep]],
    setting: Setting,
    *,
    small_bytes: int = sample.SMALL_BYTES,
) -> tuple[StepDone, ...]:
    """The result of each step. A model with at most `small_bytes` of weights is tried whole. Raises CannotOptimise."""
    done: list[StepDone] = []
    layers, end = _parts(model, small_bytes)
    bench: _Bench | None = None
    for group in groups:
        part = end if group[0].ends else layers
        if bench is None or bench.sample is not part:
            bench = None  # the session of the other part is closed first
            bench = _bench(part, setting, whole=part.model is model)
            _go_on(bench, [step for g in groups for step in g if any(d.name == step.name and d.kept for d in done)])
        _best_of(bench, group, done)
    return tuple(done)


def _parts(model: onnx.ModelProto, small_bytes: int) -> tuple[ModelPart, ModelPart]:
    """(the first layers, the last one); the whole model twice where it is small or has another structure."""
    whole = ModelPart(model)
    total = sum(weights.size(tensor) for tensor in model.graph.initializer)
    if total <= small_bytes:
        return whole, whole
    layers = sample.first_layers(model, max(total // sample.SHARE, min(sample.LEAST_BYTES, total // 2)))
    end = sample.last_layer(model)
    return (layers, end) if layers is not None and end is not None else (whole, whole)


def _bench(part: ModelPart, setting: Setting, *, whole: bool) -> _Bench:
    known = setting.probes if whole else replace(setting.short, given=0)
    clips = tuple(part.feeds(clip) for clip in known.clips)
    timed = {seconds: part.feeds(clip) for seconds, clip in setting.probes.timed.items()}
    probes = replace(known, clips=clips, timed=timed)
    session = _open(part.model, setting)
    return _Bench(setting, part, probes, _TrialForm(part.model, session, "exact"), answers(session, probes.clips))


def _go_on(bench: _Bench, kept: Sequence[RewriteStep]) -> None:
    """Applies what was kept on another part of the model."""
    model = _copied(bench.best.model)
    if sum([step.apply(GraphView(model, bench.setting.directory)) for step in kept]):
        level: Level = "fast" if any(step.level == "fast" for step in kept) else "exact"
        bench.best = _TrialForm(model, _open(model, bench.setting), level)


def _best_of(bench: _Bench, group: Sequence[RewriteStep], done: list[StepDone]) -> None:
    """Leaves in `bench` the cheapest proved form: the best one so far, or what the alternatives make of it."""
    before, kept = bench.best, -1
    for step in group:
        bench.setting.progress(f"trying: {step.name}")
        form, because = _try(bench, before, step)
        worth = False
        if form is not None:
            as_good = step if bench.best is before else replace(step, limit=1.0)
            worth, because = _weighed(bench, as_good, form)
        if form is None or not worth:
            done.append(StepDone(step.name, False, because))
            continue
        if bench.best is not before:
            done[kept] = replace(done[kept], kept=False, because=f"{step.name} is faster")
        bench.best, kept = form, len(done)
        done.append(StepDone(step.name, True, because))


def _try(bench: _Bench, before: _TrialForm, step: RewriteStep) -> tuple[_TrialForm | None, str]:
    """The form that `step` makes, when it changes anything and is proved; else None and the reason."""
    model = _copied(before.model)
    if not step.apply(GraphView(model, bench.setting.directory)):
        return None, "found nothing to change"
    level: Level = "fast" if "fast" in (step.level, before.level) else "exact"
    try:
        session = _open(model, bench.setting)
        differs = bench.probes.difference(bench.wanted, answers(session, bench.probes.clips), level)
    except CannotOptimise as e:
        return None, str(e)
    return (None, differs) if differs else (_TrialForm(model, session, level), "")


def _weighed(bench: _Bench, step: RewriteStep, form: _TrialForm) -> tuple[bool, str]:
    """Whether `step` is worth keeping. If it seems not to be, it is measured once more: a busy machine only
    adds time.
    """
    if step.ends and bench.sample.width:
        step = replace(step, limit=FREE_OF_LAST)
    ratios = _ratios(bench, form, 1)
    for _ in range(TRIES):
        if is_clear(step, ratios):
            break
        ratios = [min(pair) for pair in zip(ratios, _ratios(bench, form, ROUNDS), strict=True)]
        if verdict(step, ratios)[0]:
            break
    return verdict(step, ratios)


def _ratios(bench: _Bench, form: _TrialForm, rounds: int) -> list[float]:
    """CPU time of `form` divided by that of the best one so far, one number for each timed length."""
    ratios = []
    for clip in bench.probes.timed.values():
        one, other = bench.setting.measure([reader(bench.best.session, clip), reader(form.session, clip)], rounds)
        ratios.append(other / one if one else 1.0)
    return ratios


def _open(model: onnx.ModelProto, setting: Setting) -> ort.InferenceSession:
    path = weights.save(model, setting.directory, "trial.onnx")
    return optimise.open_model(path, setting.threads)


def _copied(model: onnx.ModelProto) -> onnx.ModelProto:
    made = onnx.ModelProto()
    made.CopyFrom(model)
    return made
