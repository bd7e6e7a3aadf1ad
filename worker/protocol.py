"""The messages between daemon and workers: newline-delimited JSON, one object a message, at most 64 KiB.

Both programs import it. It decides which messages are legal and does no I/O. A message carries its kind in the key
"type"; unknown keys are ignored, so that either side may add keys first.
"""

from __future__ import annotations

from typing import Annotated, Final, TypeVar

import msgspec

from .settings import Terms
from .shared.unreadable import UNREADABLE

PROTOCOL: Final = 1
T = TypeVar("T")
MAX_MESSAGE_BYTES: Final = 64 * 1024

BUCKETS_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Bounds of the durations that a worker reports; what is longer is counted apart."""

# JSON has numbers of any size: counts and sums must stay within what all programs can count.
Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
Seconds = Annotated[float, msgspec.Meta(ge=0, le=1e9)]
# The length of a directory's name: a longer name of a version would fill tables and answers.
VersionName = Annotated[str, msgspec.Meta(max_length=255)]


class BadMessage(ValueError):
    """A line that is no message of this protocol; the text gives the reason."""


class Message(msgspec.Struct, frozen=True, tag_field="type", tag=str.lower):
    """Any message; the tag is the class name in lower case unless given."""


# worker -> daemon


class Hello(Message, frozen=True):
    """A worker's first message. `serving` is "" while it serves nothing; `artifact` is where it was loaded from.

    Our own workers also send the `release` of the package, the `terms` that they run with, and their `confinement`,
    with what of it is `missing` in words. `places` are the directories that they are confined to, each with its
    identity (sandbox.worker_sandbox).
    """

    pid: int
    name: str = ""
    protocol: int = PROTOCOL
    attached: bool = True
    serving: VersionName = ""
    artifact: str = ""
    release: str = ""
    terms: Terms | None = None
    confinement: str = ""
    missing: str = ""
    places: dict[str, str] = {}


class Prepared(Message, frozen=True):
    """The version is loaded beside the served one and warm; `commit` will swap it in."""

    rollout: str
    version: VersionName
    reason: str = ""
    seconds: Seconds = 0.0


class CannotPrepare(Message, frozen=True, tag="refused"):
    """The version cannot be loaded; the worker serves on with what it has."""

    rollout: str
    version: VersionName
    reason: str = ""
    seconds: Seconds = 0.0


class Serving(Message, frozen=True):
    """From now on this version answers requests. `rollout` is "" for the version of the welcome."""

    rollout: str
    version: VersionName


class RunTimes(msgspec.Struct, frozen=True):
    """How long recent runs of the model took, waiting included: how many there were, and the 95th percentile."""

    runs: Count = 0
    p95_seconds: Seconds = 0.0


class Durations(msgspec.Struct, frozen=True):
    """How long answers took that a model worked on: how many up to each of BUCKETS_SECONDS and above all, and all
    together. Both only grow; empty where the worker does not report it.
    """

    buckets: Annotated[list[Count], msgspec.Meta(max_length=len(BUCKETS_SECONDS) + 1)] = []
    seconds: Seconds = 0.0


class Beat(Message, frozen=True):
    """Signs of life. `requests` and `errors` only grow; `errors` counts answers of 500 and above.

    `shared` and `lone` count runs that shared the machine and faster runs that had it alone; our own workers
    send them. `refusing` is why a request would not be answered now, "" when it would. `stuck` counts jobs that
    outlived every limit: only the worker's end ends them. `durations` are of all answers since the worker began.
    """

    inflight: Count = 0
    requests: Count = 0
    errors: Count = 0
    p95_seconds: Seconds = 0.0
    rss_bytes: Count = 0
    shared: RunTimes = RunTimes()
    lone: RunTimes = RunTimes()
    refusing: str = ""
    stuck: Count = 0
    durations: Durations = Durations()


class Reopened(Message, frozen=True):
    """Log files were reopened: nothing more is written to the old ones."""


class Applied(Message, frozen=True):
    """What was in `settings` holds from now on, as far as a running worker can: `terms` are what it runs with."""

    terms: Terms


class Drained(Message, frozen=True):
    """No request is left and none will be accepted; the worker ends."""


FromWorker = Hello | Prepared | CannotPrepare | Serving | Beat | Reopened | Applied | Drained

# daemon -> worker


class Welcome(Message, frozen=True):
    """Answer to hello. `version` is "" when there is nothing to serve yet; `artifact` is the directory to load from."""

    version: str = ""
    artifact: str = ""
    beat_seconds: Seconds = 5.0


class Prepare(Message, frozen=True):
    """Load `version` from `artifact` beside what is served; with `unload_first` after unloading that."""

    rollout: str
    version: str
    artifact: str
    unload_first: bool = False


class Commit(Message, frozen=True):
    """Serve what was prepared under this rollout."""

    rollout: str


class Abort(Message, frozen=True):
    """Drop what was prepared under this rollout."""

    rollout: str


class Settings(Message, frozen=True):
    """Run with these terms, as far as that is possible without a restart, then answer `applied`.

    Sent only to workers whose `hello` has their terms. `tokens` are the SHA-256 of those in `token_file`: for a worker
    that is confined to other directories and has to enforce them until it is replaced.
    """

    terms: Terms
    tokens: tuple[str, ...] = ()


class ReopenLogs(Message, frozen=True, tag="reopen_logs"):
    """Open the log files anew by name, then answer `reopened`."""


class Drain(Message, frozen=True):
    """Accept nothing more, answer what was accepted, send `drained`, end.

    For `notice_seconds` before that, report that this worker is not ready, and go on accepting.
    """

    notice_seconds: Seconds = 0.0


class Stop(Message, frozen=True):
    """End now."""


FromDaemon = Welcome | Prepare | Commit | Abort | Settings | ReopenLogs | Drain | Stop

# the settings of a worker at its start


SLOT_FILES: Final = ("slots", "decode", "long")
"""For running the model, for decoding audio, and for running the model on pieces of long clips. The size of each file
is how many may do that at once.
"""


class WorkerSettings(Terms, frozen=True):
    """All settings of a worker of ours at its start: one JSON object in its argument `--settings`.

    `slots` is the directory of SLOT_FILES, through which workers share what may be done at once ("": each for itself).
    `cache_dir` is where all artifacts are ("": anywhere). `jobs_dir` is where transcription jobs are ("": no jobs).
    `run` identifies the run of the daemon that started it. `confine`: the worker gives up what it does not need.
    """

    name: str
    worker_socket: str
    api_socket: str
    listen_fd: int
    slots: str = ""
    cache_dir: str = ""
    jobs_dir: str = ""
    run: str = ""


_encoder = msgspec.json.Encoder()
_from_worker: msgspec.json.Decoder[FromWorker] = msgspec.json.Decoder(FromWorker)
_from_daemon: msgspec.json.Decoder[FromDaemon] = msgspec.json.Decoder(FromDaemon)


def encode(message: Message) -> bytes:
    """One line, newline included. Raises BadMessage when it is longer than MAX_MESSAGE_BYTES, or is not Unicode."""
    try:
        line = _encoder.encode(message) + b"\n"
    except UnicodeEncodeError as e:
        raise BadMessage(f"cannot send {type(message).__name__.lower()}: it holds what is no Unicode") from e
    if len(line) > MAX_MESSAGE_BYTES:
        raise BadMessage(
            f"cannot send {type(message).__name__.lower()}: {len(line)} bytes, at most {MAX_MESSAGE_BYTES}"
        )
    return line


def decode_from_worker(line: bytes) -> FromWorker:
    """The message in one line. Raises BadMessage with the reason when the line is no message."""
    return decoded(_from_worker, line, "a worker")


def decode_from_daemon(line: bytes) -> FromDaemon:
    """The message in one line. Raises BadMessage with the reason when the line is no message."""
    return decoded(_from_daemon, line, "the daemon")


def decoded(decoder: msgspec.json.Decoder[T], line: bytes, sender: str) -> T:
    """The message of `sender` in one line. Raises BadMessage with the reason when the line is no message."""
    if len(line) > MAX_MESSAGE_BYTES:
        raise BadMessage(f"cannot read a message: {len(line)} bytes, at most {MAX_MESSAGE_BYTES}")
    try:
        return decoder.decode(line)
    except UNREADABLE as e:
        raise BadMessage(f"cannot read {sender}'s message: {e}") from e


class Lines:
    """Cuts a byte stream into lines of at most MAX_MESSAGE_BYTES; never holds more than that."""

    def __init__(self) -> None:
        self._held = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """The lines completed by `data`, newlines removed. Raises BadMessage when a line grows past the limit."""
        self._held += data
        *lines, rest = bytes(self._held).split(b"\n")
        self._held = bytearray(rest)
        if any(len(line) > MAX_MESSAGE_BYTES for line in (*lines, rest)):
            raise BadMessage(f"cannot read a message: longer than {MAX_MESSAGE_BYTES} bytes")
        return [line for line in lines if line.strip()]
