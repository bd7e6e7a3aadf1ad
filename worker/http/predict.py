"""`POST /api/predict`: a clip in, its text out."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from ..inference.loader import LoadedVersion
from .json import as_json
from .transcription import (
    TranscriptionOptions,
    language_of,
    split_of,
    transcribe_upload,
    truth,
)
from .upload import UploadedClip


async def predict(request: Request) -> Response:
    """The text of the clip in the form's part `audio` (or of the body itself), with its pieces and their times."""

    def options(clip: UploadedClip, loaded: LoadedVersion) -> TranscriptionOptions:
        fields = {**request.query_params, **clip.fields}
        itn = truth(fields.get("itn", fields.get("use_itn", "")))
        return TranscriptionOptions(language_of(fields.get("language", ""), loaded.model), itn, split_of(fields))

    answer = await transcribe_upload(request, part="audio", options=options)
    return as_json(predict_body(answer))


def predict_body(answer: dict[str, Any]) -> dict[str, Any]:
    """The answer in the form of this route: its text comes first, under `result`."""
    return {"result": answer.get("text", ""), **{name: value for name, value in answer.items() if name != "text"}}
