"""Sends one clip with a known text to the port, as a client does: `python -m modelward.daemon.health.probe_process`.

It reads one JSON job on standard input and writes one JSON outcome on standard output. It is a separate process because
it reads clips and tokens from disks that may hang, and waits for a port that may not answer. Invariant: it changes
nothing and always ends.
"""

from __future__ import annotations

import http.client
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter
from typing import Final, NamedTuple

import msgspec

from ...worker.shared.token_file import BadTokenFile, tokens_in
from ..system.safe_read import open_regular
from .http_post import NotDelivered, within
from .probe_record import ProbeAnswer, ProbeJob
from .probe_text import error_rate

MAX_JOB_BYTES: Final = 64 * 1024
MAX_CLIP_BYTES: Final = 4 << 20
MAX_TEXT_BYTES: Final = 16 << 10
MAX_ANSWER_BYTES: Final = 1 << 20
MAX_LISTED: Final = 1000
BOUNDARY: Final = "modelward-probe-4f1c9a"
NO_CLIP: Final = "no clip"


class ProbeClip(NamedTuple):
    """The clip that is sent, and its text."""

    name: str
    data: bytes
    text: str


def main() -> int:
    """Returns 0 also for a probe that failed: the outcome has the reason."""
    job = msgspec.json.decode(sys.stdin.buffer.read(MAX_JOB_BYTES), type=ProbeJob)
    print(msgspec.json.encode(probe(job)).decode(), flush=True)
    return 0


def probe(job: ProbeJob) -> ProbeAnswer:
    """Sends one clip."""
    try:
        with within(job.seconds):
            clip = _clip(job)
            if clip is None:
                return ProbeAnswer(off=NO_CLIP)
            token = _token(job.token_file)
    except (OSError, BadTokenFile, UnicodeDecodeError) as e:
        return ProbeAnswer(off=f"cannot read the clip, its text or the token: {getattr(e, 'strerror', None) or e}")
    except NotDelivered:
        return ProbeAnswer(off="the disk with the clip does not answer")
    began = perf_counter()
    try:
        with within(job.seconds):
            because, version = _ask(job, clip, token)
    except NotDelivered as e:
        because, version = str(e), ""
    except OSError as e:
        because, version = f"no connection: {e.strerror or type(e).__name__}", ""
    except (http.client.HTTPException, ValueError) as e:
        because, version = f"its answer cannot be read: {type(e).__name__}", ""
    return ProbeAnswer(because=because[:500], seconds=round(perf_counter() - began, 4), version=version[:255])


def _ask(job: ProbeJob, clip: ProbeClip, token: str) -> tuple[str, str]:
    """Why the answer is not the right one, "" when it is, and the version that answered."""
    headers = {
        "Content-Type": f"multipart/form-data; boundary={BOUNDARY}",
        "User-Agent": "modelward-probe",
        "Connection": "close",
    }
    if token:
        headers["Authorization"] = f"Bearer {token}"
    connection = http.client.HTTPConnection(job.host, job.port, timeout=job.seconds)
    try:
        connection.request("POST", "/api/predict", _form(clip), headers)
        response = connection.getresponse()
        body = response.read(MAX_ANSWER_BYTES)
    finally:
        connection.close()
    version = response.getheader("X-Model-Version", "")
    if response.status != 200:
        return f"it answered {response.status}{_reason(body)}", version
    heard = json.loads(body)
    text = heard.get("result") if isinstance(heard, dict) else None
    if not isinstance(text, str):
        return "its answer holds no text", version
    rate = error_rate(text, clip.text)
    if rate > job.max_error_rate:
        most = f"error rate {rate:.2f}, at most {job.max_error_rate:.2f}"
        return f"{clip.name} was heard as {text[:100]!r}, not {clip.text[:100]!r} ({most})", version
    return "", version


def _reason(body: bytes) -> str:
    try:
        return f": {json.loads(body)['error']['message']}"
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""


def _form(clip: ProbeClip) -> bytes:
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="audio"; filename="probe.wav"\r\n'
    return f"{head}Content-Type: audio/wav\r\n\r\n".encode() + clip.data + f"\r\n--{BOUNDARY}--\r\n".encode()


def _clip(job: ProbeJob) -> ProbeClip | None:
    """The configured clip; else the smallest of the first directory that has any. Raises OSError."""
    if job.clip:
        path = Path(job.clip)
        return ProbeClip(path.name, _read(path, MAX_CLIP_BYTES), job.text or _text(path.with_suffix(".txt")))
    for directory in job.directories:
        found = sorted(_pairs(Path(directory)), key=lambda pair: (pair[0], pair[1]))
        if found:
            path = found[0][1]
            return ProbeClip(path.name, _read(path, MAX_CLIP_BYTES), _text(path.with_suffix(".txt")))
    return None


def _pairs(directory: Path) -> Iterator[tuple[int, Path]]:
    """Sizes and paths of the clips that have a text."""
    try:
        listed = [path for path, _ in zip(directory.iterdir(), range(MAX_LISTED), strict=False)]
    except OSError:
        return
    for path in listed:
        if path.suffix == ".wav" and path.with_suffix(".txt").is_file():
            size = path.stat().st_size
            if size <= MAX_CLIP_BYTES:
                yield size, path


def _text(path: Path) -> str:
    return _read(path, MAX_TEXT_BYTES).decode("utf-8-sig").strip()


def _token(path: str) -> str:
    """The first token of the service; "" when it requires none."""
    return tokens_in(_read(Path(path), MAX_TEXT_BYTES * 4))[0] if path else ""


def _read(path: Path, most: int) -> bytes:
    with open_regular(path) as file:
        data: bytes = file.read(most + 1)
    if len(data) > most:
        raise OSError(0, f"{path.name} is larger than {most} bytes")
    return data


if __name__ == "__main__":
    sys.exit(main())
