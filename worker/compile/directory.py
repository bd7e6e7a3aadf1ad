"""The directory of one compiled form: created in the directory that the daemon gave, filled, described.

A form has hard links to all files of the version's artifact and, in `compiled/`, its own files. So no byte of the
version is stored twice. All work that needs a right over the artifact's files is done in `prepare`, before the compiler
reads a model. Invariant: nothing outside the given directory changes; the daemon renames the result into place.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from ..shared.artifact import (
    COMPILED,
    Artifact,
    ArtifactFile,
    BadArtifact,
    create_description,
    form_name,
    original_files,
    read_artifact,
    write_artifact,
)
from ..shared.machine_features import form_key, runtime

_DIRECTORY_MODE: Final = 0o750


class FormDirectory(Struct, frozen=True):
    """A directory that is being filled. `description` is a descriptor of its empty artifact.json."""

    path: Path
    description: int

    @property
    def compiled(self) -> Path:
        """The directory of the form's own files; the compiler may write only there."""
        return self.path / COMPILED

    def complete(self, plain: Artifact, made: Artifact, files: Mapping[str, ArtifactFile]) -> None:
        """Describes and seals the form, durably. Raises OSError.

        `made` describes the result; `files` are its own files, relative to `compiled`.
        """
        own = {f"{COMPILED}/{name}": file for name, file in files.items()}
        artifact = replace(made, files={**original_files(plain), **own})
        write_artifact(self.path, artifact, self.description)


def described(plain: Artifact, stage: str, level: str) -> Artifact:
    """The first part of the description of a form of this stage; `level` is the requested one. Reads files."""
    wanted = "mapped" if stage == "mapped" else level
    return replace(
        plain,
        files={},
        onnxruntime=runtime(),
        form="plain",
        compiled_model="",
        level=wanted,
        key=form_key(plain.digest, wanted),
        lone_threads=0,
        load_bytes=0,
        compiled={},
    )


def prepare(path: Path, source: Path, plain: Artifact) -> FormDirectory:
    """Creates the directory `path` for a form of the artifact `plain` in `source`. Raises OSError."""
    path.mkdir(mode=_DIRECTORY_MODE)
    for name in original_files(plain):
        (path / name).parent.mkdir(mode=_DIRECTORY_MODE, parents=True, exist_ok=True)
        link_or_copy(source / name, path / name)
    (path / COMPILED).mkdir(mode=_DIRECTORY_MODE)
    return FormDirectory(path, create_description(path))


def link_or_copy(source: Path, target: Path) -> None:
    """Links a file under another name; copies it where the file system refuses that. Raises OSError."""
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:  # too many links, or a file system without them
        shutil.copyfile(source, target, follow_symlinks=False)


def form_elsewhere(root: Path, wanted: Artifact, forms: tuple[str, ...]) -> tuple[Path, Artifact] | None:
    """A whole form of the same bytes and key that was made under another name of the version; None when there is none.

    `wanted` names digest and key, `forms` the kinds that are good enough.
    """
    ending = tuple(form_name("", wanted.digest, wanted.key, form) for form in forms)
    try:
        names = sorted(name for name in os.listdir(root) if name.endswith(ending) and not name.startswith("."))
    except OSError:
        return None
    for name in names:
        try:
            found = read_artifact(root / name)
        except BadArtifact:
            continue
        if (found.digest, found.key) == (wanted.digest, wanted.key) and found.form in forms:
            return root / name, found
    return None


def take_over(directory: FormDirectory, plain: Artifact, place: Path, other: Artifact) -> None:
    """Makes the form in `place` the version's own. Raises OSError."""
    files = {}
    for name, file in other.files.items():
        if name.startswith(f"{COMPILED}/"):
            inside = name.removeprefix(f"{COMPILED}/")
            link_or_copy(place / name, directory.compiled / inside)
            files[inside] = file
    directory.complete(plain, replace(other, version=plain.version), files)
