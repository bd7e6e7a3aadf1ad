"""Explains why an entry of the model root, or a name in a command, is no version, and what to do about it.

It checks that one entry, follows no link but `current`, and changes nothing. It runs on a thread.
"""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Sequence
from pathlib import Path

from ...worker.shared.file_kinds import kind_of
from ..names import is_version_name, why_ignored
from . import link


def why_no_version(root: Path, link_name: str, name: str) -> str:
    """The reason why there is no version of this name, for a command that was given it."""
    last = name.rstrip("/").rpartition("/")[2]
    if "/" in name:
        return f"a version is given by the name of its directory in {root} alone{f', {last!r}' if last else ''}"
    if name == link_name:
        state = link.read(root, link_name)
        return f"that is the link to the live version: {state}"
    try:
        mode = os.lstat(root / name).st_mode
    except (OSError, ValueError):
        return "there is no such version"
    if stat.S_ISLNK(mode):
        return link_in_place_of_a_version(root, name) or f"that is a link to {_sibling(root, _target(root, name))}"
    if not stat.S_ISDIR(mode):
        return f"that is {kind_of(mode)}, and a version is a directory"
    if not is_version_name(name):
        return why_ignored(name) or "a directory of that name is passed over as a copy under way; rename it"
    return "there is no such version"


def link_in_place_of_a_version(root: Path, name: str) -> str:
    """What to do about a link in the root that leads elsewhere; "" for one to an entry of the root.

    Not followed: what it leads to may be a file system that does not answer.
    """
    target = _target(root, name)
    if not target or _sibling(root, target):
        return ""
    return (
        f"it is a link to {target}, and a version is a directory of its own: `rm {shlex.quote(name)}` and "
        f"`cp -rL {shlex.quote(target)} {shlex.quote(name)}` in {root} put a copy in its place"
    )


def itself_a_version(root: Path, files: Sequence[str]) -> str:
    """What to do about a root without versions that holds a model's files itself; "" when it holds none.

    `files` are the names of its entries that are no directories.
    """
    models = sorted(name for name in files if name.endswith(".onnx"))
    if not models:
        return ""
    return (
        f"{root} holds {models[0]} itself, and a version is a directory in the model root: move the files to {root}/v1,"
        f" or mount the volume at {root}/v1"
    )


def _target(root: Path, name: str) -> str:
    try:
        return os.readlink(root / name)
    except OSError:
        return ""


def _sibling(root: Path, target: str) -> str:
    """The entry of the root that a link in it leads to, by its text alone; "" for none."""
    directory, name = os.path.split(os.path.normpath(root / target))
    return name if directory in (os.path.normpath(root), os.path.realpath(root)) else ""
