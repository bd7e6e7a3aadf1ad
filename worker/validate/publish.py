"""Describes an accepted private copy as the artifact that workers load.

It writes the description, and makes everything durable and read-only; the daemon checks it and renames the directory
into place. Before that, a draft of the description lets others read the copy during the validation. Invariant: nothing
outside the private directory is touched.
"""

from __future__ import annotations

import onnxruntime as ort

from ..child_protocol import GateDone
from ..shared.artifact import (
    DESCRIPTION,
    Artifact,
    describe,
    write_artifact,
)
from .context import Context


def complete(context: Context, gates: tuple[GateDone, ...]) -> None:
    """Makes an artifact of the private directory, whole and durable. Raises OSError."""
    (context.directory / DESCRIPTION).unlink(missing_ok=True)  # the draft
    write_artifact(context.directory, _artifact(context, gates))


def draft(context: Context) -> None:
    """Describes the copy for programs that read it before it is accepted; neither durable nor sealed. Raises
    OSError.
    """
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
