"""Decides what a path that a person names holds: one version, a model root, a cache of downloads, or an archive.

Pure: it sees a listing, which `tree_listing` makes. It decides which directory is meant and what the version is called;
the validator decides whether it is good. Invariant: where two directories may be meant, neither is chosen.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath
from typing import Final, Literal

from msgspec import Struct

from ..names import is_version_name

GRAPH: Final = ".onnx"
TOKENS: Final = ("tokens.json", "tokens.txt")
FALLBACK_NAME: Final = "model"
MAX_NAMED: Final = 5
_PYTORCH: Final = (".pt", ".pth", ".ckpt", ".safetensors", ".bin")
_ARCHIVES: Final = re.compile(r"(.+?)\.(?:tar|tar\.gz|tgz|tar\.bz2|tbz2?|zip)", re.IGNORECASE)
_SNAPSHOT: Final = re.compile(r"(?P<repository>(?:.*/)?models--[^/]+)/snapshots/(?P<revision>[^/]+)")
_MODELSCOPE: Final = (".msc", ".mv", ".mdl")
"""Files that ModelScope leaves beside what it downloaded."""
_WHICH_FILE: Final = (
    "take model_quant.onnx, tokens.json and am.mvn of iic/SenseVoiceSmall-onnx on ModelScope, or model.int8.onnx and "
    "tokens.txt of csukuangfj/sherpa-onnx-sense-voice-zh-en-ja-ko-yue-2024-07-17 on Hugging Face"
)


class TreeListing(Struct, frozen=True):
    """What lies at a path. `files` and `broken` are relative paths; of a file, the names beside it.

    `broken` are links that lead nowhere. `archive` is the kind of archive that a file begins as. `main` is the revision
    in refs/main by the repository's directory, `link` the version that the link of a model root names. `cut`: there is
    more than was listed.
    """

    path: str
    kind: Literal["directory", "file", "missing", "other"]
    files: frozenset[str] = frozenset()
    broken: frozenset[str] = frozenset()
    archive: str = ""
    main: Mapping[str, str] = {}
    link: str = ""
    cut: bool = False


class VersionFound(Struct, frozen=True):
    """One version: its directory, its name, and its graph where one of several was named."""

    directory: str
    name: str
    graph: str = ""


class RootFound(Struct, frozen=True):
    """A model root."""

    directory: str


class ArchiveFound(Struct, frozen=True):
    """A tar or zip file, and the name of the version in it."""

    path: str
    kind: str
    name: str


class NothingFound(Struct, frozen=True):
    """Nothing that can be served: why, and what to do."""

    because: str


Found = VersionFound | RootFound | ArchiveFound | NothingFound


def recognise(seen: TreeListing) -> Found:
    """What the path holds."""
    if seen.kind == "missing":
        return NothingFound("there is no such file or directory")
    if seen.kind == "other":
        return NothingFound("it is neither a file nor a directory")
    if seen.kind == "file":
        return _file(seen)
    tops = _with_graphs(seen.files)
    if "" in tops:
        return VersionFound(seen.path, name_of(seen.path))
    if _is_root(seen, tops):
        return RootFound(seen.path)
    return _below(seen, tops)


def name_of(path: str) -> str:
    """The name of a version that lies there: of its repository, where the path is one of a cache."""
    place = PurePosixPath(path)
    if found := _SNAPSHOT.fullmatch(path):
        name = found["repository"].rpartition("/")[2].rpartition("--")[2]
    else:
        name = place.name.replace("___", ".")  # ModelScope's way to write a dot
    return name if is_version_name(name) and name != "current" else FALLBACK_NAME


def numbered(name: str, number: int) -> str:
    """The name for another content: NAME, NAME-2, NAME-3."""
    return name if number < 2 else f"{name}-{number}"


def _file(seen: TreeListing) -> Found:
    place = PurePosixPath(seen.path)
    if seen.archive:
        found = _ARCHIVES.fullmatch(place.name)
        return ArchiveFound(seen.path, seen.archive, name_of(found[1] if found else place.name))
    if place.name.endswith(GRAPH):
        if not any(name in seen.files for name in TOKENS):
            return NothingFound("a model needs its tokens: neither tokens.json nor tokens.txt is beside it")
        return VersionFound(str(place.parent), name_of(str(place.parent)), place.name)
    if place.name.endswith(_PYTORCH):
        return NothingFound(f"it is a model of PyTorch, and what is run here is ONNX; {_WHICH_FILE}")
    return NothingFound("it is neither a model (.onnx) nor a tar or zip archive")


def _is_root(seen: TreeListing, tops: frozenset[str]) -> bool:
    """Whether everything at the top is a version, or the link of a model root names one."""
    versions = {top for top in tops if "/" not in top and is_version_name(top)}
    if seen.link and seen.link in versions:
        return True
    directories = {name for path in seen.files if not (name := path.partition("/")[0]).startswith(".") and "/" in path}
    downloaded = any(f"{top}/{mark}" in seen.files for top in versions for mark in _MODELSCOPE)
    return bool(versions) and versions == directories and not downloaded


def _below(seen: TreeListing, tops: frozenset[str]) -> Found:
    candidates = _current_snapshots(seen, tops)
    whole = [top for top in candidates if any(f"{top}/{name}" in seen.files for name in TOKENS)]
    candidates = whole or candidates
    if len(candidates) == 1:
        directory = f"{seen.path.rstrip('/')}/{candidates[0]}"
        return VersionFound(directory, name_of(directory))
    if candidates:
        names = ", ".join(candidates[:MAX_NAMED]) + (", …" if len(candidates) > MAX_NAMED else "")
        return NothingFound(f"it holds {len(candidates)} models; name the directory of one: {names}")
    if lost := sorted(path for path in seen.broken if path.endswith(GRAPH)):
        return NothingFound(
            f"{lost[0]} is a link to a file that is not there; name the directory of the cache itself, or copy it with "
            "cp -rL"
        )
    if any(path.endswith(_PYTORCH) for path in seen.files):
        return NothingFound(f"it has a model of PyTorch alone, and what is run here is ONNX; {_WHICH_FILE}")
    if seen.cut:
        return NothingFound("there are too many files below it; name the directory of the model itself")
    return NothingFound(f"there is no model in it: no .onnx file, at any depth; {_WHICH_FILE}")


def _current_snapshots(seen: TreeListing, tops: Iterable[str]) -> list[str]:
    """Without the snapshots of a repository that another one has replaced."""
    kept = []
    for top in sorted(tops):
        found = _SNAPSHOT.fullmatch(f"{seen.path.rstrip('/')}/{top}")
        if found:
            main = seen.main.get(found["repository"].removeprefix(seen.path.rstrip("/")).strip("/"), "")
            if main and main != found["revision"] and f"{top[: -len(found['revision'])]}{main}" in tops:
                continue
        kept.append(top)
    return kept


def _with_graphs(files: Iterable[str]) -> frozenset[str]:
    return frozenset(path.rpartition("/")[0] for path in files if path.endswith(GRAPH) and not _hidden(path))


def _hidden(path: str) -> bool:
    return any(part.startswith(".") for part in path.split("/"))
