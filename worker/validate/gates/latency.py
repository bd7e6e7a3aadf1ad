"""Gate 8: the version is not much slower than the one that serves now.

Both answer the same clips in turn in this process. First the live version's compiled form is used, which loads quickly.
A version that is fast enough beside it is also fast enough beside the live version as it came. Any other is compared
with that. A busy machine must not decide. So a version is too slow only when the fastest of several runs shows it and,
where only the CPU computes, CPU time over all runs shows it too. Differences under 10 ms a clip do not count. More
memory is reported, not refused: the rollout decides whether there is room.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from time import perf_counter, process_time
from typing import Final

from msgspec import Struct

from ...child_protocol import Candidate
from ...shared.artifact import Artifact, BadArtifact, read_artifact
from ...shared.quantities import size
from ..context import Context, GateAnswer
from ..kinds import KINDS
from ..model_under_test import BadSubject, OutOfMemory, Subject

ROUNDS: Final = 5
LEAST_ROUNDS: Final = 2
SHARE_OF_TIMEOUT: Final = 0.25
NOT_COUNTED_SECONDS: Final = 0.010
_MEMORY_NOT_COUNTED_BYTES: Final = 64 << 20
_CPU: Final = frozenset(("CPUExecutionProvider",))

Work = Callable[[], object]


class SubjectTimes(Struct):
    """How long one subject took, in seconds: the fastest run of each piece of work, and CPU time over all runs."""

    fastest: list[float]
    runs: int = 0
    cpu: float = 0.0

    @property
    def wall_seconds(self) -> float:
        """The mean, over the pieces of work, of the fastest run."""
        return sum(self.fastest) / len(self.fastest)

    @property
    def cpu_seconds(self) -> float:
        """The mean over all runs. Its clock may have coarse steps, so a single run means little."""
        return self.cpu / max(1, self.runs)

    def run(self, number: int, work: Work) -> None:
        """Does piece `number` of the work once and measures it."""
        wall, cpu = perf_counter(), process_time()
        work()
        self.cpu += process_time() - cpu
        self.fastest[number] = min(self.fastest[number], perf_counter() - wall)
        self.runs += 1


def check(context: Context) -> GateAnswer:
    """Passes when the latency is within `max_latency_ratio` of the live version's, or when there is none to compare
    with.
    """
    candidate = context.candidate
    if not candidate.live_artifact:
        return GateAnswer(True, "no live version to compare with")
    directory = Path(candidate.live_artifact)
    try:
        artifact = read_artifact(directory)
        if artifact.kind != candidate.kind:
            return GateAnswer(True, f"the live version is of kind {artifact.kind}, not compared")
        for live, form in _live_forms(directory, artifact, candidate):
            ours, theirs = _paces(context, live)
            answer = _judged(context, ours, theirs, artifact, form)
            if answer.passed:
                break
    except (BadArtifact, BadSubject, OutOfMemory, MemoryError) as e:
        return GateAnswer(True, f"not compared: the live version can't be run here: {e}", warning=True)
    return answer


def _live_forms(directory: Path, artifact: Artifact, candidate: Candidate) -> Iterator[tuple[Subject, str]]:
    """The live version, with a name for it: its compiled form, then as it came. Raises BadSubject, OutOfMemory."""
    load = KINDS[artifact.kind].load
    if artifact.compiled_model:
        with suppress(BadSubject):  # for example made on another machine: the other form is used
            compiled = load(directory, artifact.compiled_model, candidate.threads, candidate.providers, mapped=True)
            yield compiled, f"{artifact.version} ({artifact.form})"
    yield load(directory, artifact.model, candidate.threads, candidate.providers), artifact.version


def _paces(context: Context, live: Subject) -> tuple[SubjectTimes, SubjectTimes]:
    """The paces of the candidate and of the live version."""
    patience_seconds = SHARE_OF_TIMEOUT * context.candidate.timeout_seconds or float("inf")
    ours, theirs = _work(context.loaded(), context), _work(live, context)
    return paces(ours, theirs, patience_seconds, lambda one, other: not _too_slow(context, one, other))


def paces(
    ours: Sequence[Work],
    theirs: Sequence[Work],
    patience_seconds: float,
    enough: Callable[[SubjectTimes, SubjectTimes], bool] = lambda ours, theirs: False,
) -> tuple[SubjectTimes, SubjectTimes]:
    """How long two subjects take for the same pieces of work, in turn.

    It runs a few rounds, until `patience` is over, or until LEAST_ROUNDS are `enough`.
    """
    deadline = perf_counter() + patience_seconds
    first, second = SubjectTimes([float("inf")] * len(ours)), SubjectTimes([float("inf")] * len(theirs))
    for done in range(1, ROUNDS + 1):
        for number, (a, b) in enumerate(zip(ours, theirs, strict=True)):
            first.run(number, a)
            second.run(number, b)
        if perf_counter() > deadline or (done >= LEAST_ROUNDS and enough(first, second)):
            break
    return first, second


def too_slow(ours: SubjectTimes, theirs: SubjectTimes, most: float, *, only_cpu: bool) -> bool:
    """Whether every measure that counts shows that ours takes more than `most` times as long."""
    pairs = [(ours.wall_seconds, theirs.wall_seconds)]
    if only_cpu:
        pairs.append((ours.cpu_seconds, theirs.cpu_seconds))
    return all(a > most * b and a - b >= NOT_COUNTED_SECONDS for a, b in pairs)


def _too_slow(context: Context, ours: SubjectTimes, theirs: SubjectTimes) -> bool:
    candidate = context.candidate
    return too_slow(ours, theirs, candidate.max_latency_ratio, only_cpu=set(candidate.providers) <= _CPU)


def _judged(context: Context, ours: SubjectTimes, theirs: SubjectTimes, live: Artifact, form: str) -> GateAnswer:
    most = context.candidate.max_latency_ratio
    said = f"{_ms(ours)} a clip, {form} takes {_ms(theirs)}"
    if _too_slow(context, ours, theirs):
        ratio = ours.wall_seconds / max(theirs.wall_seconds, 1e-6)
        return GateAnswer(False, f"{ratio:.1f} times as slow as the live version, at most {most:.1f} ({said})")
    more = context.load_bytes - live.load_bytes
    alike = live.form == "plain"  # a compiled form needs less than what it was made from
    if alike and live.load_bytes and context.load_bytes > most * live.load_bytes and more > _MEMORY_NOT_COUNTED_BYTES:
        said += f"; needs {size(context.load_bytes)} of memory, the live version {size(live.load_bytes)}"
        return GateAnswer(True, said, warning=True)
    return GateAnswer(True, said)


def _work(subject: Subject, context: Context) -> list[Work]:
    return [subject.probe, *(lambda clip=clip: subject.transcribe(clip) for clip in context.clips)]


def _ms(pace: SubjectTimes) -> str:
    return f"{pace.wall_seconds * 1000:.0f} ms"
