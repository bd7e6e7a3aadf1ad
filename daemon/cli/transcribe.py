"""`modelward transcribe FILE...`: sends audio to the service and prints the text of each file, or writes it to files.

A name may be a file, a directory of audio, or `-` for standard input; `--resume` takes up a job instead. A file that is
refused is reported and does not keep the others. Must not hold a file. Invariant: what goes to standard output is texts
alone, progress and reasons go to standard error.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Final, NamedTuple

from ..errors import (
    BadUsage,
    ModelwardError,
    Refused,
    Unreachable,
)
from ..system.safe_read import open_regular
from .argument_types import something
from .audio_files import (
    STDIN,
    AudioFile,
    find_files,
    output_paths,
)
from .language import say
from .render import clean
from .transcribe_job import outcome_of, parsed
from .transcription_request import (
    SpeechService,
    exchange,
    length_of,
    post_file,
    service_at,
)
from .upload_progress import UploadProgress

DEFAULT_URL: Final = "http://127.0.0.1:7860"
FORMATS: Final = ("txt", "srt", "vtt", "json")
SUBTITLES: Final = frozenset({"srt", "vtt"})
_MAX_TOKEN_BYTES: Final = 4096


class Wanted(NamedTuple):
    """How files are to be transcribed, and what is made of the answers."""

    fields: Mapping[str, str]
    form: str = "txt"
    job: bool = False


def arguments(parser: argparse.ArgumentParser) -> None:
    """FILE..., --url, --language, --itn, --format, --json, --job, --resume, --output, --token-file, --timeout."""
    parser.add_argument(
        "files",
        metavar="FILE",
        nargs="*",
        help="audio in any format that the service reads, a directory of it, or - for standard input",
    )
    parser.add_argument("--url", default="", help=f"the service (default $MODELWARD_URL or {DEFAULT_URL})")
    parser.add_argument("--language", default="", help="zh, en, yue, ja, ko or auto")
    parser.add_argument("--itn", action="store_true", help="with punctuation, numbers as digits")
    parser.add_argument("--format", choices=FORMATS, default="", help="text, subtitles, or the service's JSON answer")
    parser.add_argument("--json", action="store_true", help="the same as --format json, one answer a line")
    parser.add_argument("--job", action="store_true", help="as a job: for long recordings, through proxies too")
    parser.add_argument("--resume", metavar="JOB", default="", help="print the text of a job that was sent before")
    parser.add_argument(
        "--output", metavar="DIR", type=something, help="write each text to a file below this directory"
    )
    parser.add_argument(
        "--token-file", metavar="FILE", type=something, help="file whose first line is the bearer token"
    )
    parser.add_argument("--timeout", metavar="SECONDS", type=float, default=600.0, help="for each file (default 600)")


def run(args: argparse.Namespace) -> int:
    """0 all answered, 1 one or more refused, 3 no service answers."""
    fields = {"language": args.language} if args.language else {}
    if args.itn:
        fields["itn"] = "true"
    url = args.url or os.environ.get("MODELWARD_URL", "") or DEFAULT_URL
    token = _token(args.token_file) if args.token_file else ""
    if args.json and args.format not in ("", "json"):
        raise BadUsage(f"cannot print --json and --format {args.format} at once")
    form = "json" if args.json else args.format or "txt"
    if args.job and form in SUBTITLES:
        raise BadUsage(f"cannot write {form} of a job: without --job, or fetch /v1/jobs/ID/result")
    service = service_at(url, token, args.timeout)
    if args.resume:
        if args.files or args.job or args.output or form in SUBTITLES:
            raise BadUsage("cannot take up a job and send files at once: --resume JOB prints what that job says")
        return _resume(service, args.resume, form)
    if not args.files:
        raise BadUsage("cannot transcribe: no FILE is named; - is standard input")
    return _send_all(service, args.files, Wanted(fields, form, args.job), output=args.output or "")


def send(
    url: str,
    names: Sequence[str],
    fields: Mapping[str, str] | None = None,
    *,
    token: str = "",
    seconds: float = 600.0,
) -> int:
    """Sends files in turn, prints the text of each; the exit status. Raises ModelwardError for what ends it."""
    return _send_all(service_at(url, token, seconds), names, Wanted(fields or {}))


def _send_all(service: SpeechService, names: Sequence[str], wanted: Wanted, *, output: str = "") -> int:
    files, form = find_files(names), wanted.form
    if len(files) > 1 and form in SUBTITLES and not output:
        raise BadUsage(f"cannot print the {form} of {len(files)} files one after another: --output DIR writes them")
    places = output_paths(output, files, f".{form}") if output else [None] * len(files)
    status = 0
    for file, place in zip(files, places, strict=True):
        try:
            text, written = _answer(service, file, wanted)
            if place is not None:
                _write(place, text)
        except Unreachable:
            raise
        except ModelwardError as e:
            say(e, file=sys.stderr)
            status = e.exit_status
            continue
        if place is not None:
            print(clean(place))
        elif form == "txt" and len(files) > 1:
            print(f"{clean(file.path)}: {text}", end="")
        else:
            print(text, end="")
        sys.stdout.flush()
        written()
    return status


def _resume(service: SpeechService, job_id: str, form: str) -> int:
    """Prints the result of a job and has it removed. Raises Refused, Unreachable."""
    from ...worker.shared.job_records import is_id  # here: a command without a job needs no msgspec

    if not is_id(job_id):
        raise BadUsage(f"cannot take up the job {clean(job_id)!r}: an id is job_ and 32 hexadecimal digits")
    result, written = _outcome(service, job_id, {"id": job_id}, taken_up=True)
    if isinstance(result, str):  # the job was asked for text or subtitles
        print(result, end="")
    elif form == "json":
        print(json.dumps(result, ensure_ascii=False))
    else:
        print(clean(result.get("result", result.get("text"))))
    sys.stdout.flush()
    written()
    return 0


def _answer(service: SpeechService, file: AudioFile, wanted: Wanted) -> tuple[str, Callable[[], None]]:
    """What is printed for one file, with its line break, and what to call once it is written.

    Raises Refused with the reason, or Unreachable.
    """
    # The defaults for figures are those of /api/predict, wherever it is sent.
    if wanted.form in SUBTITLES:
        fields = {"itn": "false", **wanted.fields, "response_format": wanted.form}
        status, raw = _sent(service, file, "/v1/audio/transcriptions", "file", fields)
        if status < 400:
            return raw.decode(errors="replace"), _nothing
        _read(file, status, raw)
    if wanted.job:
        fields = {"itn": "false", **wanted.fields, "response_format": "predict"}
        status, raw = _sent(service, file, "/v1/jobs", "file", fields)
        result, written = _outcome(service, file.path, _read(file, status, raw))
        data = result if isinstance(result, dict) else {"result": result}
        text = json.dumps(data, ensure_ascii=False)
    else:
        status, raw = _sent(service, file, "/api/predict", "audio", wanted.fields)
        data, text = _read(file, status, raw), raw.decode(errors="replace")
        written = _nothing
    return (text.strip() + "\n" if wanted.form == "json" else f"{clean(data.get('result'))}\n"), written


def _nothing() -> None: ...


def _outcome(
    service: SpeechService, name: str, job: dict[str, Any], *, taken_up: bool = False
) -> tuple[dict[str, Any] | str, Callable[[], None]]:
    def ask(method: str, path: str) -> tuple[int, dict[str, Any]]:
        status, raw = exchange(service, method, path)
        return status, parsed(raw)

    return outcome_of(job, name, ask, patience_seconds=service.seconds, taken_up=taken_up)


def _sent(
    service: SpeechService, file: AudioFile, path: str, part: str, fields: Mapping[str, str]
) -> tuple[int, bytes]:
    with _open(file.path) as opened:
        progress = UploadProgress(sys.stderr, file.place.name, length_of(opened))
        return post_file(service, path, part, file.place.name, opened, fields, progress)


def _read(file: AudioFile, status: int, raw: bytes) -> dict[str, Any]:
    """The JSON of an answer. Raises Refused with the reason."""
    try:
        data = json.loads(raw)
    except (ValueError, RecursionError):
        data = None
    if not isinstance(data, dict):
        raise Refused(f"cannot transcribe {clean(file.path)}: the service answered {status} and no JSON")
    if status >= 400:
        raise Refused(f"cannot transcribe {clean(file.path)}: {_reason(data, status)}")
    return data


def _reason(data: Mapping[str, Any], status: int) -> str:
    error = data.get("error")
    message = clean(error.get("message")) if isinstance(error, dict) else f"the service answered {status}"
    return message.removeprefix("cannot transcribe: ")


def _token(path: str) -> str:
    try:
        with open_regular(path) as file:
            line = file.readline(_MAX_TOKEN_BYTES).strip()
    except OSError as e:
        raise BadUsage(f"cannot read the token in {path}: {e.strerror}") from e
    token = line.decode("ascii", "replace")
    if not token.isascii() or not token.isprintable() or not token:
        raise BadUsage(f"cannot use the token in {path}: its first line must be printable ASCII")
    return token


def _open(name: str) -> IO[bytes]:
    try:
        if name == STDIN:
            return open(sys.stdin.fileno(), "rb", closefd=False)
        return open_regular(name)
    except (OSError, ValueError) as e:
        raise Refused(f"cannot read {clean(name)}: {getattr(e, 'strerror', None) or e}") from e


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_name(f".{path.name}.part")
        aside.write_text(text, encoding="utf-8")
        aside.replace(path)
    except OSError as e:
        raise Refused(f"cannot write {clean(path)}: {e.strerror}") from e
