"""What a form on OpenAI's route requests besides the clip, in every spelling that clients use.

Pure. It must accept what such clients send by default (a prompt, a temperature, unknown fields). It must refuse what
would silently give another result than requested. Invariant: a field of OpenAI's is honoured, has no effect by its
nature, or is answered with 400 and its name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from msgspec import Struct

from .errors import ApiError
from .transcription import truth

FORMATS: Final = ("json", "text", "srt", "verbose_json", "vtt")
GRANULARITIES: Final = ("segment", "word")
_NUMBERED: Final = re.compile(r"\[\d{0,3}\]$")
"""Lists come as name, name[] (OpenAI's clients) or name[0], name[1] (PHP, axios)."""
_CANNOT: Final = {
    "known_speaker_names": "speakers are not distinguished here",
    "known_speaker_references": "speakers are not distinguished here",
}


class TranscriptionFields(Struct, frozen=True):
    """`words` and `segments`: whether their times are part of the answer, in the formats that are JSON."""

    format: str = "json"
    words: bool = False
    segments: bool = False
    stream: bool = False


def requested_fields(fields: Mapping[str, str], repeated: Mapping[str, Sequence[str]]) -> TranscriptionFields:
    """Raises ApiError 400 for what can't be had."""
    form = fields.get("response_format", "").strip().lower() or "json"
    if form not in FORMATS:
        raise _wrong("response_format", form, FORMATS)
    stream = _truth("stream", fields)
    if stream and form not in ("json", "text"):
        raise _wrong("response_format of a stream", form, ("json", "text"), "response_format")
    _check_temperature(fields.get("temperature", ""))
    for name, because in _CANNOT.items():
        if any(True for _ in _listed(name, repeated)):
            raise ApiError(400, f"cannot use {name}: {because}", "unsupported_field", param=name)
    for wanted in _listed("include", repeated):
        raise ApiError(400, f"cannot include {wanted[:40]!r}: there is none here", "unsupported_field", param="include")
    wanted_times = {wanted.lower() for wanted in _listed("timestamp_granularities", repeated)}
    for wanted in sorted(wanted_times.difference(GRANULARITIES)):
        raise _wrong("timestamp_granularities", wanted, GRANULARITIES)
    unasked = form == "verbose_json" and not wanted_times
    return TranscriptionFields(form, "word" in wanted_times, "segment" in wanted_times or unasked, stream)


def _listed(name: str, repeated: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """The members of a list, in any form: several fields, one JSON list, or one text with commas."""
    for field, values in repeated.items():
        if _NUMBERED.sub("", field) == name:
            for value in values:
                yield from _members(value)


def _members(value: str) -> Iterator[str]:
    try:
        read = json.loads(value) if value.lstrip().startswith("[") else value.split(",")
    except (ValueError, RecursionError):
        read = [value]
    for member in read:
        if text := str(member).strip().strip("\"'"):
            yield text


def _check_temperature(text: str) -> None:
    try:
        float(text or 0)
    except ValueError:
        message = f"cannot use the temperature {text[:40]!r}: no number"
        raise ApiError(400, message, "bad_value", param="temperature") from None


def _truth(name: str, fields: Mapping[str, str]) -> bool:
    try:
        return truth(fields.get(name, ""))
    except ApiError as e:
        e.param = name
        raise


def _wrong(what: str, value: str, known: tuple[str, ...], param: str = "") -> ApiError:
    text = f"cannot answer with the {what} {value[:40]!r}; known: {', '.join(known)}"
    return ApiError(400, text, "bad_value", param=param or what)
