"""The configuration as frozen models: one class a TOML table, one attribute a key, every default.

Durations are float seconds, sizes int bytes; what zero means stands on the field. A path that may be left out is a text
and "" then. The only attributes that differ from their keys are Python's own words: `class_` and `for_`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from . import checks
from .checks import duration, number, size, whole
from .tables import Field, Table
from .units import DAY, HOUR, MINUTE, Share

_KIB, _MIB, _GIB = 1 << 10, 1 << 20, 1 << 30

AbsolutePath = Annotated[Path, checks.absolute_path]
OptionalPath = Annotated[str, checks.absolute_path_or_none]


class Section(Table):
    """Base of every table: unknown keys are mistakes and nothing changes after it is read."""


class Models(Section):
    """Where versions arrive and how one of them is chosen."""

    root: AbsolutePath = Path("/var/lib/modelward/models")
    link: Annotated[str, checks.plain_name] = "current"
    kind: Literal["sensevoice", "tensor"] = "sensevoice"
    activation: Literal["auto", "manual"] = "auto"
    settle: Annotated[float, duration(0, HOUR)] = 2.0  # 0: an unmarked copy is judged at once
    rescan: Annotated[float, duration(0.05, HOUR)] = 5.0
    rejected_link: Literal["restore", "keep"] = "restore"
    keep: Annotated[int, whole(0, 10_000)] = 3


class Validation(Section):
    """How a candidate is judged."""

    timeout: Annotated[float, duration(1, DAY)] = 120.0
    memory: Annotated[int, size(64 * _MIB, zero=True)] = 4 * _GIB  # 0: no limit
    checksums: Literal["if-present", "required"] = "if-present"
    public_keys: tuple[Annotated[str, checks.minisign_key], ...] = ()
    golden: OptionalPath = "/etc/modelward/golden"  # "": none
    max_error_rate: Annotated[float, number(0, 1)] = 0.10
    max_latency_ratio: Annotated[float, number(above=0, at_most=1000)] = 2.0
    compile: Literal["exact", "fast", "off"] = "exact"


class Rollout(Section):
    """How the workers move from one version to another."""

    canary: Annotated[int, whole(0, 1024)] = 1  # 0: all one after another
    bake: Annotated[float, duration(0, DAY)] = 10.0  # 0: no watching
    max_error_ratio: Annotated[float, number(0, 1)] = 0.02
    max_latency_ratio: Annotated[float, number(above=0, at_most=1000)] = 2.0
    reload_timeout: Annotated[float, duration(1, DAY)] = 60.0
    overlap: Literal["auto", "required"] = "auto"


class Workers(Section):
    """The processes that answer requests."""

    count: Annotated[int, whole(0, 1024)] = 0  # 0: one for each CPU
    threads: Annotated[int, whole(1, 1024)] = 1
    providers: tuple[Annotated[str, checks.provider_name], ...] = ("CPUExecutionProvider",)
    listen: Annotated[str, checks.address] = "127.0.0.1:7860"
    token_file: OptionalPath = ""  # "": no token is asked for
    drain: Annotated[float, duration(0, DAY)] = 30.0  # 0: requests under way are cut off
    queue: Annotated[int, whole(1, 100_000)] = 64
    max_upload: Annotated[int, size(_KIB)] = 64 * _MIB
    max_audio: Annotated[float, duration(1, DAY)] = HOUR
    request_timeout: Annotated[float, duration(1, DAY)] = 300.0
    memory: Annotated[int, size(64 * _MIB, zero=True)] = 0  # 0: no limit


class Control(Section):
    """Where the daemon keeps its sockets, its state and what it compiled."""

    runtime_dir: AbsolutePath = Path("/run/modelward")
    state_dir: AbsolutePath = Path("/var/lib/modelward")
    cache_dir: AbsolutePath = Path("/var/cache/modelward")


class Panel(Section):
    """The page for operators, and the admin API over TCP."""

    listen: Annotated[str, checks.address_or_none] = "127.0.0.1:5000"  # "": off
    token_file: OptionalPath = ""


class _Rotation(Section):
    """What our own logs and other programs' have in common."""

    every: Annotated[float, duration(0)] = DAY  # 0: not by time
    max_size: Annotated[int, size(4 * _KIB, zero=True)] = 100 * _MIB  # 0: not by size
    keep: Annotated[int, whole(0, 100_000)] = 30
    max_age: Annotated[float, duration(0)] = 30 * DAY  # 0: no limit
    max_total: Annotated[int, size(zero=True)] = _GIB  # 0: no limit
    compress: Literal["gzip", "zstd", "none"] = "gzip"


class LogsExtra(_Rotation):
    """Log files of another program."""

    path: Annotated[str, checks.path_pattern]
    method: Literal["reopen", "collapse", "rename"] = "collapse"
    copytruncate: bool = False  # where the file system cannot collapse: copy and truncate, which may lose lines


class Logs(_Rotation):
    """Our own log files, and those of others that are rotated along."""

    dir: AbsolutePath = Path("/var/log/modelward")
    level: Literal["debug", "info", "warning", "error"] = "info"
    extra: tuple[LogsExtra, ...] = ()


class DiskClass(Section):
    """A directory with a quota of its own."""

    name: Annotated[str, checks.class_name]
    path: AbsolutePath
    max_age: Annotated[float, duration(0)] = DAY  # 0: no limit
    max_bytes: Annotated[int, size(zero=True)] = 5 * _GIB  # 0: no limit
    max_files: Annotated[int, whole(0, 2**40)] = 0  # 0: no limit


class Disk(Section):
    """When the disk is swept, and what is spared."""

    check: Annotated[float, duration(1, DAY)] = MINUTE
    min_age: Annotated[float, duration(0)] = 10 * MINUTE
    min_free: Annotated[Share, checks.share] = Share(percent=10)
    target_free: Annotated[Share, checks.share] = Share(percent=15)
    class_: tuple[DiskClass, ...] = Field(
        default=(DiskClass(name="uploads", path=Path("/var/lib/modelward/uploads")),), alias="class"
    )


def _five_below(given: dict[str, Any]) -> float:
    return float(given.get("above", 90.0)) - 5


class AlertRule(Section):
    """A figure that raises an alert while it is `above` for `for_` seconds, until it is back at `clear`."""

    metric: Annotated[str, checks.metric_name] = "disk_used_percent"
    above: Annotated[float, number()] = 90.0
    for_: Annotated[float, duration(0, DAY)] = Field(default=60.0, alias="for")
    clear: Annotated[float, number()] = Field(default_factory=_five_below)  # not given: 5 below `above`


class Monitor(Section):
    """What is measured, how often, and what is alarming."""

    interval: Annotated[float, duration(1, HOUR)] = 10.0
    alert: tuple[AlertRule, ...] = (AlertRule(),)


class Alerts(Section):
    """Who is told."""

    to: tuple[Annotated[str, checks.alert_url], ...] = ()
    repeat: Annotated[float, duration(0)] = 4 * HOUR  # 0: said once


class Config(Section):
    """The whole file."""

    models: Models = Models()
    validation: Validation = Validation()
    rollout: Rollout = Rollout()
    workers: Workers = Workers()
    control: Control = Control()
    panel: Panel = Panel()
    logs: Logs = Logs()
    disk: Disk = Disk()
    monitor: Monitor = Monitor()
    alerts: Alerts = Alerts()
