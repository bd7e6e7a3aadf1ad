"""Makes the stages of a version's compiled forms in turn: the mapped one, then the rewritten one.

It reports each as soon as it is whole, or why there is none. It does not decide how a graph is compiled or what is
served. Invariant: a reported form has answered like the original in this process.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, cast

import numpy as np
import numpy.typing as npt
import onnx
from msgspec.structs import replace

from ..child_protocol import FormLearned, FormMade, FormProgress, FormRefused, FormRequest, FormStarted, FromCompiler
from ..resident_memory import trim
from ..shared.artifact import COMPILED, Artifact, ArtifactFile
from ..shared.machine_features import cpu_flags, form_key
from ..shared.quantities import size
from ..validate.context import printable
from ..validate.gates.golden import OWN, some_clips
from ..validate.kinds import KINDS
from ..validate.measure import private_bytes
from ..validate.model_under_test import BadSubject, OutOfMemory
from ..validate.onnx_graph import Signature
from .compiled import Compiled
from .compiler import compile_mapped, compile_rewritten
from .directory import FormDirectory, described
from .recipe import digest_of_graph, recipe_of
from .steps import Level
from .weights import BadModelFile, read

Send = Callable[[FromCompiler], None]
Feeds = dict[str, npt.NDArray[np.generic]]
_FAILED: Final = "cannot "


def make(request: FormRequest, plain: Artifact, directories: Mapping[str, FormDirectory], send: Send) -> None:
    """Makes a form for each of `directories`, by stage. Raises BadSubject, OutOfMemory, OSError."""
    if not directories:
        return
    # The same files: while the version is judged, the artifact's own directory may be renamed or removed at any moment.
    # So may the form's own directory once it is reported: everything that is needed from it is read before that.
    source = next(iter(directories.values())).path
    clips = some_clips([*([Path(request.golden)] if request.golden else []), source / OWN])
    try:
        graph = read(source / plain.model)
    except BadModelFile as e:
        raise BadSubject(str(e)) from e
    kind, key = KINDS[plain.kind], recipe_key(request, graph)
    feeds = kind.probe_feeds(source, plain.model, Signature(graph), clips, request.threads, request.providers)
    del graph
    trim()
    made_by = set[str]()
    # The cheap form first. If the graph is known, the better one first, which then takes little more time.
    for stage in sorted(directories, key=lambda stage: key in request.learned and stage != "rewritten"):
        if stage == "mapped" and "rewritten" in made_by:
            continue  # the better one exists
        directory = directories[stage]
        send(FormStarted(stage))
        made = _compiled(request, plain, stage, directory, feeds, key, send)
        if made.form == "plain":
            send(FormRefused(stage, printable(made.because), again=made.because.startswith(_FAILED)))
            continue
        answer = _completed(request, plain, stage, directory, made)
        send(answer)
        if isinstance(answer, FormMade):
            made_by.add(stage)


def _compiled(
    request: FormRequest,
    plain: Artifact,
    stage: str,
    directory: FormDirectory,
    feeds: Sequence[Feeds],
    key: str,
    send: Send,
) -> Compiled:
    source, one_clip = directory.path / plain.model, plain.kind == "sensevoice"
    if stage == "mapped":
        return compile_mapped(
            source,
            directory.compiled,
            probe_inputs=feeds,
            threads=request.threads,
            lone_threads=request.lone_threads,
            providers=request.providers,
            one_clip=one_clip,
        )
    known = recipe_of(request.learned[key]) if key in request.learned else None
    made, learned = compile_rewritten(
        source,
        directory.compiled,
        level=cast(Level, request.level),
        probe_inputs=feeds,
        flags=cpu_flags(),
        threads=request.threads,
        lone_threads=request.lone_threads,
        providers=request.providers,
        one_clip=one_clip,
        recipe=known,
        progress=lambda because: send(FormProgress(printable(because))),
    )
    if learned is not None and learned != known:
        send(FormLearned(key, learned.to_json()))
    return made


def recipe_key(request: FormRequest, graph: onnx.ModelProto) -> str:
    """Identifies the versions and machines a recipe is for: graph, ONNX Runtime, processor, level, threads, rewrites.

    `graph` needs no weights.
    """
    return form_key(digest_of_graph(graph), f"{request.level} on {request.threads}")


def _completed(
    request: FormRequest, plain: Artifact, stage: str, directory: FormDirectory, made: Compiled
) -> FormMade | FormRefused:
    try:
        load_bytes = _load_bytes(request, plain, directory, made)
    except (BadSubject, OutOfMemory) as e:
        return FormRefused(stage, printable(f"the compiled form can't be used: {e}"))
    form = "mapped" if stage == "mapped" else made.form
    told: dict[str, str | float | bool] = {
        "form": form,
        "load_seconds": made.load_seconds,
        "load_seconds_original": made.load_seconds_original,
        "load_bytes": load_bytes,
        "load_bytes_original": _original_bytes(plain, made),
        "lone_threads": made.lone_threads,
        **{f"cpu_ratio_{seconds:g}s": ratio for seconds, ratio in made.gain.items()},
        "kept": ", ".join(step.name for step in made.steps if step.kept),
        "refused": "; ".join(f"{step.name}: {step.because}" for step in made.steps if not step.kept),
    }
    artifact = replace(
        described(plain, stage, request.level),
        form=form,
        compiled_model=f"{COMPILED}/{made.model_file}",
        lone_threads=made.lone_threads,
        load_bytes=load_bytes,
        compiled=told,
    )
    files = {name: ArtifactFile(file.bytes, file.sha256) for name, file in made.files.items()}
    directory.complete(plain, artifact, files)
    return FormMade(stage, form, gains(plain, made, load_bytes), told)


def gains(plain: Artifact, made: Compiled, load_bytes: int) -> str:
    """What the form saves: processor time, loading time and memory, each separately."""
    ratios = ", ".join(f"{ratio:.2f} at {seconds:g} s" for seconds, ratio in made.gain.items())
    return (
        f"CPU time {ratios} of the original's; loads in {made.load_seconds:.2f} s instead of "
        f"{made.load_seconds_original:.2f}; {size(load_bytes)} of private memory, "
        f"{size(_original_bytes(plain, made))} for the original"
    )


def _original_bytes(plain: Artifact, made: Compiled) -> int:
    """The memory for loading the original: from its validation, or measured here before the validation ended."""
    return plain.load_bytes or made.private_bytes_original


def _load_bytes(request: FormRequest, plain: Artifact, directory: FormDirectory, made: Compiled) -> int:
    """The memory that a worker needs for the form. Raises BadSubject, OutOfMemory."""
    trim()  # otherwise it loads into memory left by the trials, and seems to need none
    before = private_bytes()
    model = f"{COMPILED}/{made.model_file}"
    subject = KINDS[plain.kind].load(directory.path, model, request.threads, request.providers, mapped=True)
    subject.probe()
    # A second session for lone runs takes at most as much again: the weights are mapped already.
    return max(0, private_bytes() - before) * (2 if made.lone_threads else 1)
