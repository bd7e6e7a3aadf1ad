"""The messages between the daemon and the processes that validate or compile a version for it.

A request is one JSON object on the child's standard input; its answers are lines as in `protocol`. It decides which
messages are legal and does no I/O.
"""

from __future__ import annotations

from typing import Final

import msgspec

from .protocol import Count, Message, Seconds, decoded


class Candidate(msgspec.Struct, frozen=True):
    """What a validator has to judge: one JSON object on its standard input.

    `directory` was made for it and is empty. There it leaves an accepted version in the daemon's own form. The daemon
    checks that and renames it into place; the validator may change nothing else in the cache. `live_artifact` is what
    the budget gate compares with ("" to skip it); zero limits mean none. `memory_short`: the machine has less memory
    now than the rules allow, so running out of it proves nothing about the version. `min_free_bytes` or
    `min_free_fraction` of the disk of `directory` must stay free; the larger one counts. `passed_over` are links
    directly in the version that were put there by mistake: they are no part of it. `sequence_floor` is the highest
    number of a signature that was accepted, `accepted_before` the digests that were accepted under this name: they may
    have a lower one. So may the version whose SHA256SUMS has the SHA-256 `vouched_sums`: the record of a fleet wants
    exactly it ("": there is no such record). `now_seconds` is the time by which a signature ends.
    """

    path: str
    version: str
    kind: str = "sensevoice"
    directory: str = ""
    live_artifact: str = ""
    memory_bytes: int = 0
    memory_short: bool = False
    timeout_seconds: float = 120.0
    threads: int = 1
    providers: tuple[str, ...] = ("CPUExecutionProvider",)
    checksums: str = "if-present"
    public_keys: tuple[str, ...] = ()
    golden: str = ""
    max_error_rate: float = 0.10
    max_latency_ratio: float = 2.0
    min_free_bytes: int = 0
    min_free_fraction: float = 0.0
    passed_over: tuple[str, ...] = ()
    sequence_floor: int = 0
    accepted_before: tuple[str, ...] = ()
    vouched_sums: str = ""
    now_seconds: float = 0.0


class GateStarted(Message, frozen=True, tag="gate_started"):
    """A gate begins. If nothing follows, the child ended or hung in this gate."""

    gate: str


class Copied(Message, frozen=True, tag="copied"):
    """The version is whole in the validator's directory, described like an artifact, until its verdict. Compilation may
    begin.
    """

    digest: str
    bytes: Count = 0


class GateDone(Message, frozen=True, tag="gate_done"):
    """The result of a gate. A warning passes and is shown."""

    gate: str
    passed: bool
    seconds: Seconds
    because: str = ""
    warning: bool = False


class Judged(Message, frozen=True):
    """A validator's last line. An accepted version is in its directory.

    `digest` is "" when the validator did not get that far. `changing`: the version was modified while it was read;
    there is no verdict, and it is judged again later. `hindered`: the machine, not the version, prevented a verdict (no
    memory, no disk, stopped); it is tried again later. `incomplete`: the rejection may end when the rest of a copy
    comes. `load_bytes` is the memory that loading and one run took, `load_seconds` the CPU time of loading. `sequence`
    is the number in its signature, 0 for none.
    """

    accepted: bool
    because: str = ""
    digest: str = ""
    bytes: Count = 0
    load_bytes: Count = 0
    load_seconds: Seconds = 0.0
    changing: bool = False
    hindered: bool = False
    incomplete: bool = False
    sequence: Count = 0


FromValidator = GateStarted | GateDone | Copied | Judged

STAGES: Final = ("mapped", "rewritten")
"""The forms that a compiler makes of a version, the cheapest one first."""


class FormRequest(msgspec.Struct, frozen=True):
    """What a compiler has to make: one JSON object on its standard input.

    `artifact` is an accepted version's directory, `root` the directory of forms, for reading. `directory` was made for
    it and is empty. Each form is left there, in a directory with its stage's name. The daemon checks it and renames it
    into `root`. `stages` is which of STAGES to make, `level` what the rewritten form must share with the original.
    `lone_threads` is the number of threads for a run that has the machine alone (0: no more than any other). Zero
    limits mean none. `urgent`: a version waits for the form, so it does not run at idle priority. `learned` are recipes
    of earlier compilations by their key (see FormLearned).
    """

    artifact: str
    root: str
    directory: str
    level: str = "exact"
    stages: tuple[str, ...] = STAGES
    memory_bytes: int = 0
    cpu_seconds: int = 0
    threads: int = 1
    lone_threads: int = 0
    providers: tuple[str, ...] = ("CPUExecutionProvider",)
    golden: str = ""
    urgent: bool = False
    learned: dict[str, dict[str, object]] = {}


class FormStarted(Message, frozen=True, tag="form_started"):
    """A stage begins."""

    stage: str


class FormProgress(Message, frozen=True, tag="form_progress"):
    """A sign of progress inside a stage, for people."""

    because: str = ""


class FormMade(Message, frozen=True, tag="form_made"):
    """A form is whole in the directory of its stage, and does not change any more.

    `form` is mapped, exact or fast; `compiled` is for people: gain, steps.
    """

    stage: str
    form: str
    because: str = ""
    compiled: dict[str, str | float | bool] = {}


class FormRefused(Message, frozen=True, tag="form_refused"):
    """There is no such form of this version. `again`: a later try may succeed; otherwise the result holds on this
    machine.
    """

    stage: str
    because: str
    again: bool = False


class FormLearned(Message, frozen=True, tag="form_learned"):
    """What helps to compile the next version with the same graph on this machine; `key` identifies those versions."""

    key: str
    recipe: dict[str, object]


class FormsDone(Message, frozen=True, tag="forms_done"):
    """A compiler's last line: every stage was made or refused."""


FromCompiler = FormStarted | FormProgress | FormMade | FormRefused | FormLearned | FormsDone

_from_validator: msgspec.json.Decoder[FromValidator] = msgspec.json.Decoder(FromValidator)
_from_compiler: msgspec.json.Decoder[FromCompiler] = msgspec.json.Decoder(FromCompiler)


def decode_from_validator(line: bytes) -> FromValidator:
    """The message in one line of a validator's output. Raises BadMessage with the reason when the line is no
    message.
    """
    return decoded(_from_validator, line, "a validator")


def decode_from_compiler(line: bytes) -> FromCompiler:
    """The message in one line of a compiler's output. Raises BadMessage with the reason when the line is no message."""
    return decoded(_from_compiler, line, "a compiler")
