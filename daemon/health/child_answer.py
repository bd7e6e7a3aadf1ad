"""Runs a short program of ours: a JSON job on its standard input; returns its output and its exit status.

The child and all that it started are killed when it takes too long. Its output is not checked here.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Mapping
from typing import Any, Final

from ..system.processes import environment, python, spawn

MAX_OUTPUT_BYTES: Final = 4096


class NoAnswer(Exception):
    """The program could not be started, or did not end in time; the text has the reason."""


async def answer_of(
    module: str, *, name: str, job: Mapping[str, Any], seconds: float, extra: Mapping[str, str]
) -> tuple[bytes, int | None]:
    """The output and the exit status. `extra` is added to the environment of the child. Raises NoAnswer."""
    try:
        line = json.dumps(job, ensure_ascii=False).encode("utf-8", "replace")
        child = spawn(python(module), name=name, env=environment(extra), stdin=line, stdout="pipe")
    except (OSError, ValueError) as e:
        raise NoAnswer(f"cannot start the child: {type(e).__name__}") from None
    try:
        try:
            async with asyncio.timeout(seconds):
                status = await child.wait()
        except TimeoutError:
            raise NoAnswer(f"no answer within {seconds:g} s") from None
        finally:
            child.kill_group()
        return os.read(child.stdout_fd, MAX_OUTPUT_BYTES), status
    except OSError:
        raise NoAnswer("the child said nothing") from None
    finally:
        child.close()
