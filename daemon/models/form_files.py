"""Reads which forms of which versions are in the artifact root, and the key that each form has on this machine.

It opens files, so it runs on a thread. It trusts no report of a compiler: a form counts when its directory is complete
and its description names its version.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

from ...worker.shared.machine_features import form_keys
from .artifacts import DESCRIPTION, MAX_DESCRIPTION_BYTES, is_whole
from .form_plan import (
    MAPPED,
    PLAIN,
    RANKS,
    REWRITTEN,
    Form,
)

Describe = Mapping[str, Any]


class FormsFound(Struct, frozen=True):
    """The forms that were found. `keys`: digest → stage → the key that its form has here."""

    forms: tuple[Form, ...] = ()
    keys: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


def read_forms(root: Path, level: str, digests: Iterable[str]) -> FormsFound:
    """Every whole artifact below `root`, and the keys of forms of `digests` at this level."""
    key_of = form_keys()
    try:
        names = sorted(name for name in os.listdir(root) if not name.startswith("."))
    except OSError:
        names = []
    found = tuple(form for name in names if (form := _form(str(root / name), key_of)) is not None)
    keys = {digest: {MAPPED: key_of(digest, MAPPED), REWRITTEN: key_of(digest, level)} for digest in digests}
    return FormsFound(found, keys)


def _form(directory: str, key_of: Callable[[str, str], str]) -> Form | None:
    try:
        with open(os.path.join(directory, DESCRIPTION), "rb") as file:
            description: Describe = json.loads(file.read(MAX_DESCRIPTION_BYTES))
        form = _described(directory, description)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    if form is None or not is_whole(directory):
        return None
    if form.form == PLAIN:
        return form
    usable = form.key == key_of(form.digest, form.level)
    return replace(form, usable=usable)


def _described(directory: str, description: Describe) -> Form | None:
    compiled = bool(description.get("compiled_model"))
    form = str(description.get("form", PLAIN)) if compiled else PLAIN
    if form not in RANKS:
        return None
    own = {name: file for name, file in description["files"].items() if not compiled or name.startswith("compiled/")}
    return Form(
        version=str(description["version"]),
        digest=str(description["digest"]),
        artifact=directory,
        form=form,
        level=str(description.get("level", "")),
        key=str(description.get("key", "")),
        load_bytes=max(0, int(description.get("load_bytes", 0))),
        compiled=dict(description.get("compiled") or {}),
        bytes=sum(int(file["bytes"]) for file in own.values()),
    )
