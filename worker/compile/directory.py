"""The directory of one compiled form: made in the directory that the daemon gave, filled, described.

A form holds hard links to all files of the version's artifact and, in `compiled/`, its own: no byte of the version is
stored twice. Everything that needs a right over the artifact's files is done in `prepare`, before the compiler reads a
model. Invariant: nothing outside the given directory is touched; the daemon renames what was made into place.
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
    """A directory under way. `description` is a descriptor of its empty artifact.json."""

    path: Path
    description: int

    @property
    def compiled(self) -> Path:
        """Where the form's own files go; the only part that the compiler may write to."""
        return self.path / COMPILED

    def complete(self, plain: Artifact, made: Artifact, files: Mapping[str, ArtifactFile]) -> None:
        """Describes and seals the form, durably. Raises OSError.

        `made` says what was made, `files` are its own files, relative to `compiled`.
        """
        own = {f"{COMPILED}/{name}": file for name, file in files.items()}
        artifact = replace(made, files={**original_files(plain), **own})
        write_artifact(self.path, artifact, self.description)


def described(plain: Artifact, stage: str, level: str) -> Artifact:
    """What the description of a form of this stage begins with; `level` is the one that was asked for. Reads files."""
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
    """The new directory `path` for a form of the artifact `plain` that lies in `source`. Raises OSError."""
    path.mkdir(mode=_DIRECTORY_MODE)
    for name in original_files(plain):
        (path / name).parent.mkdir(mode=_DIRECTORY_MODE, parents=True, exist_ok=True)
        link_or_copy(source / name, path / name)
    (path / COMPILED).mkdir(mode=_DIRECTORY_MODE)
    return FormDirectory(path, create_description(path))


def link_or_copy(source: Path, target: Path) -> None:
    """The same file under another name; a copy where the file system refuses that. Raises OSError."""
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:  # too many links, or a file system without them
        shutil.copyfile(source, target, follow_symlinks=False)


def form_elsewhere(root: Path, wanted: Artifact, forms: tuple[str, ...]) -> tuple[Path, Artifact] | None:
    """A whole form of the same bytes and key that was made under another name of the version; None when there is none.

    `wanted` names digest and key, `forms` what will do.
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
    """Makes the form that lies in `place` the version's own. Raises OSError."""
    files = {}
    for name, file in other.files.items():
        if name.startswith(f"{COMPILED}/"):
            inside = name.removeprefix(f"{COMPILED}/")
            link_or_copy(place / name, directory.compiled / inside)
            files[inside] = file
    directory.complete(plain, replace(other, version=plain.version), files)
