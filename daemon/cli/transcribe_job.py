"""`modelward transcribe --job`: sends a long recording as a job and polls until it ended; no
connection stays open.

The service may be away, be restarted or be killed: the job continues. An interrupted command removes its job; one that
another command resumes (`--resume`) stays. It must not write the text: the caller does, and then has the job removed.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from threading import Event
from typing import Any, Final

from ..errors import ModelwardError, Refused, Unreachable
from .language import local_text
from .render import clean

LOOK_SECONDS: Final = 2.0
Ask = Callable[[str, str], tuple[int, dict[str, Any]]]
"""Method and path to status and JSON. Raises Unreachable."""


def outcome_of(
    answer: dict[str, Any], name: str, ask: Ask, *, patience_seconds: float, taken_up: bool = False
) -> tuple[dict[str, Any] | str, Callable[[], None]]:
    """The result of the job in `answer`, and what removes the job there. `taken_up`: another command sent it.

    Raises Refused with the reason, and Unreachable when the service does not answer for `patience_seconds`.
    """
    job_id = answer.get("id", "")
    job = f"/v1/jobs/{job_id}"
    try:
        done = _ended(job, name, ask, patience_seconds)
    except KeyboardInterrupt:
        if not taken_up:
            _forget(job, ask)
        raise
    except Refused:
        _forget(job, ask)
        raise
    except Unreachable as e:
        raise Unreachable(f"{e}; the job goes on: modelward transcribe --resume {clean(job_id)}") from e
    return _result(done, job, name, ask), partial(_forget, job, ask)


def _result(done: dict[str, Any], job: str, name: str, ask: Ask) -> dict[str, Any] | str:
    """What the job holds, or, of one too large for that, what its own address has."""
    result = done.get("result")
    if isinstance(result, dict | str):
        return result
    status, result = ask("GET", f"{job}/result")
    if status != 200 or not result:
        raise Refused(
            f"cannot fetch the text of {clean(name)}: the service answers {status}; {job}/result has it until jobs.keep"
        )
    return result


def _ended(job: str, name: str, ask: Ask, patience_seconds: float) -> dict[str, Any]:
    last = time.monotonic()
    pause = Event()
    while True:
        pause.wait(LOOK_SECONDS)
        try:
            status, seen = ask("GET", job)
        except Unreachable:
            if time.monotonic() - last > patience_seconds:
                raise
            continue
        state = seen.get("state")
        if status == 200:
            last = time.monotonic()
            _show(name, seen)
        if state == "done":
            return seen
        if state in ("failed", "cancelled") or (status >= 400 and status not in (500, 502, 503, 504)):
            error = seen.get("error")
            message = clean(error.get("message")) if isinstance(error, dict) else f"the job is {state or status}"
            raise Refused(f"cannot transcribe {clean(name)}: {message.removeprefix('cannot transcribe: ')}")
        if time.monotonic() - last > patience_seconds:
            raise Unreachable(f"cannot ask for the job {job.rpartition('/')[2]}: the service answers {status}")


def _show(name: str, seen: dict[str, Any]) -> None:
    """How far it is, for people at a terminal."""
    if not sys.stderr.isatty():
        return
    with suppress(TypeError, ValueError):
        far = f"{float(seen.get('progress') or 0):4.0%}"
        where = f"in line at place {int(seen['position'])}" if seen.get("position") else far
        end = "\n" if seen.get("state") not in ("queued", "running") else ""
        print(f"\r{clean(name)}: {local_text(where)}\033[K", end=end, file=sys.stderr, flush=True)


def _forget(job: str, ask: Ask) -> None:
    with suppress(ModelwardError):
        ask("DELETE", job)


def parsed(raw: bytes) -> dict[str, Any]:
    """The JSON object of an answer; an empty one for what is none."""
    try:
        data = json.loads(raw)
    except (ValueError, RecursionError):
        return {}
    return data if isinstance(data, dict) else {}
