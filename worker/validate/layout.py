"""Gate 1: the version holds plain files only, and enough of them; then they are copied.

Names what is not allowed or missing. Fills the context's `files`, `digest` and `model`: every later gate reads the
copy. Raises NoVerdict when the version changed meanwhile or the trouble is the disk's.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from .context import Answer, Context, Hindered, NoVerdict, count, size
from .copy import Changed, copy_files, digest_of
from .kinds import KINDS
from .subject import BadSubject
from .tree import BadTree, Seen, files_of, open_version

MAX_VERSION_BYTES: Final = 64 << 30
_ITS_OWN_FAULT: Final = (errno.EACCES, errno.EPERM, errno.ENAMETOOLONG)


def check(context: Context) -> Answer:
    """Passes when the version is whole as far as names and kinds of files tell, and lies copied in the directory."""
    try:
        root = open_version(context.candidate.path)
        try:
            answer = _judged(context, root)
        finally:
            os.close(root)
    except (BadTree, BadSubject) as e:
        return Answer(False, str(e))
    except (Changed, FileNotFoundError) as e:
        raise NoVerdict(f"it changed while it was read: {e}") from e
    except OSError as e:
        path = e.filename or context.candidate.path
        if e.errno in _ITS_OWN_FAULT:
            return Answer(False, f"{path} can't be read: {e.strerror}")
        raise Hindered(f"cannot copy {path}: {e.strerror}") from e
    return answer


def _judged(context: Context, root: int) -> Answer:
    seen = files_of(root)
    if not seen:
        return Answer(False, "it holds no files")
    if wrong := _too_much(seen, context.directory):
        return Answer(False, wrong)
    model_file = KINDS[context.candidate.kind].model_file
    model_file(Path(context.candidate.path))  # before gigabytes are copied for nothing
    context.files = copy_files(root, seen, context.directory)
    if files_of(root) != seen:
        raise Changed("files came, went or were modified")
    context.model = model_file(context.directory)
    context.digest = digest_of(context.files)
    return Answer(True, f"{count(len(seen), 'file')}, {size(context.bytes)}")


def _too_much(seen: Mapping[str, Seen], directory: Path) -> str:
    """Why these files are not copied, "" when nothing speaks against it. Raises Hindered when the disk is too full."""
    total = sum(file.bytes for file in seen.values())
    if total > MAX_VERSION_BYTES:
        return f"it holds {size(total)}, at most {size(MAX_VERSION_BYTES)}"
    disk = os.statvfs(directory)
    if total > (free := disk.f_bavail * disk.f_frsize):
        raise Hindered(f"cannot copy it: {size(total)} needed below {directory.parent}, {size(free)} free")
    return ""
