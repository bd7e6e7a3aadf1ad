"""`GET /v1/jobs`: the jobs that came with the token of the request, the newest first, without their texts.

Without tokens, clients cannot be distinguished, and only its id shows a job: there is no list then.
Invariant: an answer holds at most MOST_LISTED jobs, and never one of another token.
"""

from __future__ import annotations

from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from ..jobs.access import DiskBusy
from ..jobs.listing import MOST_LISTED, ListedJob, UnknownJob
from ..shared.job_directory import UnreadableJob
from ..shared.job_records import is_id, job_as_json
from .context import Service
from .errors import ApiError
from .jobs import no_disk, store_of
from .json import as_json

_SHOWN: Final = ("id", "object", "state", "created", "position", "finished", "expires", "error")


async def list_own(request: Request) -> Response:
    """Some of one's own jobs; `after` is the id of the last one of the answer before. Raises ApiError."""
    service: Service = request.app.state.service
    jobs, owner = store_of(service), service.gate.owner(request.headers)
    if not owner:
        raise ApiError(
            403,
            "cannot list jobs: no token is asked for here, so clients cannot be told apart; the id of a job shows it",
            "no_owner",
        )
    most, after = _most(request.query_params.get("limit", "")), request.query_params.get("after", "")
    if after and not is_id(after):
        raise _unknown()
    try:
        found, more = await jobs.listed(owner, most=most, after=after)
    except UnknownJob as e:
        raise _unknown() from e
    except (OSError, UnreadableJob, DiskBusy) as e:
        raise no_disk(e) from e
    data = [_line(job, service.settings.jobs_keep_seconds) for job in found]
    return as_json({"object": "list", "data": data, "has_more": more}, headers={"cache-control": "no-store"})


def _most(text: str) -> int:
    """How many at most. Raises ApiError 400 for what is no such number."""
    if not text:
        return MOST_LISTED
    if not (text.isascii() and text.isdigit() and len(text) <= 3 and 1 <= int(text) <= MOST_LISTED):
        raise ApiError(400, f"cannot list so many jobs: limit is 1 to {MOST_LISTED}", "bad_value", param="limit")
    return int(text)


def _line(job: ListedJob, keep_seconds: float) -> dict[str, Any]:
    request, state = job.seen.request, job.seen.state
    body = job_as_json(request, state, place=job.place, outcome=job.outcome, keep_seconds=keep_seconds)
    return {key: body[key] for key in _SHOWN if key in body}


def _unknown() -> ApiError:
    return ApiError(400, "cannot list jobs: none of yours has the id in 'after'", "bad_value", param="after")
