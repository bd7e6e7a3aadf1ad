"""`/v1/jobs`: long recordings without an open connection. A job is accepted, shown, cancelled.

Only the form and the rules of the routes. A job takes the form of `/v1/audio/transcriptions` and answers in its
formats, or in that of `/api/predict` (response_format `predict`). Invariants: 202 is sent only when the job is safe on
the disk. Where tokens are needed, a job is shown only to the token that sent it.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from ..audio.decode import plain
from ..audio.limits import BadAudio
from ..inference.loader import LoadedVersion
from ..jobs.access import DiskBusy, JobAccess, JobView
from ..jobs.runner import DECLARED, CannotGoOn, JobWords
from ..jobs.store import NotTaken, StoreLimits
from ..settings import Terms
from ..shared.arrival import arrival_of
from ..shared.callback_rules import BadCallback, check_url
from ..shared.job_directory import UnreadableJob
from ..shared.job_records import DONE, ENDED, JobRequest, is_id, job_as_json
from . import openai
from .client import client_of
from .context import Service
from .errors import ApiError, in_language, too_slow
from .inference import available
from .json import as_json
from .middleware import trace_of
from .openai_fields import requested_fields
from .predict import predict_body
from .transcription import AUDIO_STATUS, check_serves_speech, split_of
from .unread_answers import LARGE_BYTES, Unread
from .upload import UploadedClip, read_clip
from .upload_limits import Full, TooSlow

PREDICT: Final = "predict"
LOOK_AGAIN_SECONDS: Final = 2
"""How long a client should wait before it requests a job again."""
MAX_EMBEDDED_BYTES: Final = 16 << 20


async def create(request: Request) -> Response:
    """202 with the job. Raises ApiError; then nothing was kept."""
    service: Service = request.app.state.service
    jobs = store_of(service)
    loaded = await _loaded(service)
    try:
        with service.uploads.held(client_of(request)) as upload:
            async with service.uploads.reading(upload) as count:
                clip = await read_clip(
                    request,
                    part="file",
                    max_bytes=service.settings.max_upload_bytes,
                    count=count,
                    seconds=service.settings.request_timeout_seconds,
                )
            data, clip.data = _checked(clip, loaded, service.settings), None
            job = await jobs.accept(
                data,
                _kept(clip),
                limits_of(service.settings),
                client=client_of(request),
                owner=service.gate.owner(request.headers),
                callback=clip.fields.get("callback", "").strip(),
            )
    except NotTaken as e:
        raise ApiError(507 if e.full else 503, str(e), "no_space" if e.full else "jobs_full") from e
    except (Full, DiskBusy) as e:
        raise ApiError(503, f"cannot take the job: {e}", "busy") from e
    except TooSlow as e:
        raise too_slow(e) from e
    place = f"{arrival_of(request.scope).prefix}/v1/jobs/{job.id}"
    headers = {"location": place, "retry-after": str(LOOK_AGAIN_SECONDS)}
    return as_json(job_as_json(job, "queued"), 202, headers)


async def show(request: Request) -> Response:
    """The current state of the job. Raises ApiError 404 for one that does not exist or belongs to another token."""
    view = await _found(request)
    service: Service = request.app.state.service
    answer = await _answer(request, view) if view.answer_bytes <= MAX_EMBEDDED_BYTES else None
    body = job_as_json(
        view.seen.request,
        view.seen.state,
        place=view.place,
        progress=view.progress,
        outcome=view.outcome,
        answer=_embedded(view, answer),
        keep_seconds=service.settings.jobs_keep_seconds,
    )
    if "error" in body:
        accept = request.headers.get("accept-language", "")
        body["error"]["message"] = await in_language(body["error"]["message"], accept)
    again = {} if view.outcome is not None else {"retry-after": str(LOOK_AGAIN_SECONDS)}
    headers = {"cache-control": "no-store", **again}
    if answer is None or len(answer) < LARGE_BYTES:
        return as_json(body, headers=headers)
    return await asyncio.to_thread(as_json, body, headers=headers)


async def result(request: Request) -> Response:
    """The result alone, as `/v1/audio/transcriptions` would have answered.

    Raises ApiError 404, 409 while there is no result, or the error of a failed job.
    """
    view = await _found(request)
    answer = await _answer(request, view)
    if view.outcome is None or view.outcome.state != DONE or answer is None:
        state = view.seen.state
        because = f": {view.outcome.error}" if view.outcome is not None and view.outcome.error else ""
        code = "job_not_done" if state not in ENDED else f"job_{state}"
        raise ApiError(409, f"cannot show the result: the job is {state}{because}", code)
    headers = {"cache-control": "no-store"}
    if view.outcome.truncated and not view.outcome.answer_type.startswith("application/json"):
        headers["x-audio-truncated"] = "true"
    return Response(answer, headers=headers, media_type=view.outcome.answer_type)


async def cancel(request: Request) -> Response:
    """Cancels a job that has not ended, removes one that has. Raises ApiError 404."""
    view = await _found(request)
    service: Service = request.app.state.service
    try:
        there = await store_of(service).cancel(view.seen.request.id)
    except (OSError, UnreadableJob, DiskBusy) as e:
        raise no_disk(e) from e
    if not there:
        raise _unknown()
    return as_json({"id": view.seen.request.id, "object": "job", "state": _after(view)})


def _after(view: JobView) -> str:
    return "cancelled" if view.outcome is None else "deleted"


async def _found(request: Request) -> JobView:
    service: Service = request.app.state.service
    jobs, job_id = store_of(service), request.path_params["job"]
    if not is_id(job_id):
        raise _unknown()
    try:
        view = await jobs.view(job_id)
    except (OSError, UnreadableJob, DiskBusy) as e:
        raise no_disk(e) from e
    if view is None or not service.gate.owns(view.seen.request.owner, request.headers):
        raise _unknown()
    return view


async def _answer(request: Request, view: JobView) -> bytes | None:
    """The result, once it may be sent. Raises ApiError 503 when too much is unread already."""
    if view.answer_bytes < 0:
        return None
    service: Service = request.app.state.service
    try:
        service.answers.allow(trace_of(request.scope), view.answer_bytes)
        return await store_of(service).answer(view.seen.request.id)
    except Unread as e:
        service.refusing.refused(str(e))
        raise ApiError(503, str(e), "busy") from e
    except (OSError, UnreadableJob, DiskBusy) as e:
        raise no_disk(e) from e


def store_of(service: Service) -> JobAccess:
    """The jobs of this service. Raises ApiError 404 where it has none."""
    if service.jobs is None:
        raise ApiError(404, "cannot take or show jobs: this service has none", "no_jobs")
    return service.jobs


def _unknown() -> ApiError:
    return ApiError(404, "cannot show the job: there is none of that id; results are kept for jobs.keep", "no_such_job")


def no_disk(error: Exception) -> ApiError:
    """503 with the error of the disk."""
    because = (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
    return ApiError(503, f"cannot read the job: {because}", "no_disk")


async def _loaded(service: Service) -> LoadedVersion:
    """The version against which the fields are checked. Raises ApiError, NoModel."""
    check_serves_speech(service.settings.kind)
    await available(service, time.perf_counter() + service.settings.request_timeout_seconds)
    return service.engine.take()


def _checked(clip: UploadedClip, loaded: LoadedVersion, settings: Terms) -> bytearray:
    """The recording. Raises ApiError for a request that could never be fulfilled."""
    if clip.data is None:
        raise ApiError(400, "cannot transcribe: the form has no part 'file'", "missing_audio", param="file")
    if not clip.data:
        raise ApiError(400, "cannot transcribe: the upload is empty", "empty_audio", param="file")
    openai.check_model(clip.fields.get("model", ""), loaded.version, settings)
    fields, *_ = openai.read_fields(_plain(clip), loaded)
    split_of(clip.fields)
    if fields.stream:
        raise ApiError(
            400, "cannot stream a job: request it again, it shows its text so far", "bad_value", param="stream"
        )
    if callback := clip.fields.get("callback", "").strip():
        try:
            check_url(callback, settings.jobs_callbacks)
        except BadCallback as e:
            raise ApiError(400, f"cannot report to this callback: {e}", "callback_refused", param="callback") from e
    try:
        plain(clip.data, clip.declared)
    except BadAudio as e:
        raise ApiError(AUDIO_STATUS.get(e.code, 400), str(e), e.code, param="file") from e
    return clip.data


def _kept(clip: UploadedClip) -> dict[str, list[str]]:
    """The fields that the job needs, with the declared type of its recording."""
    kept = {name: values for name, values in clip.repeated.items() if name not in ("callback", DECLARED)}
    return {**kept, DECLARED: [clip.declared]} if clip.declared else kept


def _plain(clip: UploadedClip) -> UploadedClip:
    """The form with a response_format that the other route knows too."""
    if clip.fields.get("response_format", "").strip() != PREDICT:
        return clip
    return UploadedClip(fields={**clip.fields, "response_format": "json"}, repeated=clip.repeated)


def limits_of(settings: Terms) -> StoreLimits:
    """The limits for jobs."""
    return StoreLimits(
        settings.jobs_max_jobs,
        settings.jobs_max_bytes,
        *settings.min_free,
    )


# the same words for the worker that transcribes a job


def _form(request: JobRequest) -> UploadedClip:
    """The form without the model's name, which was checked when the job came: the version may have another name
    by now.
    """
    fields = {name: values[-1] for name, values in request.fields.items() if values and name != "model"}
    return UploadedClip(fields=fields, repeated=request.fields)


def _read(request: JobRequest, loaded: LoadedVersion) -> tuple[str, bool]:
    try:
        _, language, itn = openai.read_fields(_plain(_form(request)), loaded)
    except ApiError as e:
        raise CannotGoOn(e.code, e.message) from e
    return language, itn


def _shape(request: JobRequest, answer: dict[str, Any]) -> tuple[bytes, str]:
    form = _form(request)
    if _plain(form) is not form:
        return msgspec.json.encode(predict_body(answer)), "application/json"
    shaped = openai.shaped(answer, requested_fields(form.fields, form.repeated))
    return bytes(shaped.body), shaped.headers["content-type"]


WORDS: Final = JobWords(_read, _shape)


def _embedded(view: JobView, answer: bytes | None) -> object:
    """The result as a part of the job's JSON: an object where it is JSON, else a text."""
    if answer is None or view.outcome is None:
        return None
    if view.outcome.answer_type.startswith("application/json"):
        return msgspec.Raw(answer)
    return answer.decode("utf-8", "replace")
