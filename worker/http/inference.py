"""What every route that runs the model shares: from a clip in a request to the version's answer, within its limits.

Turns what may go wrong into answers. Must not shape the result: that is each route's own. Invariant: one request is
answered by one version, whose name and digest go out in its headers.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, Final, TypeVar

from starlette.requests import Request

from ..audio import BadAudio
from ..engine import NoModel
from ..service import Service
from ..transcribe import transcribe
from ..work import Busy
from .edge import Gone, Trace, trace_of
from .errors import ApiError
from .upload import Clip, read_clip

T = TypeVar("T")
AUDIO_STATUS: Final = {"audio_too_long": 413, "unsupported_audio": 415}
TRUE: Final = frozenset({"1", "true", "yes", "on", "y", "t"})
FALSE: Final = frozenset({"0", "false", "no", "off", "n", "f", ""})


async def transcribe_upload(request: Request, *, part: str) -> dict[str, Any]:
    """The answer for the clip in the request, with `version`. Raises ApiError for whatever prevents one; Gone."""
    service: Service = request.app.state.service
    trace = trace_of(request.scope)
    trace.inference = True
    service.counters.begin()
    deadline = time.perf_counter() + service.settings.request_timeout_seconds
    try:
        with suppress(TimeoutError):
            async with asyncio.timeout(service.settings.request_timeout_seconds):
                await service.engine.available()
        service.engine.take()
        service.work.check()
        with service.work.upload() as count:
            clip = await read_clip(
                request,
                part=part,
                max_bytes=service.settings.max_upload_bytes,
                count=count,
                seconds=service.settings.request_timeout_seconds,
            )
            return await _answer(request, service, trace, clip, part, deadline)
    except Busy as e:
        raise ApiError(503, str(e), "busy") from e
    except NoModel as e:
        raise ApiError(503, str(e), "no_model") from e


async def _answer(
    request: Request, service: Service, trace: Trace, clip: Clip, part: str, deadline: float
) -> dict[str, Any]:
    if clip.data is None:
        raise ApiError(400, f"cannot transcribe: the form has no part {part!r}", "missing_audio")
    if not clip.data:
        raise ApiError(400, "cannot transcribe: the upload is empty", "empty_audio")
    wishes = {**request.query_params, **clip.fields}
    itn = truth(wishes.get("itn", wishes.get("use_itn", "")))
    start = time.perf_counter()
    try:
        with service.work.admitted():
            loaded = service.engine.take()
            trace.took(loaded)
            job = transcribe(
                loaded,
                clip.data,
                language=language_of(wishes, loaded.model),
                itn=itn,
                work=service.work,
                max_audio_seconds=service.settings.max_audio_seconds,
            )
            answer = await _within(request, service, job, deadline)
            service.counters.heard(float(answer.get("duration", 0.0)))
    finally:
        trace.seconds = time.perf_counter() - start
    return {**answer, "version": loaded.version}


async def _within(request: Request, service: Service, job: Coroutine[Any, Any, T], deadline: float) -> T:
    """Awaits `job` for as long as the client stays and the time allows."""
    task = asyncio.create_task(job)
    gone = asyncio.create_task(_gone(request))
    service.work.running.add(task)
    try:
        left = max(0.0, deadline - time.perf_counter())
        await asyncio.wait({task, gone}, timeout=left, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return _outcome(task, service)
        if gone.done():
            raise Gone
        raise ApiError(
            504, f"cannot transcribe within {service.settings.request_timeout_seconds:g} s; given up", "timeout"
        )
    finally:
        service.work.running.discard(task)
        gone.cancel()
        task.cancel()
        # Collected here, so that an answer nobody waits for leaves no warning behind.
        await asyncio.wait({task, gone})


def _outcome(task: asyncio.Task[T], service: Service) -> T:
    if task.cancelled():
        raise ApiError(503, "cannot finish: the worker is leaving; ask again", "draining")
    failure = task.exception()
    if failure is None:
        return task.result()
    if isinstance(failure, BadAudio):
        raise ApiError(AUDIO_STATUS.get(failure.code, 400), str(failure), failure.code)
    service.logs.events.error("the model failed", exc_info=failure)
    raise ApiError(500, "cannot transcribe: the model failed on this clip", "model_failed")


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def language_of(wishes: dict[str, str], model: Any) -> str:
    """The language asked for; "auto" when none. Raises ApiError 400 for one the model does not know."""
    language = wishes.get("language", "").strip().lower() or "auto"
    if language not in model.languages:
        known = ", ".join(sorted(model.languages))
        raise ApiError(400, f"cannot transcribe language {language[:40]!r}; known: {known}", "unknown_language")
    return language


def truth(text: str) -> bool:
    """What a form means by a word for yes or no. Raises ApiError 400 for another."""
    word = text.strip().lower()
    if word in TRUE:
        return True
    if word in FALSE:
        return False
    raise ApiError(400, f"cannot read {text[:40]!r} as yes or no", "bad_boolean")
