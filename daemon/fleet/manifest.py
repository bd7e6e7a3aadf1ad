"""The files of a version that is published: their sizes and digests, and the list that is signed.

It reads the directory and changes nothing in it but the list and its signature. For commands, not for the daemon.
Invariants: a directory with a link, a device or a name that no list can hold is refused: other machines would not get
what this one has. No link is followed that another user can change: a publisher may be root.
"""

from __future__ import annotations

import hashlib
import os
import stat
from io import BufferedReader
from pathlib import Path
from typing import Final

from msgspec import Struct

from ...worker.shared.checksums import MAX_SUMS_BYTES, SUMS
from ...worker.shared.file_kinds import kind_of
from ...worker.shared.minisign_keys import SecretKey, sign
from ...worker.shared.quantities import size
from ...worker.shared.sha256sums import BadSums, parse_sums, written_sums
from ..errors import Refused
from ..names import is_version_name
from ..system.safe_files import replace_safely
from ..system.safe_paths import open_file
from ..system.safe_read import open_regular

SIGNATURE: Final = f"{SUMS}.minisig"
MAX_FILES: Final = 10_000
MODE: Final = 0o644


class Manifest(Struct, frozen=True):
    """What a record says of a version's files: `sha256` is that of SHA256SUMS, `signature_sha256` of its .minisig, ""
    where the version has none; `bytes` of both and of all that is listed."""

    sha256: str
    signature_sha256: str
    bytes: int


def sizes(directory: Path, cannot: str) -> dict[str, int]:
    """The size of each file by its path in the version. Raises Refused, which begins with `cannot`, and OSError."""
    if not directory.is_dir() or not is_version_name(directory.name):
        raise Refused(f"{cannot}: it is not a directory with the name of a version")
    found = dict[str, int]()
    for place, directories, files in os.walk(directory, onerror=_raise):
        for name in (*directories, *files):
            path = Path(place, name)
            seen = path.lstat()
            shown = str(path.relative_to(directory))
            if not shown.isprintable() or not (stat.S_ISDIR(seen.st_mode) or stat.S_ISREG(seen.st_mode)):
                what = kind_of(seen.st_mode) if shown.isprintable() else "a name that cannot be printed"
                raise Refused(f"{cannot}: {shown!a} is {what}; copy the version with cp -rL first")
            if stat.S_ISREG(seen.st_mode):
                found[shown] = seen.st_size
        if len(found) > MAX_FILES:
            raise Refused(f"{cannot}: it has more than {MAX_FILES} files")
    return found


def _raise(error: OSError) -> None:
    raise error


def sign_version(directory: Path, key: SecretKey, comment: str) -> int:
    """Lists every file in SHA256SUMS and signs it; returns how many. Raises Refused, CannotSign, OSError."""
    names = [name for name in sizes(directory, f"cannot sign {directory}") if name not in (SUMS, SIGNATURE)]
    if not names:
        raise Refused(f"cannot sign {directory}: it has no files")
    data = written_sums({name: _sha256(directory, name) for name in names})
    if len(data) > MAX_SUMS_BYTES:
        raise Refused(f"cannot sign {directory}: its list of files has more than {size(MAX_SUMS_BYTES)}")
    signature = sign(data, key, comment)
    replace_safely(directory / SUMS, data, MODE)
    replace_safely(directory / SIGNATURE, signature, MODE)
    return len(names)


def open_member(directory: Path, name: str) -> BufferedReader:
    """A file of a version that is published. Raises OSError."""
    return open_regular(directory / name, open_file)


def manifest(directory: Path) -> Manifest:
    """Raises Refused, OSError."""
    there = sizes(directory, f"cannot publish {directory}")
    if SUMS not in there:
        raise Refused(f"cannot publish {directory}: it has no {SUMS}; `modelward sign` writes and signs it")
    with open_member(directory, SUMS) as file:
        data = file.read(MAX_SUMS_BYTES + 1)
    try:
        sums = parse_sums(data)
    except BadSums as e:
        raise Refused(f"cannot publish {directory}: {SUMS}: {e}") from e
    if missing := sorted(sums.keys() - there.keys()):
        raise Refused(f"cannot publish {directory}: {missing[0]} is listed in {SUMS} and missing")
    signature = _sha256(directory, SIGNATURE) if SIGNATURE in there else ""
    own = sum(there.get(name, 0) for name in (SUMS, SIGNATURE))
    return Manifest(hashlib.sha256(data).hexdigest(), signature, own + sum(there[name] for name in sums))


def names(directory: Path) -> list[str]:
    """The files that machines fetch: the list, its signature, and what it names. Raises Refused, OSError."""
    there = sizes(directory, f"cannot publish {directory}")
    with open_member(directory, SUMS) as file:
        sums = parse_sums(file.read(MAX_SUMS_BYTES + 1))
    return [*(name for name in (SUMS, SIGNATURE) if name in there), *sorted(sums)]


def _sha256(directory: Path, name: str) -> str:
    with open_member(directory, name) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
