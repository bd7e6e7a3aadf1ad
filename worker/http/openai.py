"""OpenAI's routes: `POST /v1/audio/transcriptions` and `GET /v1/models`, as its clients expect them.

Forms and words only: recognition is shared by all routes, and `openai_fields` reads the form. It must not begin an
answer before its status is known. Invariant: errors have OpenAI's form.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

import msgspec
from msgspec import UNSET
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from ..inference.loader import LoadedVersion
from ..sensevoice.subtitles import (
    captions_of,
    srt,
    vtt,
    words_of,
)
from ..sensevoice.transcript import NO_SPEECH, Segment
from ..settings import Terms
from ..shared.started import awaited
from .accepted_models import STAND_IN, is_accepted
from .context import Service
from .errors import ApiError, error_of
from .json import as_json
from .languages import ENGLISH_NAMES
from .middleware import trace_of
from .openai_fields import TranscriptionFields, requested_fields
from .transcription import (
    TranscriptionOptions,
    language_of,
    split_of,
    transcribe_upload,
    truth,
)
from .upload import UploadedClip

UNBUFFERED: Final = ((b"cache-control", b"no-store, no-transform"), (b"x-accel-buffering", b"no"))
"""Has proxies pass each event on at once."""
BEAT_SECONDS: Final = 15.0


class Transcriptions:
    """The route; an ASGI application, because a streamed answer begins before the clip is finished."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers in one of FORMATS, or with one event for each piece. Raises ApiError before the answer has begun."""
        request = Request(scope, receive)
        service: Service = request.app.state.service
        asked = TranscriptionFields()
        stream = TranscriptStream(scope, send)

        def options(clip: UploadedClip, loaded: LoadedVersion) -> TranscriptionOptions:
            nonlocal asked
            check_model(clip.fields.get("model", ""), loaded.version, service.settings)
            asked, language, itn = read_fields(clip, loaded)
            return TranscriptionOptions(language, itn, split_of(clip.fields), stream.delta if asked.stream else None)

        try:
            answer = await transcribe_upload(request, part="file", options=options)
        except ApiError as e:
            if not stream.begun:
                raise
            await stream.failed(e)
            return
        finally:
            await stream.end()
        if asked.stream:
            await stream.done(answer)
        else:
            await shaped(answer, asked)(scope, receive, send)


def read_fields(clip: UploadedClip, loaded: LoadedVersion) -> tuple[TranscriptionFields, str, bool]:
    """The requested form of the answer, the language, and whether numbers are written as digits. Raises
    ApiError 400.
    """
    asked = requested_fields(clip.fields, clip.repeated)
    language = language_of(clip.fields.get("language", ""), loaded.model)
    # Whisper writes marks and figures by default, so its clients expect them.
    return asked, language, truth(clip.fields.get("itn", "true"))


class TranscriptStream:
    """A streamed answer. The status is sent with the first part of the text: an earlier failure has a status of its
    own. While nothing else is sent, a comment shows proxies that the connection is alive. `end` it in any case.
    """

    def __init__(self, scope: Scope, send: Send, beat_seconds: float = BEAT_SECONDS) -> None:
        self.begun = False
        self._scope, self._send, self._beat_seconds = scope, send, beat_seconds
        self._beats: asyncio.Task[None] | None = None

    async def delta(self, text: str) -> None:
        await self._event({"type": "transcript.text.delta", "delta": text})

    async def done(self, answer: dict[str, Any]) -> None:
        done = {"type": "transcript.text.done", "text": answer["text"], "usage": _usage(answer), **_truncated(answer)}
        await self._event(done)
        await self._write(b"data: [DONE]\n\n", last=True)

    async def failed(self, error: ApiError) -> None:
        trace_of(self._scope).status = error.status
        await self._write(b"data: " + error_of(error, self._scope["path"]) + b"\n\n", last=True)

    async def _event(self, event: dict[str, Any]) -> None:
        await self._write(b"data: " + msgspec.json.encode(event) + b"\n\n")

    async def end(self) -> None:
        """No comment is sent from now on."""
        if self._beats is not None:
            self._beats.cancel()
            await asyncio.wait({self._beats})

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(self._beat_seconds)
            await self._send({"type": "http.response.body", "body": b": alive\n\n", "more_body": True})

    async def _write(self, data: bytes, *, last: bool = False) -> None:
        await self.end()
        if not self.begun:
            self.begun = True
            headers = [(b"content-type", b"text/event-stream; charset=utf-8"), *UNBUFFERED]
            await self._send({"type": "http.response.start", "status": 200, "headers": headers})
        await self._send({"type": "http.response.body", "body": data, "more_body": not last})
        self._beats = None if last else awaited(self._beat(), "heartbeats of a stream")


async def models(request: Request) -> Response:
    """The only model: the version that answers."""
    service: Service = request.app.state.service
    current = service.engine.current
    if current is not None:
        trace_of(request.scope).took(current)
    return as_json({"object": "list", "data": [_model(current)] if current is not None else []})


async def model(request: Request) -> Response:
    """One model by name. Raises ApiError 404 for a name that is not accepted."""
    service: Service = request.app.state.service
    current = service.engine.take()
    trace_of(request.scope).took(current)
    check_model(request.path_params["model"], current.version, service.settings)
    return as_json(_model(current))


def _model(loaded: LoadedVersion) -> dict[str, Any]:
    return {"id": loaded.version, "object": "model", "created": loaded.created, "owned_by": "modelward"}


async def translations(request: Request) -> Response:
    """Raises ApiError 404: the model writes only the spoken language."""
    text = "cannot translate: SenseVoice writes the spoken language; use /v1/audio/transcriptions"
    raise ApiError(404, text, "no_translation")


def check_model(asked: str, version: str, settings: Terms = Terms()) -> None:  # noqa: B008 - frozen
    """Raises ApiError 404, as OpenAI does, for a model that is not the served one."""
    if is_accepted(asked, version, settings.model_aliases):
        return
    raise ApiError(
        404,
        f"cannot use the model {asked.strip()[:100]!r}: {version} is served here; ask for that, or for {STAND_IN}",
        "model_not_found",
        param="model",
    )


def shaped(answer: dict[str, Any], asked: TranscriptionFields) -> Response:
    """The answer in the requested format."""
    segments: tuple[Segment, ...] = tuple(answer["segments"])
    headers = {"x-audio-truncated": "true"} if answer.get("truncated") else {}
    shapes: dict[str, Callable[[], Response]] = {
        "json": lambda: as_json(
            {"text": answer["text"], "usage": _usage(answer), **_times(segments, asked), **_truncated(answer)}
        ),
        "text": lambda: PlainTextResponse(answer["text"] + "\n", headers=headers),
        "srt": lambda: PlainTextResponse(srt(captions_of(segments)), headers=headers),
        "vtt": lambda: PlainTextResponse(vtt(captions_of(segments)), headers=headers),
        "verbose_json": lambda: as_json(_verbose(answer, segments, asked)),
    }
    return shapes[asked.format]()


def _truncated(answer: dict[str, Any]) -> dict[str, bool]:
    """Present only when a part of the clip is missing."""
    return {"truncated": True} if answer.get("truncated") else {}


def _usage(answer: dict[str, Any]) -> dict[str, Any]:
    return {"type": "duration", "seconds": answer["duration"]}


def _verbose(answer: dict[str, Any], segments: tuple[Segment, ...], asked: TranscriptionFields) -> dict[str, Any]:
    language = answer.get("language", NO_SPEECH)
    return {
        "task": "transcribe",
        "language": ENGLISH_NAMES.get(language, language),
        "duration": answer["duration"],
        "text": answer["text"],
        "usage": _usage(answer),
        **_times(segments, asked),
        **_truncated(answer),
    }


def _times(segments: tuple[Segment, ...], asked: TranscriptionFields) -> dict[str, Any]:
    """The requested lists of segments and words; OpenAI has them in verbose_json only."""
    body: dict[str, Any] = {}
    if asked.segments:
        body["segments"] = [_segment(number, segment) for number, segment in enumerate(segments)]
    if asked.words:
        words = [word for segment in segments for word in words_of(segment)]
        body["words"] = [{"word": w.text, "start": w.start, "end": w.end} for w in words]
    return body


def _segment(number: int, segment: Segment) -> dict[str, Any]:
    """OpenAI's fields. Those that only Whisper can fill have values that pass its clients' filters."""
    channel = {} if segment.channel is UNSET else {"channel": segment.channel}
    return {
        "id": number,
        "seek": int(segment.start * 100),
        "start": segment.start,
        "end": segment.end,
        "text": segment.text,
        "tokens": [],
        "temperature": 0.0,
        "avg_logprob": 0.0,
        "compression_ratio": 1.0,
        "no_speech_prob": 0.0,
        **channel,
    }
