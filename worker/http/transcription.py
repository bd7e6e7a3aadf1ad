"""What the routes that turn a clip into text share: the upload, its options, and audio errors as answers.

It must not decide the form of the result: each route does.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, cast

from msgspec import Struct
from starlette.requests import Request

from ..audio.limits import BadAudio
from ..decoders.pool import CannotDecode
from ..inference.admission import Busy
from ..inference.loader import SPEECH_KINDS, LoadedVersion, SpeechModel
from ..inference.transcribe import Hearing, transcribe
from .client import client_of
from .context import Service
from .errors import ApiError
from .inference import Count, run_model
from .languages import language_code
from .upload import UploadedClip, read_clip

AUDIO_STATUS: Final = {"audio_too_long": 413, "unsupported_audio": 415}
TRUE: Final = frozenset({"1", "true", "yes", "on", "y", "t"})
FALSE: Final = frozenset({"0", "false", "no", "off", "n", "f", ""})


class TranscriptionOptions(Struct, frozen=True):
    """How to transcribe a clip.

    `on_text`, if given, is awaited with each new part of the text. The parts one after the other are the answer's text.
    """

    language: str = "auto"
    itn: bool = False
    split: bool = False
    on_text: Callable[[str], Awaitable[None]] | None = None


async def transcribe_upload(
    request: Request, *, part: str, options: Callable[[UploadedClip, LoadedVersion], TranscriptionOptions]
) -> dict[str, Any]:
    """The answer for the clip in the request, with `version`. `options` reads the other fields of the client.

    Raises ApiError for anything that prevents an answer; Gone.
    """
    service: Service = request.app.state.service

    async def read(count: Count) -> UploadedClip:
        clip = await read_clip(
            request,
            part=part,
            max_bytes=service.settings.max_upload_bytes,
            count=count,
            seconds=service.settings.request_timeout_seconds,
        )
        if clip.data is None:
            instead = f", its files are named {', '.join(map(repr, clip.others[:3]))}" if clip.others else ""
            text = f"cannot transcribe: the form has no part {part!r}{instead}"
            raise ApiError(400, text, "missing_audio", param=part)
        if not clip.data:
            raise ApiError(400, "cannot transcribe: the upload is empty", "empty_audio", param=part)
        return clip

    async def job(clip: UploadedClip, loaded: LoadedVersion) -> dict[str, Any]:
        asked = options(clip, loaded)
        assert clip.data is not None
        try:
            return await transcribe(
                loaded,
                clip.data,
                hearing=Hearing(
                    asked.language, asked.itn, clip.declared, asked.split, service.settings.speech_trim == "silence"
                ),
                work=service.work,
                max_audio_seconds=service.settings.max_audio_seconds,
                client=client_of(request),
                on_text=asked.on_text,
            )
        except Busy as e:
            raise ApiError(503, str(e), "busy") from e
        except CannotDecode as e:
            raise ApiError(503, str(e), "cannot_decode") from e
        except BadAudio as e:
            raise ApiError(AUDIO_STATUS.get(e.code, 400), str(e), e.code, param=part) from e

    check_serves_speech(service.settings.kind)
    loaded, answer = await run_model(request, verb="transcribe", read=read, job=job)
    service.counters.recognised(float(answer.get("duration", 0.0)))
    return {**answer, "version": loaded.version}


def check_serves_speech(kind: str) -> None:
    """Raises ApiError 404 where models of another kind are served."""
    if kind not in SPEECH_KINDS:
        raise ApiError(404, f"cannot transcribe: a model of kind {kind} is served here; ask under /v2", "wrong_kind")


def language_of(text: str, model: Any) -> str:
    """The requested language in any of its names; "auto" when none. Raises ApiError 400 for a language that the model
    does not know.
    """
    known, asked = cast(SpeechModel, model).languages, text.strip().lower()
    language = asked if asked in known else language_code(text)
    if language not in known:
        raise ApiError(
            400,
            f"cannot transcribe language {text.strip()[:40]!r}; known: {', '.join(sorted(known))}",
            "unknown_language",
            param="language",
        )
    return language


def split_of(fields: Mapping[str, str]) -> bool:
    """Whether `channels` requests each channel separately. Raises ApiError 400 for another word."""
    word = fields.get("channels", "").strip().lower()
    if word in ("", "mix", "split"):
        return word == "split"
    text = f"cannot take the channels {word[:40]!r}; known: mix, split"
    raise ApiError(400, text, "bad_value", param="channels")


def truth(text: str) -> bool:
    """The meaning of a form's word for yes or no. Raises ApiError 400 for another word."""
    word = text.strip().lower()
    if word in TRUE:
        return True
    if word in FALSE:
        return False
    raise ApiError(400, f"cannot read {text[:40]!r} as yes or no", "bad_boolean")
