"""Recordings for tests of jobs, and what the demo hears in them; clients of `/v1/jobs`."""

from __future__ import annotations

import io
import wave
from functools import cache
from typing import Any

import httpx
from tests.support import eventually
from tests.worker.running import clip

PAUSES = "long-with-pauses"
SAID_ONCE = (
    "".join(("2025550147", "2025550189", "*31#0049", "5550123", "911112", "0123456789", "2025550147", "778899")) * 2
)


def _frames(data: bytes) -> bytes:
    with wave.open(io.BytesIO(data)) as file:
        return file.readframes(file.getnframes())


def wav_of(frames: bytes) -> bytes:
    """A mono 16 kHz WAV file of these frames."""
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16000)
        file.writeframes(frames)
    return out.getvalue()


@cache
def recording(times: int) -> bytes:
    """The demo's long clip so many times over."""
    return wav_of(_frames(clip(PAUSES)) * times)


def said(times: int) -> str:
    """What the version that writes digits hears in it, without spaces."""
    return SAID_ONCE * times


def heard(text: str) -> str:
    """A text without what stands between the digits."""
    return "".join(text.split()).replace(".", "")


def send(client: httpx.Client, audio: bytes, headers: dict[str, str] | None = None, **fields: str) -> httpx.Response:
    """A job; the form's other fields by name."""
    return client.post("/v1/jobs", files={"file": ("a.wav", audio, "audio/wav")}, data=fields, headers=headers or {})


def accepted(client: httpx.Client, audio: bytes, **fields: str) -> str:
    """The id of a job that was taken in."""
    answer = send(client, audio, **fields)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def seen(client: httpx.Client, job: str) -> dict[str, Any]:
    """A job as it is now."""
    answer = client.get(f"/v1/jobs/{job}")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def at_end(client: httpx.Client, job: str) -> dict[str, Any]:
    """A job once it ended."""

    def look() -> dict[str, Any] | None:
        found = seen(client, job)
        return found if found["state"] in ("done", "failed", "cancelled") else None

    found = eventually(look)
    assert found is not None
    return found
