"""The records of a transcription job, its order among others, and its form for its client.

Pure: no file, no clock. Workers and the daemon read and write these records. Invariant: the request of a job never
changes after it was accepted, and its outcome never changes after it ended.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

ID: Final = re.compile(r"job_[0-9a-f]{32}")
"""128 random bits, so that no client can guess the id of another client's job."""
QUEUED, RUNNING = "queued", "running"
DONE, FAILED, CANCELLED = "done", "failed", "cancelled"
STATES: Final = (QUEUED, RUNNING, DONE, FAILED, CANCELLED)
ENDED: Final = (DONE, FAILED, CANCELLED)

# files of a job's directory
REQUEST, AUDIO, PIECES, CLAIM, OUTCOME, ANSWER, CALLBACK = (
    "job.json", "audio", "pieces", "claim.json", "outcome.json", "answer", "callback.json"
)  # fmt: skip


class JobRequest(msgspec.Struct, frozen=True):
    """A client's request. `created` is wall seconds; `client` is the name for shares.

    `owner` identifies the token that may read the job ("" where none was needed). `fields` are those of the form, in
    their order.
    """

    id: str
    created: float
    client: str = ""
    owner: str = ""
    bytes: int = 0
    fields: dict[str, list[str]] = {}
    callback: str = ""


class JobClaim(msgspec.Struct, frozen=True):
    """Which worker works on a job, or did when it died. `run` is the daemon's run that started the worker.

    `deaths`: workers that died during the piece number `pieces`; `deaths_alone`: those whose daemon lived on.
    """

    worker: str
    run: str
    pieces: int = 0
    deaths: int = 0
    deaths_alone: int = 0


class JobVersion(msgspec.Struct, frozen=True):
    """A version of the model and the part of the recording that it recognised, in seconds."""

    version: str
    digest: str
    start: float
    end: float


class JobOutcome(msgspec.Struct, frozen=True):
    """How a job ended: `state` is one of ENDED, `finished` wall seconds.

    `answer_type` is the media type of the answer, which has its own file; a failed job has `error` and `code`.
    `truncated`: a part of the recording is missing.
    """

    state: str
    finished: float
    duration: float = 0.0
    text: str = ""
    versions: tuple[JobVersion, ...] = ()
    answer_type: str = ""
    error: str = ""
    code: str = ""
    truncated: bool = False


class CallbackRecord(msgspec.Struct, frozen=True):
    """The state of the report to the callback address: `state` is waiting, delivered or given_up."""

    state: str = "waiting"
    tries: int = 0
    last: float = 0.0
    because: str = ""


class JobProgress(msgspec.Struct, frozen=True):
    """How far an unfinished job is: `done` of `duration` seconds are recognised, with this text."""

    duration: float = 0.0
    done: float = 0.0
    text: str = ""
    versions: tuple[JobVersion, ...] = ()


class JobSeen(msgspec.Struct, frozen=True):
    """A job as found in its directory. `claimed`: a worker works on it, or died during it."""

    request: JobRequest
    state: str
    claimed: bool = False


_NOTHING_YET: Final = JobProgress()


def is_id(text: str) -> bool:
    """Whether a text can be a job's id, and so the name of its directory."""
    return ID.fullmatch(text) is not None


def in_order(jobs: Iterable[JobSeen]) -> list[JobSeen]:
    """The unfinished jobs in the order in which workers take them.

    Jobs that a worker has begun come first. Then clients take turns: the client with the fewest jobs before it is next.
    Among equals the oldest is first.
    """
    unfinished = sorted(
        (job for job in jobs if job.state in (QUEUED, RUNNING)), key=lambda job: (job.request.created, job.request.id)
    )
    before: Counter[str] = Counter(job.request.client for job in unfinished if job.claimed)
    ranked = []
    for job in unfinished:
        if job.claimed:
            ranked.append((-1, job.request.created, job))
        else:
            ranked.append((before[job.request.client], job.request.created, job))
            before[job.request.client] += 1
    return [job for *_, job in sorted(ranked, key=lambda entry: (entry[0], entry[1], entry[2].request.id))]


def position(job_id: str, jobs: Iterable[JobSeen]) -> int:
    """How many queued jobs are taken before this one, plus one; 0 for a job that does not wait."""
    queued = [job.request.id for job in in_order(jobs) if job.state == QUEUED]
    return queued.index(job_id) + 1 if job_id in queued else 0


def merged(versions: Sequence[JobVersion]) -> tuple[JobVersion, ...]:
    """The same, with adjacent parts of the same version merged into one."""
    found: list[JobVersion] = []
    for part in versions:
        last = found[-1] if found else None
        if last is not None and (last.version, last.digest) == (part.version, part.digest):
            found[-1] = msgspec.structs.replace(last, end=part.end)
        else:
            found.append(part)
    return tuple(found)


def job_as_json(
    request: JobRequest,
    state: str,
    *,
    place: int = 0,
    progress: JobProgress = _NOTHING_YET,
    outcome: JobOutcome | None = None,
    answer: object = None,
    keep_seconds: float = 0.0,
) -> dict[str, Any]:
    """A job as its client sees it. `answer` is the result of a finished job, in the requested format."""
    body: dict[str, Any] = {"id": request.id, "object": "job", "state": state, "created": _time(request.created)}
    if outcome is None:
        done, duration = progress.done, progress.duration
        body |= {"position": place, "progress": round(min(1.0, done / duration), 4) if duration else 0.0}
        body |= {"duration": duration or None, "text": progress.text, "versions": progress.versions}
        return body
    body |= {"position": 0, "progress": 1.0 if state == DONE else 0.0, "duration": outcome.duration or None}
    body |= {"text": outcome.text, "versions": outcome.versions, "finished": _time(outcome.finished)}
    body["expires"] = _time(outcome.finished + keep_seconds)
    if outcome.truncated:
        body["truncated"] = True
    if state == FAILED:
        body["error"] = {"message": outcome.error, "type": "job_error", "code": outcome.code}
    if answer is not None:
        body["result"] = answer
    return body


def _time(seconds: float) -> str:
    """RFC 3339 in UTC."""
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    except (ValueError, OverflowError, OSError):
        return ""
