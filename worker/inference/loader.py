"""Loads an artifact as the kind of model it is. Only this module knows which module serves which kind.

It imports a kind's module when the kind is chosen, so that a missing library is noticed when the process starts and not
at the first reload. It must not keep anything: what it returns belongs to the engine.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from ..protocol import WorkerSettings
from ..shared.artifact import DESCRIPTION, Artifact, read_artifact
from ..shared.machine_features import form_key

Samples = npt.NDArray[np.float32]
Place = tuple[int, ...]
"""First sample, sample after the last, and the channel where channels were split."""


class Model(Protocol):
    """What the engine uses of a model of any kind."""

    @property
    def mappings(self) -> int:
        """How many times its weights are mapped into memory."""

    def warm(self) -> None:
        """Runs once, so that the first request finds pages and caches in place."""


class SpeechModel(Model, Protocol):
    """What a speech recogniser offers. Samples are mono, 16 kHz, float32, shape (samples,)."""

    languages: frozenset[str]

    def cut(self, samples: Samples, *, trim: bool = False) -> Sequence[tuple[int, int]]:
        """Pieces of at most 30 s as (first sample, sample after the last); none without voice.

        With `trim` without longer silences.
        """

    def lone_threads(self) -> int:
        """The number of threads for a run that has the machine alone now; 1 for no more than any other run."""

    def recognize(self, samples: Samples, threads: int = 1, *, language: str, itn: bool, options: Any) -> Any:
        """The text of one piece. `options` comes from `options()` and ends the run when its `terminate` is set.

        `threads` above 1 is what `lone_threads` returned.
        """

    def join(self, pieces: Sequence[tuple[Place, Any]], samples: int) -> dict[str, Any]:
        """The answer for the whole clip from its pieces and their places."""

    def options(self) -> Any:
        """An object with an attribute `terminate` that other threads may set."""


class LoadedVersion(Struct, frozen=True, eq=False, weakref=True):
    """A version in memory, warm. A request keeps the one that it began with.

    `created` is when its artifact was made, seconds since 1970; 0 when that is not known.
    """

    version: str
    digest: str
    artifact: str
    model: Model
    created: int = 0


Load = Callable[[str, str], LoadedVersion]  # version, artifact directory; may raise anything


class UnknownKind(ValueError):
    """No module serves this kind of model."""


KINDS: Final = {"sensevoice": ".sensevoice_model", "tensor": ".tensor_model"}
SPEECH_KINDS: Final = frozenset({"sensevoice"})


def loader(settings: WorkerSettings, report: Callable[[str], None] = lambda text: None) -> Load:
    """A function (version, artifact directory) -> LoadedVersion for the settings' kind.

    `report` is called when a compiled form cannot be used and the version is served as it came. Raises UnknownKind, or
    ImportError when a library is missing. The returned function raises BadArtifact, BadSenseVoiceFiles, OSError and
    whatever the runtime raises on a bad model.
    """
    if settings.kind not in KINDS:
        raise UnknownKind(f"cannot serve kind {settings.kind!r}; known: {', '.join(sorted(KINDS))}")
    module = importlib.import_module(KINDS[settings.kind], __package__)

    def load(version: str, directory: str) -> LoadedVersion:
        artifact = read_artifact(Path(directory))
        if artifact.version != version:
            raise ValueError(f"cannot load {version}: {directory} holds {artifact.version}")
        if artifact.kind != settings.kind:
            raise ValueError(
                f"cannot load {version}: it is of kind {artifact.kind}, this worker serves {settings.kind}"
            )
        model = _compiled(module, artifact, Path(directory), settings, report) or module.load(
            Path(directory), model=artifact.model, threads=settings.threads, providers=settings.providers
        )
        created = int((Path(directory) / DESCRIPTION).stat().st_mtime)
        return LoadedVersion(version=version, digest=artifact.digest, artifact=directory, model=model, created=created)

    return load


def _compiled(
    module: Any, artifact: Artifact, directory: Path, settings: WorkerSettings, report: Callable[[str], None]
) -> Any | None:
    """The compiled form, open; None when there is none, when none fits this machine, or when it cannot be opened."""
    if not artifact.compiled_model:
        return None
    if artifact.key != form_key(artifact.digest, artifact.level):
        report(f"{artifact.version} was compiled for another ONNX Runtime or processor; served as it came")
        return None
    try:
        model = module.load(
            directory,
            model=artifact.compiled_model,
            threads=settings.threads,
            providers=settings.providers,
            mapped=True,
        )
    except (ValueError, RuntimeError, OSError) as e:
        report(f"the compiled form of {artifact.version} can't be used: {e}; served as it came")
        return None
    if artifact.lone_threads > settings.threads:
        model.allow_lone(artifact.lone_threads, settings.providers, report)
    return model
