"""Gate 7: the version is not much slower than the one that serves now.

Both answer the same clips in turn in this process, and the fastest of several runs counts, in CPU time where only the
CPU computes: a busy machine slows both and decides nothing. Differences under 10 ms a clip do not count. More memory is
told, not refused: whether there is room is decided when the workers move.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from time import perf_counter, process_time
from typing import Final

from ..artifact import Artifact, BadArtifact, read_artifact
from ..protocol import Candidate
from .context import Answer, Context, size
from .kinds import KINDS
from .subject import BadSubject, OutOfMemory, Subject

ROUNDS: Final = 5
SHARE_OF_TIMEOUT: Final = 0.25
NOT_COUNTED_SECONDS: Final = 0.010
_MEMORY_NOT_COUNTED_BYTES: Final = 64 << 20

Work = Callable[[], object]


def check(context: Context) -> Answer:
    """Passes when the latency is within `max_latency_ratio` of the live version's, or when there is none to compare."""
    candidate = context.candidate
    if not candidate.live_artifact:
        return Answer(True, "no live version to compare with")
    try:
        artifact = read_artifact(Path(candidate.live_artifact))
        if artifact.kind != candidate.kind:
            return Answer(True, f"the live version is of kind {artifact.kind}, not compared")
        live = KINDS[artifact.kind].load(
            Path(candidate.live_artifact), artifact.model, candidate.threads, candidate.providers
        )
        ours, theirs = fastest(_work(context.loaded(), context), _work(live, context), candidate)
    except (BadArtifact, BadSubject, OutOfMemory, MemoryError) as e:
        return Answer(True, f"not compared: the live version can't be run here: {e}", warning=True)
    return _judged(context, ours, theirs, artifact)


def _judged(context: Context, ours: float, theirs: float, live: Artifact) -> Answer:
    """Seconds a clip of the candidate and of the live version, against what is allowed."""
    most = context.candidate.max_latency_ratio
    ratio = ours / max(theirs, 1e-6)
    said = f"{ours * 1000:.0f} ms a clip, {live.version} takes {theirs * 1000:.0f} ms"
    if ratio > most and ours - theirs >= NOT_COUNTED_SECONDS:
        return Answer(False, f"{ratio:.1f} times as slow as the live version, at most {most:.1f} ({said})")
    more = context.load_bytes - live.load_bytes
    if live.load_bytes and context.load_bytes > most * live.load_bytes and more > _MEMORY_NOT_COUNTED_BYTES:
        said += f"; needs {size(context.load_bytes)} of memory, the live version {size(live.load_bytes)}"
        return Answer(True, said, warning=True)
    return Answer(True, said)


def fastest(ours: Sequence[Work], theirs: Sequence[Work], candidate: Candidate) -> tuple[float, float]:
    """The mean over pieces of work of the fastest of several runs, in seconds, for two subjects that take turns."""
    clock = process_time if set(candidate.providers) <= {"CPUExecutionProvider"} else perf_counter
    deadline = perf_counter() + SHARE_OF_TIMEOUT * candidate.timeout_seconds
    best_ours, best_theirs = [float("inf")] * len(ours), [float("inf")] * len(theirs)
    for _ in range(ROUNDS):
        for number, (a, b) in enumerate(zip(ours, theirs, strict=True)):
            best_ours[number] = min(best_ours[number], _seconds(a, clock))
            best_theirs[number] = min(best_theirs[number], _seconds(b, clock))
        if perf_counter() > deadline:
            break
    return sum(best_ours) / len(ours), sum(best_theirs) / len(theirs)


def _work(subject: Subject, context: Context) -> list[Work]:
    return [subject.probe, *(lambda clip=clip: subject.hear(clip) for clip in context.clips)]


def _seconds(work: Work, clock: Callable[[], float]) -> float:
    start = clock()
    work()
    return clock() - start
