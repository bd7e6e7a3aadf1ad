"""The directory of one compiled form: made aside, filled, renamed into place.

A form holds hard links to all files of the version's artifact and, in `compiled/`, its own: no byte of the version is
stored twice. Everything that needs a right over the artifact's files is done in `prepare`, before the compiler reads a
model. Invariant: what does not begin `.tmp-` is whole.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from ..artifact import (
    Artifact,
    ArtifactFile,
    BadArtifact,
    create_description,
    form_name,
    put_in_place,
    read_artifact,
    write_artifact,
)
from ..machine import form_key, runtime

COMPILED: Final = "compiled"
"""The directory of the compiled form inside its directory."""
UNFINISHED: Final = ".tmp-form-"
FORMS: Final[Mapping[str, tuple[str, ...]]] = {"mapped": ("mapped",), "rewritten": ("exact", "fast")}
"""What each stage may come out as."""
_DIRECTORY_MODE: Final = 0o750


@dataclass(frozen=True)
class FormDirectory:
    """A directory under way. `description` is a descriptor of its empty artifact.json."""

    path: Path
    description: int

    @property
    def compiled(self) -> Path:
        """Where the form's own files go; the only part that the compiler may write to."""
        return self.path / COMPILED

    def publish(self, plain: Artifact, made: Artifact, files: Mapping[str, ArtifactFile]) -> Path:
        """Describes and seals the form and renames it into place: its path. Raises OSError.

        `made` says what was made, `files` are its own files, relative to `compiled`.
        """
        own = {f"{COMPILED}/{name}": file for name, file in files.items()}
        artifact = replace(made, files={**original_files(plain), **own})
        write_artifact(self.path, artifact, self.description)
        target = self.path.parent / form_name(made.version, made.digest, made.key, made.form)
        put_in_place(self.path, target)
        return target


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


def original_files(artifact: Artifact) -> dict[str, ArtifactFile]:
    """The version's own files in an artifact, without those of a compiled form beside them."""
    if not artifact.compiled_model:
        return dict(artifact.files)
    return {name: file for name, file in artifact.files.items() if not name.startswith(f"{COMPILED}/")}


def prepare(root: Path, source: Path, plain: Artifact) -> FormDirectory:
    """A directory below `root` for a form of the artifact `plain` that lies in `source`. Raises OSError."""
    path = root / f"{UNFINISHED}{os.getpid()}-{secrets.token_hex(4)}"
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


def take_over(directory: FormDirectory, plain: Artifact, place: Path, other: Artifact) -> Path:
    """Publishes the form that lies in `place` under the version's own name: its path. Raises OSError."""
    files = {}
    for name, file in other.files.items():
        if name.startswith(f"{COMPILED}/"):
            inside = name.removeprefix(f"{COMPILED}/")
            link_or_copy(place / name, directory.compiled / inside)
            files[inside] = file
    return directory.publish(plain, replace(other, version=plain.version), files)
