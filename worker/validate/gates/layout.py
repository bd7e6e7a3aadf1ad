"""Gate 1: the version holds only plain files, and all that are needed; then they are copied.

It names what is not allowed or missing; the names of our own files are not allowed. It fills the context's `files`,
`digest` and `model`: every later gate reads the copy. It raises NoVerdict when the version changed meanwhile, and
Hindered when the disk is at fault. A copy leaves `min_free` of the disk free, or takes at most a tenth of the free
space.
"""

from __future__ import annotations

import errno
import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from ...shared.artifact import COMPILED, DESCRIPTION, digest_of
from ...shared.quantities import count, size
from .. import foreign
from ..context import (
    Context,
    GateAnswer,
    Hindered,
    NoVerdict,
)
from ..copy import Changed, copy_files
from ..kinds import KINDS
from ..model_under_test import BadSubject
from ..safe_walk import (
    BadTree,
    FileSeen,
    LinkOutside,
    LinkToNothing,
    files_of,
    open_version,
)

MAX_VERSION_BYTES: Final = 64 << 30
OUR_NAMES: Final = (DESCRIPTION, COMPILED)
SMALL_PART: Final = 10
"""A copy that takes a tenth of the free space, or less, is always made."""
_ITS_OWN_FAULT: Final = (errno.EACCES, errno.EPERM, errno.ENAMETOOLONG)


def check(context: Context) -> GateAnswer:
    """Passes when names and kinds of files are right, and the files are copied into the directory."""
    try:
        root = open_version(context.candidate.path)
        try:
            answer = _judged(context, root)
        finally:
            os.close(root)
    except LinkOutside as e:
        return context.fails(f"{e}; `cp -rL SOURCE {shlex.quote(context.candidate.path)}` copies what links lead to")
    except (BadTree, BadSubject) as e:
        return context.fails(str(e), incomplete=isinstance(e, LinkToNothing))
    except (Changed, FileNotFoundError) as e:
        raise NoVerdict(f"it changed while it was read: {e}") from e
    except OSError as e:
        path = e.filename or context.candidate.path
        if e.errno in _ITS_OWN_FAULT:
            return GateAnswer(False, f"{path} can't be read: {e.strerror}{_help(context, e)}")
        raise Hindered(f"cannot copy {path}: {e.strerror}") from e
    return answer


def _judged(context: Context, root: int) -> GateAnswer:
    passed_over = context.candidate.passed_over
    seen = files_of(root, passed_over)
    if not seen:
        return context.fails("it holds no files", incomplete=True)
    if wrong := _ours(seen) or _too_much(seen, context):
        return context.fails(wrong)
    if found := foreign.found(root, seen):
        return context.fails(foreign.sentence(found, context.candidate.path, seen), incomplete=found.passing)
    model_file = KINDS[context.candidate.kind].model_file
    try:
        model_file(Path(context.candidate.path))  # before gigabytes are copied for nothing
    except BadSubject as e:
        deeper = _one_level_deeper(seen, context.candidate.path)
        return context.fails(f"{e}{deeper}", incomplete=not deeper)
    context.files = copy_files(root, seen, context.directory)
    if files_of(root, passed_over) != seen:
        raise Changed("files came, went or were modified")
    context.model = model_file(context.directory)
    context.digest = digest_of(context.files)
    because = f"{count(len(seen), 'file')}, {size(context.bytes)}"
    if passed_over:
        because += f"; passed over, because no part of it: {', '.join(passed_over)}"
    return GateAnswer(True, because, warning=bool(passed_over))


def _one_level_deeper(seen: Mapping[str, FileSeen], path: str) -> str:
    """What to do when the model lies in a directory of the version, as archives often hold it; "" when it does not."""
    if any(name.endswith(".onnx") and "/" not in name for name in seen):
        return ""
    inner = [name.partition("/")[0] for name in seen if name.endswith(".onnx") and name.count("/") == 1]
    inner = [name for name in inner if not name.startswith(".") and name != "golden"]
    if not inner:
        return ""
    directory = shlex.quote(path)
    below = shlex.quote(f"{path}/{inner[0]}")
    return f"; it lies one level too deep, in {inner[0]}: `mv {below}/* {directory}/` moves it up"


def _help(context: Context, error: OSError) -> str:
    if error.errno != errno.EACCES:
        return ""
    return f"; `chmod -R a+rX {shlex.quote(context.candidate.path)}` lets the daemon read it"


def _ours(seen: Mapping[str, FileSeen]) -> str:
    """The reason when a file has a name that the daemon uses beside a version's files."""
    for name in seen:
        if name.partition("/")[0] in OUR_NAMES:
            return f"{name}: the daemon keeps this name for its own files ({', '.join(OUR_NAMES)}); rename it"
    return ""


def _too_much(seen: Mapping[str, FileSeen], context: Context) -> str:
    """Why these files are not copied, "" when there is no reason. Raises Hindered when the disk is too full."""
    total = sum(file.bytes for file in seen.values())
    if total > MAX_VERSION_BYTES:
        return f"it holds {size(total)}, at most {size(MAX_VERSION_BYTES)}"
    disk, candidate = os.statvfs(context.directory), context.candidate
    free = disk.f_bavail * disk.f_frsize
    kept = max(candidate.min_free_bytes, int(disk.f_blocks * disk.f_frsize * candidate.min_free_fraction))
    if (missing := room_missing(total, free, kept)) > 0:
        raise Hindered(
            f"cannot copy it below {context.directory.parent}: it needs {size(total)}, {size(max(0, free - kept))} are "
            f"free above disk.min_free ({size(kept)}); {size(missing)} are missing: see `modelward disk`"
        )
    return ""


def room_missing(needed: int, free: int, kept: int) -> int:
    """Bytes that are missing for a copy; 0 or less when it may be made.

    It leaves `kept` free, or takes at most a tenth of the free space: so a small version is served also on a disk that
    is low already.
    """
    return 0 if needed * SMALL_PART <= free else needed + kept - free
