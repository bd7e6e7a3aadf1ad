"""The messages between the daemon and the processes that validate or compile a version for it.

A request is one JSON object on the child's standard input; its answers are lines as in `protocol`. It decides what a
legal message is and does no I/O.
"""

from __future__ import annotations

from typing import Final

import msgspec

from .protocol import Count, Message, Seconds, decoded


class Candidate(msgspec.Struct, frozen=True):
    """What a validator is asked to judge: one JSON object on its standard input.

    `directory` was made for it and is empty: there an accepted version is left in the daemon's own form, for the daemon
    to check and to rename into place. Nothing else of the cache is the validator's to change. `live_artifact` is what
    the budget gate compares with ("" to skip it); zero limits mean none. `memory_short`: the machine has less memory
    now than the rules allow, so that running out of it proves nothing about the version. `min_free_bytes` or
    `min_free_fraction` of the disk of `directory` is to stay free; the larger one counts. `passed_over` are links
    directly in the version that somebody put there by mistake: no part of it.
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


class GateStarted(Message, frozen=True, tag="gate_started"):
    """A gate begins: if nothing follows, this is the one that did not come back."""

    gate: str


class Copied(Message, frozen=True, tag="copied"):
    """The version lies whole in the validator's directory, described as an artifact is, until its verdict: what is made
    of it may be begun."""

    digest: str
    bytes: Count = 0


class GateDone(Message, frozen=True, tag="gate_done"):
    """A gate's answer. A warning passes and is shown."""

    gate: str
    passed: bool
    seconds: Seconds
    because: str = ""
    warning: bool = False


class Judged(Message, frozen=True):
    """A validator's last line. `digest` is "" when it was not reached; an accepted version lies in its directory.

    `changing` says that the version was modified while it was read: no verdict, look again later. `hindered`: the
    machine, not the version, is in the way (no memory, no disk, stopped): no verdict, try again later.
    `load_bytes` is the memory that loading and one run took, `load_seconds` the CPU time of loading.
    """

    accepted: bool
    because: str = ""
    digest: str = ""
    bytes: Count = 0
    load_bytes: Count = 0
    load_seconds: Seconds = 0.0
    changing: bool = False
    hindered: bool = False


FromValidator = GateStarted | GateDone | Copied | Judged

STAGES: Final = ("mapped", "rewritten")
"""The forms that a compiler makes of a version, the cheap one first."""


class FormRequest(msgspec.Struct, frozen=True):
    """What a compiler is asked to make: one JSON object on its standard input.

    `artifact` is an accepted version's directory, `root` the directory in which forms lie, to be read. `directory` was
    made for it and is empty: each form is left there, in a directory of its stage's name, for the daemon to check and
    to rename into `root`. `stages` is what to make of STAGES, `level` what the rewritten form must share with the
    original. `lone_threads` is with how many threads a run may be made that has the machine to itself (0: with no more
    than any other). Zero limits mean none. `urgent`: a version waits for the form, so the processor is not left to
    whatever else there is. `learned` are recipes of earlier compilations by their key (see FormLearned).
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
    """A form lies whole in the directory of its stage, and is not touched any more.

    `form` is mapped, exact or fast; `compiled` is for people: gain, steps.
    """

    stage: str
    form: str
    because: str = ""
    compiled: dict[str, str | float | bool] = {}


class FormRefused(Message, frozen=True, tag="form_refused"):
    """There is no such form of this version. `again`: it may go better later; else it is so on this machine."""

    stage: str
    because: str
    again: bool = False


class FormLearned(Message, frozen=True, tag="form_learned"):
    """What helps to compile the next version with the same graph on this machine; `key` says which those are."""

    key: str
    recipe: dict[str, object]


class FormsDone(Message, frozen=True, tag="forms_done"):
    """A compiler's last line: every stage was made or refused."""


FromCompiler = FormStarted | FormProgress | FormMade | FormRefused | FormLearned | FormsDone

_from_validator: msgspec.json.Decoder[FromValidator] = msgspec.json.Decoder(FromValidator)
_from_compiler: msgspec.json.Decoder[FromCompiler] = msgspec.json.Decoder(FromCompiler)


def decode_from_validator(line: bytes) -> FromValidator:
    """The message in one line of a validator's output. Raises BadMessage with the reason when it is none."""
    return decoded(_from_validator, line, "a validator")


def decode_from_compiler(line: bytes) -> FromCompiler:
    """The message in one line of a compiler's output. Raises BadMessage with the reason when it is none."""
    return decoded(_from_compiler, line, "a compiler")
