"""Gate 7: the version is turned into the form that workers map, where that is proved to answer the same and to pay.

Never rejects: the original lies in the artifact too and serves when there is no better form, with the reason said. What
follows is judged on the form that will serve. Fills the context's `compiled_model`, `form`, `lone_threads` and
`compiled`.
"""

from __future__ import annotations

import os
from math import inf
from pathlib import Path
from typing import Final, Literal, cast

from ..artifact import ArtifactFile
from ..compile.compiler import Compiled, compile_model
from ..machine import cpu_flags
from ..memory import trim
from .context import COMPILED, Answer, Context, size
from .kinds import KINDS
from .measure import private_bytes
from .subject import BadSubject, OutOfMemory

SHARE_OF_TIMEOUT: Final = 0.6
"""No further rewrite is tried after this: what was won by then is written, and a slow machine rejects nothing."""


def check(context: Context) -> Answer:
    """Passes; a warning when the version is served as it came although a better form was wanted."""
    candidate = context.candidate
    if candidate.compile == "off":
        return _plain(context, "validation.compile is off", warning=False)
    if not candidate.artifact_root:
        return _plain(context, "nothing is kept of it", warning=False)
    if os.path.lexists(context.directory / COMPILED):
        return _plain(context, f"it has a directory {COMPILED!r} of its own", warning=True)
    probes = context.loaded().feeds(context.clips)
    context.subject = None  # its memory is needed, and another form may take its place
    try:
        made = compile_model(
            context.directory / context.model,
            _fresh(context.directory / COMPILED),
            level=cast(Literal["exact", "fast"], candidate.compile),
            probe_inputs=probes,
            flags=cpu_flags(),
            threads=candidate.threads,
            lone_threads=candidate.lone_threads,
            providers=candidate.providers,
            one_clip=candidate.kind == "sensevoice",
            patience_seconds=SHARE_OF_TIMEOUT * candidate.timeout_seconds or inf,
        )
        if made.form != "plain":
            return _take(context, made)
        answer = _plain(context, made.because, warning=False)
    except (BadSubject, OutOfMemory, MemoryError) as e:
        answer = _plain(context, f"the compiled form can't be used: {e}", warning=True)
    _forget(context)
    context.subject = KINDS[candidate.kind].load(
        context.directory, context.model, candidate.threads, candidate.providers
    )
    return answer


def _take(context: Context, made: Compiled) -> Answer:
    candidate, model = context.candidate, f"{COMPILED}/{made.model_file}"
    trim()  # or it is loaded into what trying the forms left behind, and seems to need nothing
    before = private_bytes()
    subject = KINDS[candidate.kind].load(context.directory, model, candidate.threads, candidate.providers, mapped=True)
    subject.probe()
    # Opened once more for lone runs, it takes as much again at most: the weights are mapped already.
    context.load_bytes = max(0, private_bytes() - before) * (2 if made.lone_threads else 1)
    context.subject, context.compiled_model, context.form = subject, model, made.form
    context.lone_threads = made.lone_threads
    context.files |= {f"{COMPILED}/{name}": ArtifactFile(f.bytes, f.sha256) for name, f in made.files.items()}
    context.compiled = {
        "form": made.form,
        "load_seconds": made.load_seconds,
        "load_seconds_original": made.load_seconds_original,
        "load_bytes": context.load_bytes,
        "lone_threads": made.lone_threads,
        **{f"cpu_ratio_{seconds:g}s": ratio for seconds, ratio in made.gain.items()},
        "kept": ", ".join(step.name for step in made.steps if step.kept),
        "refused": "; ".join(f"{step.name}: {step.because}" for step in made.steps if not step.kept),
    }
    ratios = ", ".join(f"{ratio:.2f} at {seconds:g} s" for seconds, ratio in made.gain.items())
    return Answer(
        True,
        f"{made.form}: CPU time {ratios} of the original's, loads in {made.load_seconds:.2f} s "
        f"instead of {made.load_seconds_original:.2f}, {size(context.load_bytes)} of its own",
    )


def _plain(context: Context, because: str, *, warning: bool) -> Answer:
    context.compiled = {"form": "plain", "because": because}
    return Answer(True, f"served as it came: {because}", warning=warning)


def _forget(context: Context) -> None:
    context.compiled_model, context.form, context.lone_threads = "", "plain", 0
    for name in [name for name in context.files if name.startswith(f"{COMPILED}/")]:
        del context.files[name]
    for path in sorted((context.directory / COMPILED).rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    (context.directory / COMPILED).rmdir()


def _fresh(directory: Path) -> Path:
    directory.mkdir(mode=0o750)
    return directory
