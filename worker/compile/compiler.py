"""Compiles one version into files that workers map: only tidied, or with the rewrites that are faster on this machine.

It trusts nothing: every form is compared with the answers of the original. It writes only into `out_dir`; the caller
publishes the result. A failure of the model or the disk is returned as form "plain" with the reason: `because` begins
with "cannot" when another try may succeed.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import onnx
from msgspec import Struct
from msgspec.structs import replace

from . import (
    optimise,
    prove,
    sample,
    trial,
    weights,
)
from .compiled import Compiled
from .finish import CompileJob, NotTheSame, finish
from .graph import GraphView, has_branches
from .optimise import CPU, CannotOptimise
from .probes import (
    FULL,
    KNOWN,
    SHORT,
    Probes,
    probes,
)
from .prove import Feeds
from .recipe import Recipe, StepDone
from .steps import (
    STEPS,
    Level,
    RewriteStep,
    plan,
)

WHOLE = 1 << 62
NO_REWRITE = "no rewrite pays on this processor: the mapped form is as good"


def compile_mapped(
    source: Path,
    out_dir: Path,
    *,
    probe_inputs: Sequence[Feeds],
    threads: int = 1,
    lone_threads: int = 0,
    providers: Sequence[str] = (CPU,),
    one_clip: bool = True,
    measure: trial.Measure = prove.cpu_seconds,
) -> Compiled:
    """The tidied graph in a mapped file, without any rewrite, in the empty directory `out_dir`; proved on short clips.

    `probe_inputs`: one feed for each clip, each of one clip at its full length: features f32 [1,T,F], lengths i32 [1],
    the rest. `one_clip`: the model always runs like that, and its caller wants best ids, not logits (SenseVoice).
    Otherwise `lone_threads`, with which the form may run too, are not proved. Raises ValueError without clips.
    """
    short = probes(probe_inputs, SHORT, one_clip=one_clip)

    def make(work: Path) -> Compiled:
        job = CompileJob(source, out_dir, work, threads, lone_threads if one_clip else 0, measure)
        optimise.tidied(source, work, threads)
        try:
            return finish(job, work / optimise.TIDY, short, "exact", "mapped")
        except NotTheSame as e:
            return Compiled("plain", f"the mapped form is wrong: {e}")

    return _guarded(make, out_dir, providers)


def compile_rewritten(
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
    recipe: Recipe | None = None,
    progress: trial.Progress = lambda _: None,
    rewrites: Sequence[RewriteStep] = STEPS,
    measure: trial.Measure = prove.cpu_seconds,
    small_bytes: int = sample.SMALL_BYTES,
) -> tuple[Compiled, Recipe | None]:
    """The form with the rewrites that `level` allows and that are faster here, and what was learned about the graph.

    `flags` (see `key.flags_in`) are those of the processor that the form is for. A `recipe` is for this graph, machine,
    level and number of threads. Its steps are applied without trials, and bits are compared on five seconds of each
    clip: what depends on the length was proved when the recipe was made. If the result is not proved, steps are tried
    once. `progress` is called with each piece of work that begins. Of a model with more than `small_bytes` of weights,
    steps are tried on a part. The rest is as in `compile_mapped`.
    """
    full, short, known = (probes(probe_inputs, extent, one_clip=one_clip) for extent in (FULL, SHORT, KNOWN))
    flags = frozenset(flags)
    learned: list[Recipe] = []

    def make(work: Path) -> Compiled:
        job = CompileJob(source, out_dir, work, threads, lone_threads if one_clip else 0, measure)
        progress("tidying the graph")
        model = optimise.tidied(source, work, threads)
        setting = trial.Setting(work, threads, full, short, measure, progress)
        wrong: list[StepDone] = []
        for attempt in _attempts(recipe, level, small=_bytes(model) <= small_bytes):
            tried = attempt.recipe or _tried(model, attempt, setting, rewrites, one_clip, flags)
            held = known if attempt.recipe and level == "exact" else full
            made, because = _made(job, model, tried, rewrites, held, progress)
            if made is not None:
                learned.append(tried)
                return replace(made, steps=(*wrong, *tried.steps, *made.steps))
            wrong.append(StepDone(attempt.name, False, because))
        return Compiled("plain", f"the rewritten form is wrong: {wrong[-1].because}", steps=tuple(wrong))

    compiled = _guarded(make, out_dir, providers)
    return compiled, learned[0] if learned else None


class _Attempt(Struct, frozen=True):
    """One way to find the steps: a recipe, or trials on parts of the model, or on all of it."""

    name: str
    level: Level
    small_bytes: int = 0  # what is tried as a whole: nothing
    recipe: Recipe | None = None


def _attempts(recipe: Recipe | None, level: Level, *, small: bool) -> Iterator[_Attempt]:
    """The ways that are tried in turn until one form is proved; a more careful level comes last."""
    if recipe is not None and recipe.level == level:
        yield _Attempt("what was learned about this graph", level, recipe=recipe)
    if not small:
        yield _Attempt("what was found on parts of the model", level)
    yield _Attempt(f"the {level} form", level, WHOLE)
    if level == "fast":
        yield _Attempt("the exact form", "exact", WHOLE)


def _tried(
    model: onnx.ModelProto,
    attempt: _Attempt,
    setting: trial.Setting,
    rewrites: Sequence[RewriteStep],
    one_clip: bool,
    flags: frozenset[str],
) -> Recipe:
    groups, passed = plan(rewrites, attempt.level, one_clip=one_clip, flags=flags)
    done = [StepDone(step.name, False, because) for step, because in passed]
    if has_branches(model):
        because = "the graph has branches or loops, which rewrites do not handle"
        done += [StepDone(step.name, False, because) for group in groups for step in group]
    else:
        done += trial.learn(model, groups, setting, small_bytes=attempt.small_bytes)
    return Recipe(attempt.level, tuple(done))


def _made(
    job: CompileJob,
    model: onnx.ModelProto,
    recipe: Recipe,
    rewrites: Sequence[RewriteStep],
    probes: Probes,
    progress: trial.Progress,
) -> tuple[Compiled | None, str]:
    """(the proved form, or one that is not worth keeping; None and the reason when its answers differ)."""
    steps = [step for step in rewrites if step.name in recipe.kept()]
    if not steps:
        return Compiled("plain", NO_REWRITE), ""
    level: Level = "fast" if any(step.level == "fast" for step in steps) else "exact"
    progress("applying " + ", ".join(step.name for step in steps))
    rewritten = onnx.ModelProto()
    rewritten.CopyFrom(model)
    idle = [step.name for step in steps if not step.apply(GraphView(rewritten, job.work))]
    if idle:
        return None, f"{idle[0]}: found nothing to change"
    graph = weights.save(rewritten, job.work, "rewritten.onnx")
    del rewritten
    progress("proving the rewritten form")
    try:
        return finish(job, graph, probes, level, level), ""
    except NotTheSame as e:
        return None, str(e)


def _guarded(make: Callable[[Path], Compiled], out_dir: Path, providers: Sequence[str]) -> Compiled:
    """Calls `make` with a scratch directory that is removed afterwards. A failure becomes a plain form."""
    if tuple(providers)[:1] not in ((), (CPU,)):
        return Compiled("plain", f"compiled forms are for the CPU and {providers[0]} comes first")
    try:
        with tempfile.TemporaryDirectory(prefix=".work-", dir=out_dir, ignore_cleanup_errors=True) as work:
            return make(Path(work))
    except (CannotOptimise, weights.BadModelFile, OSError, MemoryError) as e:
        return Compiled("plain", f"cannot compile: {e or type(e).__name__}; the version is served as it came")


def _bytes(model: onnx.ModelProto) -> int:
    return sum(weights.size(tensor) for tensor in model.graph.initializer)
