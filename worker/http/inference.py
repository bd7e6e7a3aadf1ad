"""What all routes that run the model share: a request is admitted, read, and answered by one version within its limits.

It turns errors into answers. It knows no kind of model: each route decides what to read and what to run. Invariant: one
version answers one request, and its name and digest are in the answer's headers.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from starlette.requests import Request

from ..inference.admission import Busy
from ..inference.engine import NoModel
from ..inference.loader import LoadedVersion
from ..shared.started import awaited
from .client import client_of
from .context import Service
from .errors import ApiError, too_slow
from .middleware import Gone, client_gone, trace_of
from .upload_limits import Full, TooSlow

B = TypeVar("B")
T = TypeVar("T")
Count = Callable[[int], None]


async def run_model(
    request: Request,
    *,
    verb: str,
    read: Callable[[Count], Awaitable[B]],
    job: Callable[[B, LoadedVersion], Coroutine[Any, Any, T]],
) -> tuple[LoadedVersion, T]:
    """The version that answers, and the outcome of `job` with what `read` returned.

    `read` gets the counter of uploaded bytes. `job` is ended when the client leaves or the time is over. Both may raise
    ApiError. Raises ApiError for anything that prevents an answer ("cannot `verb` …"); Gone.
    """
    service: Service = request.app.state.service
    trace_of(request.scope).inference = True
    service.counters.begin()
    deadline = time.perf_counter() + service.settings.request_timeout_seconds
    try:
        await available(service, deadline)
        service.engine.take()
        service.work.check()
        with service.uploads.held(client_of(request)) as upload:
            async with service.uploads.reading(upload) as count:
                body = await read(count)
            return await _answer(request, verb, lambda loaded: job(body, loaded), deadline)
    except (Busy, Full) as e:
        service.refusing.refused(str(e))
        raise ApiError(503, str(e), "busy") from e
    except TooSlow as e:
        raise too_slow(e) from e
    except NoModel as e:
        raise ApiError(503, str(e), "no_model") from e


async def available(service: Service, deadline: float) -> None:
    """Waits for a version that is on its way, as long as the request has time."""
    with suppress(TimeoutError), service.work.expecting():
        async with asyncio.timeout(max(0.0, deadline - time.perf_counter())):
            await service.engine.available()


async def _answer(
    request: Request, verb: str, job: Callable[[LoadedVersion], Coroutine[Any, Any, T]], deadline: float
) -> tuple[LoadedVersion, T]:
    service: Service = request.app.state.service
    trace = trace_of(request.scope)
    await available(service, deadline)  # it may have been unloaded while the body came in
    start = time.perf_counter()
    try:
        with service.work.admitted():
            service.refusing.taken()
            loaded = service.engine.take()
            trace.took(loaded)
            return loaded, await _within(request, service, verb, job(loaded), deadline)
    finally:
        trace.seconds = time.perf_counter() - start


async def _within(request: Request, service: Service, verb: str, job: Coroutine[Any, Any, T], deadline: float) -> T:
    """Awaits `job` while the client stays and the time allows."""
    task, gone = awaited(job, trace_of(request.scope).request_id), awaited(client_gone(request))
    service.work.running.add(task)
    try:
        left = max(0.0, deadline - time.perf_counter())
        await asyncio.wait({task, gone}, timeout=left, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return _outcome(task, service, verb)
        if gone.done():
            raise Gone
        raise ApiError(504, f"cannot {verb} within {service.settings.request_timeout_seconds:g} s; given up", "timeout")
    finally:
        service.work.running.discard(task)
        gone.cancel()
        task.cancel()
        # Read here, so that an exception that no code awaits causes no warning.
        await asyncio.wait({task, gone})


def _outcome(task: asyncio.Task[T], service: Service, verb: str) -> T:
    if task.cancelled():
        raise ApiError(503, "cannot finish: the worker is leaving; ask again", "draining")
    failure = task.exception()
    if failure is None:
        return task.result()
    if isinstance(failure, ApiError):
        raise failure
    service.logs.events.error("the model failed", exc_info=failure)
    raise ApiError(500, f"cannot {verb}: the model failed on this input", "model_failed")
