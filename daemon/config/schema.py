"""The configuration as frozen models: one class a TOML table, one attribute a key, every default, every meaning.

Durations are float seconds, sizes int bytes; what zero means stands on the field. A path that may be left out is a text
and "" then. The only attributes that differ from their keys are Python's own words: `class_` and `for_`. The
descriptions are what docs/configuration.md and the manual page print. Types are no texts here (`annotations` from
`__future__`): each would be compiled at every start.
"""

from pathlib import Path
from typing import Annotated, Literal

from ..units import (
    DAY,
    HOUR,
    MINUTE,
    YEAR,
    DiskShare,
)
from . import proxy_checks, validators
from .schema_alerts import (
    Alerts,
    MonitorSection,
    ProbeSection,
)
from .schema_base import Field
from .schema_fleet import FleetSection
from .schema_logs import LogsSection
from .schema_parts import AbsolutePath, OptionalPath, Section
from .validators import (
    duration,
    number,
    size,
    whole,
)

_KIB, _MIB, _GIB = 1 << 10, 1 << 20, 1 << 30


class Models(Section):
    """Where versions arrive and how one of them is chosen."""

    root: AbsolutePath = Field(
        default=Path("/var/lib/modelward/models"), description="Drop-in directory, one sub-directory a version."
    )
    link: Annotated[str, validators.plain_name] = Field(
        default="current",
        description="Symbolic link inside `root` that names the live version; `ln` and `mv` may move it. `state`: the "
        "link is `current` in `control.state_dir`, for a root that is read-only or belongs to another program.",
    )
    kind: Literal["sensevoice", "tensor"] = Field(
        default="sensevoice",
        description="What versions are: SenseVoice, or `tensor`: any ONNX model, tensors in and out.",
    )
    activation: Literal["auto", "manual"] = Field(
        default="auto",
        description="`auto`: the highest accepted version that is not held goes live; `manual`: only the link decides.",
    )
    settle: Annotated[float, duration(0, HOUR)] = Field(
        default=2.0, description="Quiet time before an unmarked copy is judged; 0: at once."
    )
    rescan: Annotated[float, duration(0.05, HOUR)] = Field(
        default=5.0, description="How often to look at the model root, in case an event was missed."
    )
    rejected_link: Literal["restore", "keep"] = Field(
        default="restore",
        description="`restore`: a link to a rejected version is put back; `keep`: it is left, with an alert.",
    )
    keep: Annotated[int, whole(0, 10_000)] = Field(
        default=3, description="Versions kept besides those that are live, previous, held or serving."
    )


class ValidationSection(Section):
    """How a candidate is judged."""

    timeout: Annotated[float, duration(1, DAY)] = Field(
        default=120.0,
        description="For one judgement: CPU time for a version of up to 500 MiB on a usual machine, in proportion more "
        "for a larger one or a slower machine; and time without any progress. Waiting for a processor does not count.",
    )
    memory: Annotated[int, size(64 * _MIB, zero=True)] = Field(
        default=4 * _GIB,
        description="Memory that one judgement may take, at most; never more than there is. 0: all that there is.",
    )
    checksums: Literal["if-present", "required"] = Field(
        default="if-present",
        description="Whether a version must bring `SHA256SUMS`; a file that exists is always checked.",
    )
    public_keys: tuple[Annotated[str, validators.minisign_key], ...] = Field(
        default=(), description="minisign public keys; not empty: `SHA256SUMS.minisig` must verify with one of them."
    )
    golden: OptionalPath = Field(
        default="/etc/modelward/golden",
        description='Clips and their texts, NAME.wav with NAME.txt; "": only what a version ships itself.',
    )
    max_error_rate: Annotated[float, number(0, 1)] = Field(
        default=0.10, description="Character error rate over the golden set, at most."
    )
    max_latency_ratio: Annotated[float, number(above=0, at_most=1000)] = Field(
        default=2.0, description="Time a clip against the live version's, same clips, same run, at most."
    )
    alert_after: Annotated[float, duration(0, DAY)] = Field(
        default=60.0,
        description="Nothing in a version may have changed for so long before it raises an alert, and before one that "
        "looks like a copy under way is rejected, or ten times as long while it never comes to rest; 0: at once.",
    )
    compile: Literal["exact", "fast", "off"] = Field(
        default="exact",
        description="What a compiled form must share with the original: `exact`: every bit of the logits; "
        "`fast`: texts, tags and times on the clips; `off`: nothing is compiled.",
    )


class RolloutSection(Section):
    """How the workers move from one version to another."""

    canary: Annotated[int, whole(0, 1024)] = Field(
        default=1, description="Workers moved first; 0: all one after another."
    )
    bake: Annotated[float, duration(0, DAY)] = Field(
        default=10.0,
        description="How long the first are watched before the others follow, and then all of them; 0: not at all.",
    )
    max_error_ratio: Annotated[float, number(0, 1)] = Field(
        default=0.02, description="Share of requests that may fail while watched, above the old version's."
    )
    max_latency_ratio: Annotated[float, number(above=0, at_most=1000)] = Field(
        default=2.0, description="95th percentile of the answers while watched, against the old version's, at most."
    )
    reload_timeout: Annotated[float, duration(1, DAY)] = Field(
        default=60.0,
        description="For one worker to load and warm the version: CPU time, or time without any progress; 20 times the "
        "CPU time of loading that was measured in the judgement where that is more.",
    )
    overlap: Literal["auto", "required"] = Field(
        default="auto",
        description="`auto`: old and new side by side, or unload first when memory is short; "
        "`required`: refuse instead.",
    )


class WorkersSection(Section):
    """The processes that answer requests."""

    count: Annotated[int, whole(0, 1024)] = Field(
        default=0,
        description="How many; 0: one for each processor that affinity and CPU quota allow, as far as memory goes; "
        "`modelward status` gives the reason.",
    )
    threads: Annotated[int, whole(1, 1024)] = Field(
        default=1,
        description="ONNX Runtime's intra-op threads in each; a run that has the machine alone may have one a worker.",
    )
    providers: tuple[Annotated[str, validators.provider_name], ...] = Field(
        default=("CPUExecutionProvider",),
        description="ONNX Runtime's execution providers in order of preference; a missing one is logged and left out.",
    )
    listen: Annotated[str, validators.address] = Field(
        default="127.0.0.1:7860", description="Where the service answers; ignored under socket activation."
    )
    token_file: OptionalPath = Field(
        default="",
        description='Bearer tokens, one a line, for every route but /health and /ready; "": none is asked for.',
    )
    drain: Annotated[float, duration(0, DAY)] = Field(
        default=30.0, description="For requests under way when a worker ends; 0: they are cut off."
    )
    drain_notice: Annotated[float, duration(0, HOUR)] = Field(
        default=0.0,
        description="How long `/ready` answers 503 at a stop while requests are still taken, so that a load balancer "
        "notices before the port closes; it comes before `drain`. 0: not at all.",
    )
    queue: Annotated[int, whole(1, 100_000)] = Field(
        default=64, description="Waiting requests in a worker; beyond: 503 with Retry-After."
    )
    max_upload: Annotated[int, size(_KIB)] = Field(
        default=128 * _MIB, description="One request's body; an hour of WAV at 16 kHz is 110MiB."
    )
    min_upload_rate: Annotated[int, size(1, zero=True)] = Field(
        default=10 * _KIB,
        description="Bytes a second, over ten seconds; an upload that is slower is ended with 408; 0: no limit.",
    )
    max_audio: Annotated[float, duration(1, DAY)] = Field(default=HOUR, description="One clip's length.")
    request_timeout: Annotated[float, duration(1, DAY)] = Field(
        default=300.0, description="One request, waiting included."
    )
    model_aliases: tuple[Annotated[str, validators.model_alias], ...] = Field(
        default=(),
        description="Further names that clients may give for the model on OpenAI's routes, at most 32; its own, "
        "those of SenseVoice and `whisper-1` and its like are always taken.",
    )
    cors_origins: tuple[Annotated[str, validators.web_origin], ...] = Field(
        default=(),
        description="Origins of web pages that may call the service from a browser, like `https://app.example.org`, at "
        'most 32; `"*"`: any page. A token is sent in the header `Authorization`, never in a cookie.',
    )
    base_path: Annotated[str, proxy_checks.base_path] = Field(
        default="",
        description="The path below which clients reach the service through a proxy, like `/asr`. Every route answers "
        'below it and without it; `""`: none.',
    )
    trusted_proxies: tuple[Annotated[str, proxy_checks.proxy], ...] = Field(
        default=(),
        description="Addresses and networks of proxies, at most 32, `unix` for a Unix socket. From these alone "
        "`X-Forwarded-For`, `-Proto`, `-Prefix` and `Forwarded` count.",
    )
    memory: Annotated[int, size(64 * _MIB, zero=True)] = Field(
        default=0, description="Of each worker; above it the worker is replaced, drained first; 0: no limit."
    )
    confine: bool = Field(
        default=True,
        description="Each worker gives up what serving does not need: privileges, files, addresses to connect to, "
        "large parts of the kernel; false: only where something that it needs is refused.",
    )


class JobsSection(Section):
    """Long recordings whose text clients fetch later, under `/v1/jobs`. They lie in `jobs` in the state directory."""

    keep: Annotated[float, duration(MINUTE, YEAR)] = Field(
        default=DAY, description="How long the result of a job that ended is kept; then the job is removed."
    )
    max_jobs: Annotated[int, whole(1, 50_000)] = Field(
        default=5_000,
        description="Jobs, those that ended and are kept included; beyond: 503. One client has half of them at most.",
    )
    max_bytes: Annotated[int, size(_MIB)] = Field(
        default=5 * _GIB,
        description="Recordings and results together; beyond: 503. One client has half of it at most. A job that would "
        "leave less than `disk.min_free` is refused with 507.",
    )
    callbacks: tuple[Annotated[str, validators.callback], ...] = Field(
        default=(),
        description="What a job may report its end to, at most 32: beginnings of URLs, and networks that are not "
        "public, to which the hosts may lead, like `10.1.0.0/16`. All else is refused; no redirect is followed.",
    )


class SpeechSection(Section):
    """How clips are heard (kind sensevoice)."""

    trim: Literal["off", "silence"] = Field(
        default="off",
        description="`silence`: silences of two seconds and more are left out of clips of up to 30 s too, as of longer "
        "ones always; `off`: such a clip is heard as it is, unless it holds no voice at all.",
    )


class ControlSection(Section):
    """Where the daemon keeps its sockets, its state and what it compiled."""

    runtime_dir: AbsolutePath = Field(
        default=Path("/run/modelward"),
        description="api.sock and workers.sock, mode 0660.",
    )
    state_dir: AbsolutePath = Field(
        default=Path("/var/lib/modelward"), description="state.db: history, verdicts, held versions."
    )
    cache_dir: AbsolutePath = Field(
        default=Path("/var/cache/modelward"), description="What was made of accepted versions; workers load from here."
    )


class Panel(Section):
    """The page for operators, and the admin API over TCP."""

    listen: Annotated[str, validators.address_or_none] = Field(default="127.0.0.1:5000", description='Where; "": off.')
    token_file: Annotated[str, validators.token_file] = Field(
        default="",
        description="Bearer tokens, one a line, for reading and for changing. "
        '`""`: panel.token in the state directory, made by the daemon; '
        "programs of this machine that root, the daemon's user or a member of its group runs "
        "need none. A path: every request needs one; required unless `listen` is a loopback address. One in the state "
        "directory is made by the daemon when it is missing. "
        '`"none"`: every user of this machine may do everything.',
    )
    base_path: Annotated[str, proxy_checks.base_path] = Field(
        default="",
        description="The path below which browsers reach the panel through a proxy, like `/panel`. Every route answers "
        'below it and without it; `""`: none.',
    )
    hosts: tuple[Annotated[str, proxy_checks.host_name], ...] = Field(
        default=(),
        description="Further host names under which browsers reach the panel, at most 32, like `ops.example.org`. "
        "Addresses, `localhost`, the machine's name and that in `listen` always count.",
    )
    trusted_proxies: tuple[Annotated[str, proxy_checks.proxy], ...] = Field(
        default=(),
        description="As `workers.trusted_proxies`.",
    )


class DiskClass(Section):
    """A directory with a quota of its own."""

    name: Annotated[str, validators.class_name] = Field(description="What the class is called in `modelward disk`.")
    path: AbsolutePath = Field(description="The directory; nothing outside it is touched, and no link in it followed.")
    max_age: Annotated[float, duration(0)] = Field(
        default=DAY, description="Older files, links, FIFOs and sockets go; 0: no limit."
    )
    max_bytes: Annotated[int, size(zero=True)] = Field(
        default=5 * _GIB, description="Beyond it the oldest files go; 0: no limit."
    )
    max_files: Annotated[int, whole(0, 2**40)] = Field(
        default=0, description="Beyond so many the oldest files go; 0: no limit."
    )


class DiskSection(Section):
    """When the disk is swept, and what is spared."""

    check: Annotated[float, duration(1, DAY)] = Field(default=MINUTE, description="How often to look.")
    min_age: Annotated[float, duration(0)] = Field(
        default=10 * MINUTE,
        description="Nothing younger, by the later of its change and modification times, is ever removed.",
    )
    min_free: Annotated[DiskShare, validators.share] = Field(
        default=DiskShare(percent=10),
        description="Below it, sweep past the quotas in class order until `target_free`.",
    )
    target_free: Annotated[DiskShare, validators.share] = Field(
        default=DiskShare(percent=15),
        description="Where such a sweep ends.",
    )
    class_: tuple[DiskClass, ...] = Field(
        default=(DiskClass(name="uploads", path=Path("/var/lib/modelward/uploads")),),
        alias="class",
        description="Directories with a quota of their own, one table each; none given: `uploads`, as below.",
    )


class Config(Section):
    """The whole file."""

    models: Models = Models()
    validation: ValidationSection = ValidationSection()
    rollout: RolloutSection = RolloutSection()
    workers: WorkersSection = WorkersSection()
    jobs: JobsSection = JobsSection()
    speech: SpeechSection = SpeechSection()
    control: ControlSection = ControlSection()
    panel: Panel = Panel()
    logs: LogsSection = LogsSection()
    disk: DiskSection = DiskSection()
    monitor: MonitorSection = MonitorSection()
    probe: ProbeSection = ProbeSection()
    alerts: Alerts = Alerts()
    fleet: FleetSection = FleetSection()
