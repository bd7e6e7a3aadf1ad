"""Turns an accepted private copy into the artifact that workers load.

Writes the description, makes everything durable and read-only, and renames the directory into place. Invariant: a
directory under an artifact's name is whole; what is not whole has a name that begins `.tmp-`.
"""

from __future__ import annotations

from pathlib import Path

import onnxruntime as ort

from ..artifact import Artifact, BadArtifact, artifact_name, put_in_place, read_artifact, write_artifact
from ..protocol import GateDone
from .context import Context
from .private import discard


def publish(context: Context, gates: tuple[GateDone, ...]) -> Path:
    """The finished artifact's path; the private directory is gone afterwards. Raises OSError.

    When a whole artifact of the same version and digest is there already, it stays and the copy is dropped.
    """
    candidate = context.candidate
    artifact = Artifact(
        version=candidate.version,
        digest=context.digest,
        kind=candidate.kind,
        model=context.model,
        files=context.files,
        onnxruntime=ort.__version__,
        load_bytes=context.load_bytes,
        gates=gates,
    )
    target = context.directory.parent / artifact_name(candidate.version, context.digest)
    if _is_there(target, artifact):
        discard(context.directory)
        return target
    write_artifact(context.directory, artifact)
    put_in_place(context.directory, target)
    return target


def _is_there(target: Path, wanted: Artifact) -> bool:
    try:
        found = read_artifact(target)
    except BadArtifact:
        return False
    return (found.version, found.digest, found.kind) == (wanted.version, wanted.digest, wanted.kind)
