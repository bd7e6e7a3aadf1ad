"""Checks the files that a validator or a compiler left in its directory, and renames the directory into place.

The child may be wrong on purpose. So names, sizes, kinds, owners and modes of the files, and their digest, are compared
with the request. No model is loaded. Invariant: only this module gives a directory in the artifact root a name without
`.tmp-`, and only when the directory is a complete artifact of that name.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Final

from ...worker.child_protocol import FormRequest
from ...worker.shared.artifact import (
    COMPILED,
    DESCRIPTION,
    DIRECTORY_MODE,
    FORMS,
    Artifact,
    BadArtifact,
    artifact_name,
    digest_of,
    form_name,
    original_files,
    read_artifact,
    write_artifact,
)
from ...worker.shared.durable_files import sync_directory
from ...worker.shared.machine_features import form_keys
from .form_plan import MAPPED, PLAIN

REPLACED: Final = ".tmp-form-own-"


def publish_version(directory: Path, root: Path, version: str, digest: str, kind: str) -> Path:
    """The path of the accepted version that a validator left in `directory`, below `root`. Its child has ended.

    When a whole artifact of the same version, digest and kind exists already, that one stays, and `directory` too.
    Raises BadArtifact, OSError.
    """
    made = _read(directory)
    _same("version", made.version, version)
    _same("digest", made.digest, digest)
    _same("kind", made.kind, kind)
    _same("form", (made.form, made.compiled_model), (PLAIN, ""))
    _same("digest of its files", digest_of(made.files), digest)
    return _put(directory, root / artifact_name(version, digest), made)


def publish_form(request: FormRequest, version: str, digest: str, stage: str) -> Path:
    """The path of the form of this stage that a compiler left, below the root. The child may still be at work.

    So it is taken out of reach of the child before it is checked. By name the child may write only to the former
    directory. Raises BadArtifact, OSError.
    """
    directory, root = Path(request.directory, stage), Path(request.root)
    _take_away(directory)
    made = _read(directory)
    wanted = MAPPED if stage == MAPPED else request.level
    _same("version", made.version, version)
    _same("digest", made.digest, digest)
    _same("level", made.level, wanted)
    _same("key", made.key, form_keys()(digest, wanted))
    if made.form not in FORMS[stage]:
        raise BadArtifact(f"its form {made.form[:40]!r} is none of the stage {stage}")
    if not made.compiled_model.startswith(f"{COMPILED}/"):
        raise BadArtifact(f"its model {made.compiled_model[:80]!r} is not in {COMPILED}/")
    _same("digest of the version's files", digest_of(original_files(made)), digest)
    (directory / DESCRIPTION).unlink()  # the child may hold it open
    write_artifact(directory, made)
    return _put(directory, root / form_name(version, digest, made.key, made.form), made)


def _read(directory: Path) -> Artifact:
    try:
        return read_artifact(directory)
    except BadArtifact:
        raise
    except (ValueError, RecursionError) as e:  # a name that is none; a tree deeper than Python recurses
        raise BadArtifact(f"cannot use artifact {directory}: {e}") from e


def _same(what: str, found: object, wanted: object) -> None:
    if found != wanted:
        raise BadArtifact(f"its {what} is {str(found)[:80]!r}, {wanted!r} was asked for")


def _take_away(directory: Path) -> None:
    """Gives the form's own files another directory: a right to the old one is none to them. Raises OSError."""
    own = directory / COMPILED
    old = directory / f"{REPLACED}{secrets.token_hex(4)}"
    own.rename(old)
    if old.is_symlink():
        raise BadArtifact(f"cannot use artifact {directory}: {COMPILED} is a link")
    own.mkdir(mode=DIRECTORY_MODE)
    for name in os.listdir(old):
        (old / name).rename(own / name)
    old.rmdir()


def _put(directory: Path, target: Path, made: Artifact) -> Path:
    if os.path.lexists(target):
        if _is_there(target, made):
            return target
        # torn or foreign: out of the way, and removed as what a killed validator left
        target.rename(target.with_name(f".tmp-torn-{os.getpid()}-{secrets.token_hex(4)}"))
    directory.rename(target)
    sync_directory(target.parent)
    return target


def _is_there(target: Path, made: Artifact) -> bool:
    try:
        found = _read(target)
    except BadArtifact:
        return False
    return _identity(found) == _identity(made)


def _identity(artifact: Artifact) -> tuple[str, ...]:
    return (artifact.version, artifact.digest, artifact.kind, artifact.form, artifact.key)
