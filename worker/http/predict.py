"""`POST /api/predict`: a clip in, its text out."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from .inference import transcribe_upload
from .json import as_json


async def predict(request: Request) -> Response:
    """The text of the clip in the form's part `audio` (or of the body itself), with its pieces and their times."""
    answer = await transcribe_upload(request, part="audio")
    return as_json({"result": answer.pop("text", ""), **answer})
