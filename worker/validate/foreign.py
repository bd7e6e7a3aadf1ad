"""Files that only have the name of a model's: Git LFS pointers and pages that a server sent in place of a download.

Reads the first bytes of the files that a model consists of, and reports what they are and which command helps.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping
from typing import Final

from msgspec import Struct

from .safe_walk import FileSeen, open_file

MAX_LOOKED_AT: Final = 100
_HEAD_BYTES: Final = 512
_PARTS: Final = re.compile(r"(?: .*\.(?:onnx|onnx_data|data|bin|json|mvn|ya?ml) | tokens\.txt | SHA256SUMS )", re.X)
_POINTER: Final = b"version https://git-lfs.github.com/spec/"
_PAGE: Final = re.compile(
    rb"(?:\xef\xbb\xbf)? \s* (?:<!--.*?-->\s*)? < (?: !doctype\s+html | html | head | body | \?xml ) \b",
    re.IGNORECASE | re.DOTALL | re.VERBOSE,
)


class Foreign(Struct, frozen=True):
    """A file that is something else than its name promises. `pointer`: Git LFS's, else a page."""

    name: str
    pointer: bool

    @property
    def passing(self) -> bool:
        """Whether the file itself may still come by itself: Git first writes pointers."""
        return self.pointer


def found(root: int, seen: Mapping[str, FileSeen]) -> Foreign | None:
    """The first such file of the version in the directory `root`. Raises OSError and BadTree as reading it may."""
    parts = [name for name in seen if _PARTS.fullmatch(name) and "/" not in name]
    for name in parts[:MAX_LOOKED_AT]:
        head = _head(root, name)
        if head.startswith(_POINTER) or _PAGE.match(head):
            return Foreign(name, head.startswith(_POINTER))
    return None


def sentence(file: Foreign, path: str, seen: Mapping[str, FileSeen]) -> str:
    """What it is, and what to do."""
    if not file.pointer:
        return (
            f"{file.name} is a web page and not the file itself: the server answered the download with a page; "
            f"download it again from the file's own address (on Hugging Face `resolve` in place of `blob`)"
        )
    pointer = f"{file.name} is a Git LFS pointer and not the file itself"
    if any(name.startswith(".git/") for name in seen):
        return f"{pointer}: `git -C {shlex.quote(path)} lfs pull` fetches it"
    return f"{pointer}: `git lfs pull` fetches it into the clone that this was copied from; then copy it again"


def _head(root: int, name: str) -> bytes:
    descriptor = open_file(root, name)
    try:
        return os.read(descriptor, _HEAD_BYTES)
    finally:
        os.close(descriptor)
