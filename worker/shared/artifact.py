"""An accepted version in the daemon's own form: an immutable directory with `artifact.json` in it.

It writes and reads that description; the daemon names the directory. It does not judge models. Invariant: what
`read_artifact` returns is whole and was written by this user or by root. Every file that it names is there in its full
size, and no other file is. Anything torn, foreign or of another format raises. Contents are hashed once, when they are
copied. Reading checks only sizes, owners, modes and names, so that a worker's start does not read gigabytes.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct, field

from ..child_protocol import GateDone
from .unreadable import UNREADABLE

FORMAT: Final = 1
DESCRIPTION: Final = "artifact.json"
COMPILED: Final = "compiled"
"""The directory of a compiled form inside its directory."""
FORMS: Final[Mapping[str, tuple[str, ...]]] = {"mapped": ("mapped",), "rewritten": ("exact", "fast")}
"""The possible results of each stage of compilation."""
MAX_DESCRIPTION_BYTES: Final = 16 << 20
FILE_MODE: Final = 0o440
DIRECTORY_MODE: Final = 0o750  # writable by the owner: the daemon must be able to remove it

_DIGEST_HEAD: Final = 16
_MAX_VERSION_BYTES: Final = 255 - 1 - _DIGEST_HEAD
_SHA256: Final = re.compile(r"[0-9a-f]{64}")


class BadArtifact(ValueError):
    """A directory that is not a whole artifact of ours; the text names the file and the reason."""


class ArtifactFile(Struct, frozen=True):
    """One file of an artifact: its size and the SHA-256 (hex) of its contents when it was written."""

    bytes: int
    sha256: str


class Artifact(Struct, frozen=True):
    """The content of `artifact.json`. `model` is the ONNX file to load, relative; `load_bytes` the memory that loading
    took.

    `form` is "plain" when there are only the version's files as they came. Otherwise it is mapped, exact or fast, and
    `compiled_model` is the compiled form's file beside them. A form is good only on a machine with the same `key`,
    which depends on the requested `level`. With `lone_threads` threads it was proved to answer the same, bit for bit
    (0: with none).
    """

    version: str
    digest: str
    kind: str
    model: str
    files: dict[str, ArtifactFile]
    onnxruntime: str
    form: str = "plain"
    compiled_model: str = ""
    level: str = ""
    key: str = ""
    lone_threads: int = 0
    load_bytes: int = 0
    gates: tuple[GateDone, ...] = ()
    format: int = FORMAT
    compiled: dict[str, str | float | bool] = field(default_factory=dict)


def is_digest(text: str) -> bool:
    """Whether it is a SHA-256 in hex."""
    return bool(_SHA256.fullmatch(text))


def digest_of(files: Mapping[str, ArtifactFile]) -> str:
    """The version's identity: SHA-256 (hex) over `<sha256>  <name>` lines of all its files, sorted by name."""
    lines: Iterable[str] = (f"{files[name].sha256}  {name}\n" for name in sorted(files))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def original_files(artifact: Artifact) -> dict[str, ArtifactFile]:
    """The version's own files in an artifact, without those of a compiled form beside them."""
    if not artifact.compiled_model:
        return dict(artifact.files)
    return {name: file for name, file in artifact.files.items() if not name.startswith(f"{COMPILED}/")}


def artifact_name(version: str, digest: str) -> str:
    """The directory name of an artifact: the version's name and the start of its digest, at most 255 bytes."""
    return f"{version.encode()[:_MAX_VERSION_BYTES].decode(errors='ignore')}-{digest[:_DIGEST_HEAD]}"


def form_name(version: str, digest: str, key: str, form: str) -> str:
    """The directory name of a compiled form: that of the artifact, the start of the key, the form."""
    ending = f"-{digest[:_DIGEST_HEAD]}-{key[:_DIGEST_HEAD]}-{form}"
    return version.encode()[: 255 - len(ending)].decode(errors="ignore") + ending


def create_description(directory: Path) -> int:
    """A new, empty description in `directory`, open for writing, for `write_artifact`. Raises OSError."""
    return os.open(
        directory / DESCRIPTION, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, FILE_MODE
    )


def describe(directory: Path, artifact: Artifact, descriptor: int | None = None) -> None:
    """Writes only the description. `descriptor` is that of `create_description`; it is closed. Raises OSError."""
    data = msgspec.json.format(msgspec.json.encode(artifact), indent=1)
    with open(create_description(directory) if descriptor is None else descriptor, "wb") as f:
        f.write(data)


def write_artifact(directory: Path, artifact: Artifact, descriptor: int | None = None) -> None:
    """Writes the description into `directory`, makes everything in it read-only and durable. Raises OSError.

    The daemon renames the directory into place after this returns. `descriptor` is that of `create_description`; it is
    closed.
    """
    describe(directory, artifact, descriptor)
    for parent, names, files in os.walk(directory, topdown=False):
        for name in files:
            _seal(Path(parent, name), FILE_MODE)
        for name in names:
            _seal(Path(parent, name), DIRECTORY_MODE)
    _seal(directory, DIRECTORY_MODE)


def read_artifact(directory: Path) -> Artifact:
    """The artifact in `directory`. Raises BadArtifact when it is torn, foreign, or of another format."""
    try:
        return _read(directory)
    except OSError as e:
        raise BadArtifact(f"cannot use artifact {directory}: {e.filename or DESCRIPTION}: {e.strerror}") from e


def _read(directory: Path) -> Artifact:
    _ours(directory, directory.lstat(), stat.S_IFDIR)
    description = directory / DESCRIPTION
    descriptor = os.open(description, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(descriptor, "rb") as f:
        _ours(description, os.fstat(f.fileno()), stat.S_IFREG)
        data = f.read(MAX_DESCRIPTION_BYTES + 1)
    artifact = _parse(data, directory)
    there = _files_below(directory)
    there.discard(DESCRIPTION)
    if unlisted := sorted(there - artifact.files.keys()):
        raise BadArtifact(f"cannot use artifact {directory}: {unlisted[0]} is not listed in {DESCRIPTION}")
    for name, entry in artifact.files.items():
        status = (directory / name).lstat()
        _ours(directory / name, status, stat.S_IFREG)
        if status.st_size != entry.bytes:
            raise BadArtifact(
                f"cannot use artifact {directory}: {name} has {status.st_size} bytes, {entry.bytes} were written"
            )
    return artifact


def _parse(data: bytes, directory: Path) -> Artifact:
    if len(data) > MAX_DESCRIPTION_BYTES:
        raise BadArtifact(f"cannot use artifact {directory}: {DESCRIPTION} has over {MAX_DESCRIPTION_BYTES} bytes")
    try:
        artifact = msgspec.json.decode(data, type=Artifact)
    except UNREADABLE as e:
        raise BadArtifact(f"cannot use artifact {directory}: {DESCRIPTION}: {e}") from e
    if artifact.format != FORMAT:
        raise BadArtifact(f"cannot use artifact {directory}: format {artifact.format}, this program reads {FORMAT}")
    for name in artifact.files:
        parts = name.split("/")
        if name == DESCRIPTION or any(part in ("", ".", "..") or "\0" in part for part in parts):
            raise BadArtifact(f"cannot use artifact {directory}: {name!r} is not the name of a file inside it")
    if artifact.model not in artifact.files:
        raise BadArtifact(f"cannot use artifact {directory}: its model {artifact.model!r} is not among its files")
    if artifact.compiled_model and artifact.compiled_model not in artifact.files:
        raise BadArtifact(f"cannot use artifact {directory}: {artifact.compiled_model!r} is not among its files")
    hashes = [artifact.digest, *(entry.sha256 for entry in artifact.files.values())]
    if not all(map(is_digest, hashes)):
        raise BadArtifact(f"cannot use artifact {directory}: {DESCRIPTION}: a wrong digest")
    return artifact


def _files_below(directory: Path) -> set[str]:
    """Relative names of everything below that is not a directory; links are not followed."""
    found: set[str] = set()
    for parent, names, files in os.walk(directory):
        inside = Path(parent).relative_to(directory)
        for name in names:
            _ours(Path(parent, name), Path(parent, name).lstat(), stat.S_IFDIR)
        found.update((inside / name).as_posix() for name in files)
    return found


def _ours(path: Path, status: os.stat_result, kind: int) -> None:
    """Raises BadArtifact unless it is of this kind (stat.S_IF…), belongs to us or root, and others cannot write it."""
    if stat.S_IFMT(status.st_mode) != kind:
        raise BadArtifact(
            f"cannot use artifact: {path} is not a {'directory' if kind == stat.S_IFDIR else 'regular file'}"
        )
    if status.st_uid not in (os.geteuid(), 0):
        raise BadArtifact(f"cannot use artifact: {path} belongs to uid {status.st_uid}, not to us or root")
    if kind == stat.S_IFREG and status.st_mode & (stat.S_ISUID | stat.S_ISGID):
        raise BadArtifact(f"cannot use artifact: {path} would run as another user (mode {status.st_mode & 0o7777:04o})")
    if status.st_mode & 0o022:
        raise BadArtifact(f"cannot use artifact: {path} is writable by others (mode {status.st_mode & 0o7777:04o})")


def _seal(path: Path, mode: int) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if os.fstat(descriptor).st_mode & 0o777 != mode:  # a group that a directory hands down does not matter
            os.fchmod(descriptor, mode)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
