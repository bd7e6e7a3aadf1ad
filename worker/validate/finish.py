"""Turns an accepted private copy into the artifact that workers load.

Writes the description, makes everything durable and read-only, and renames the directory into place. Before that, a
draft of the description lets others read the copy while it is judged. Invariant: a directory under an artifact's name
is whole and accepted; any other has a name that begins `.tmp-`.
"""

from __future__ import annotations

from pathlib import Path

import onnxruntime as ort

from ..artifact import (
    DESCRIPTION,
    Artifact,
    BadArtifact,
    artifact_name,
    describe,
    put_in_place,
    read_artifact,
    write_artifact,
)
from ..protocol import GateDone
from .context import Context
from .private import discard


def publish(context: Context, gates: tuple[GateDone, ...]) -> Path:
    """The finished artifact's path; the private directory is gone afterwards. Raises OSError.

    When a whole artifact of the same version and digest is there already, it stays and the copy is dropped.
    """
    artifact = _artifact(context, gates)
    target = context.directory.parent / artifact_name(artifact.version, context.digest)
    if _is_there(target, artifact):
        discard(context.directory)
        return target
    (context.directory / DESCRIPTION).unlink(missing_ok=True)  # the draft
    write_artifact(context.directory, artifact)
    put_in_place(context.directory, target)
    return target


def draft(context: Context) -> None:
    """Describes the copy for those that read it before it is accepted; neither durable nor sealed. Raises OSError."""
    describe(context.directory, _artifact(context, ()))


def _artifact(context: Context, gates: tuple[GateDone, ...]) -> Artifact:
    return Artifact(
        version=context.candidate.version,
        digest=context.digest,
        kind=context.candidate.kind,
        model=context.model,
        files=context.files,
        onnxruntime=ort.__version__,
        load_bytes=context.load_bytes,
        gates=gates,
    )


def _is_there(target: Path, wanted: Artifact) -> bool:
    try:
        found = read_artifact(target)
    except BadArtifact:
        return False
    return (found.version, found.digest, found.kind) == (wanted.version, wanted.digest, wanted.kind)
