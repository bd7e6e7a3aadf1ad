"""Finds mistakes that no single key shows: keys that contradict each other.

Pure. Each finding names its keys, so that it can be left out while one of them has a mistake of its own.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from .alert_metrics import impossible, unreachable
from .fleet_checks import is_nats
from .protected_paths import refusal
from .schema import Config
from .schema_alerts import AlertRule
from .validators import is_loopback, split_address

# The kernel's limit for a Unix socket's path is 108 bytes, its ending NUL included.
_MAX_SOCKET_PATH: Final = 107
EVERYBODY: Final = frozenset({"0.0.0.0/0", "::/0"})
_MAX_NAMES: Final = 32  # they go to each worker in one message
_LONGEST_NAME: Final = "s/decode.1023"  # by which workers wake each other


class Finding(NamedTuple):
    """A mistake and its keys (section and name); the first one is the key to change."""

    keys: tuple[str, ...]
    text: str


def findings(config: Config) -> list[Finding]:
    """Every pair of keys that contradict each other."""
    return [
        *_addresses(config),
        *_directories(config),
        *_disk(config),
        *_logs(config),
        *_lists(config),
        *_alerts(config),
        *_fleet(config),
    ]


def warnings(config: Config) -> list[str]:
    """Sentences, each with its key, about settings that are allowed and worth a report."""
    workers, found = config.workers, []
    if not workers.token_file and not is_loopback(workers.listen):
        found.append(
            f"workers.listen is {workers.listen}, which other machines reach, and workers.token_file is empty: "
            "everybody there may use the service"
        )
    if not workers.token_file and "*" in workers.cors_origins:
        found.append(
            'workers.cors_origins is "*" and workers.token_file is empty: every page that is open in a browser which '
            "reaches the service may use it"
        )
    for key, proxies in (
        ("workers.trusted_proxies", workers.trusted_proxies),
        ("panel.trusted_proxies", config.panel.trusted_proxies),
    ):
        if not EVERYBODY.isdisjoint(proxies):
            found.append(f"{key} holds every address: every client may write the address that it counts as")
    return found


def _addresses(config: Config) -> Iterator[Finding]:
    panel, workers = config.panel, config.workers
    if panel.listen and panel.token_file in ("", "none") and not is_loopback(panel.listen):
        yield Finding(
            ("panel.token_file", "panel.listen"),
            f"is {panel.token_file or 'empty'} while panel.listen is {panel.listen}, which other machines reach; "
            'a file of tokens, or listen = "127.0.0.1:5000"',
        )
    if panel.listen and panel.listen == workers.listen and split_address(panel.listen)[1] != 0:
        yield Finding(("panel.listen", "workers.listen"), "is the same address as workers.listen; another port")


def _directories(config: Config) -> Iterator[Finding]:
    root, control = config.models.root, config.control
    places: dict[str, Path | None] = {
        "control.runtime_dir": control.runtime_dir,
        "control.state_dir": control.state_dir,
        "control.cache_dir": control.cache_dir,
        "logs.dir": config.logs.dir,
    }
    for key, path in places.items():
        if path is not None and path.is_relative_to(root):
            yield Finding(
                (key, "models.root"), f"lies in models.root, where it would count as a version; outside {root}"
            )
    for key, place in (("control.runtime_dir", control.runtime_dir), ("control.cache_dir", control.cache_dir)):
        if root != place and root.is_relative_to(place):
            yield Finding(("models.root", key), f"lies in {key}, which the daemon empties; outside {place}")
    longest = control.runtime_dir / _LONGEST_NAME
    if len(str(longest).encode()) > _MAX_SOCKET_PATH:
        most = _MAX_SOCKET_PATH - len(f"/{_LONGEST_NAME}")
        yield Finding(("control.runtime_dir",), f"is too long for the sockets in it; at most {most} bytes")


def _disk(config: Config) -> Iterator[Finding]:
    low, high = config.disk.min_free, config.disk.target_free
    if (low.percent is None) == (high.percent is None) and low.of(1 << 40) > high.of(1 << 40):
        yield Finding(("disk.target_free", "disk.min_free"), f"{high} is below disk.min_free; at least {low}")
    for index, entry in enumerate(config.disk.class_):
        if because := refusal(str(entry.path), home=os.path.expanduser("~")):
            yield Finding(
                ("disk.class",),
                f"[{index}].path: {entry.path} cannot be swept: {because}; a directory of its own",
            )
        elif found := _over_ours(config, entry.name, entry.path):
            key, what = found
            yield Finding(("disk.class", key), f"[{index}].path: {entry.path} {what} {key}; a directory of its own")


def _logs(config: Config) -> Iterator[Finding]:
    logs = config.logs
    if logs.forward and logs.dir is None:
        yield Finding(
            ("logs.forward", "logs.dir"),
            'needs files to read, and logs.dir is "-"; a directory, or forward = "": what collects standard output '
            "can pass it on",
        )


def _over_ours(config: Config, name: str, path: Path) -> tuple[str, str] | None:
    """The key of a directory of ours that a class would empty like any other, and where it is relative to the class.

    A class of its own protects a directory from the class around it. State and sockets have none. Jobs go by their own
    rules alone.
    """
    control, root, compiled = config.control, config.models.root, config.control.cache_dir / "compiled"
    own = {"versions": root, "compiled": compiled, "cache": control.cache_dir, "logs": config.logs.dir}
    if own.get(name) == path:
        return None
    for key, place in (
        ("models.root", root),
        ("control.cache_dir", compiled),
        ("control.runtime_dir", control.runtime_dir),
        ("control.state_dir", control.state_dir / "jobs"),
    ):
        if path.is_relative_to(place):
            return key, "lies in"
    for key, place in (("control.state_dir", control.state_dir), ("control.runtime_dir", control.runtime_dir)):
        if place.is_relative_to(path):
            return key, "holds"
    if path == control.cache_dir:
        return "control.cache_dir", "is"
    return ("logs.dir", "is") if path == config.logs.dir else None


def _lists(config: Config) -> Iterator[Finding]:
    lists = {
        ("disk.class", "name"): [entry.name for entry in config.disk.class_],
        ("logs.extra", "path"): [entry.path for entry in config.logs.extra],
        ("workers.providers", ""): list(config.workers.providers),
        ("workers.model_aliases", ""): list(config.workers.model_aliases),
        ("workers.cors_origins", ""): list(config.workers.cors_origins),
        ("workers.trusted_proxies", ""): list(config.workers.trusted_proxies),
        ("panel.trusted_proxies", ""): list(config.panel.trusted_proxies),
        ("panel.hosts", ""): list(config.panel.hosts),
        ("jobs.callbacks", ""): list(config.jobs.callbacks),
        ("fleet.labels", ""): list(config.fleet.labels),
    }
    for (key, field), values in lists.items():
        for index, value in enumerate(values):
            if value in values[:index]:
                place = f"[{index}].{field}" if field else f"[{index}]"
                yield Finding((key,), f'{place}: "{value}" is there already as number {values.index(value)}; once')
    for key, names in {
        "workers.model_aliases": config.workers.model_aliases,
        "workers.cors_origins": config.workers.cors_origins,
        "workers.trusted_proxies": config.workers.trusted_proxies,
        "panel.trusted_proxies": config.panel.trusted_proxies,
        "panel.hosts": config.panel.hosts,
        "jobs.callbacks": config.jobs.callbacks,
    }.items():
        if len(names) > _MAX_NAMES:
            yield Finding((key,), f"has {len(names)} entries; at most {_MAX_NAMES}")
    if not config.workers.providers:
        yield Finding(("workers.providers",), 'is empty; at least "CPUExecutionProvider"')
    for index, rule in enumerate(config.monitor.alert):
        for key, text in _thresholds(rule):
            yield Finding(("monitor.alert",), f"[{index}].{key}: {text}")


def _thresholds(rule: AlertRule) -> Iterator[tuple[str, str]]:
    """What is wrong with a rule's numbers, by key."""
    above, below = rule.above, rule.below
    if above is not None and below is not None:
        yield "below", "is given beside above; a table for each"
        return
    key = "below" if below is not None else "above"
    if because := impossible(rule.metric, above, below):
        yield key, f"{(above if below is None else below):g} cannot be meant: {because}"
    elif above is not None and rule.clear > above:
        yield "clear", f"{rule.clear:g} is higher than above; at most {above:g}"
    elif below is not None and rule.clear < below:
        yield "clear", f"{rule.clear:g} is lower than below; at least {below:g}"
    elif because := unreachable(rule.metric, rule.clear):
        yield "clear", f"{rule.clear:g} cannot be meant: {because}"


def _alerts(config: Config) -> Iterator[Finding]:
    quiet, maintenance = config.alerts.quiet, config.alerts.maintenance
    if bool(quiet.from_) != bool(quiet.to):
        missing, given = ("to", "from") if quiet.from_ else ("from", "to")
        yield Finding(("alerts.quiet",), f".{missing}: is empty while alerts.quiet.{given} is set; a time of the day")
    elif quiet.from_ and quiet.from_ == quiet.to:
        yield Finding(("alerts.quiet",), ".to: is the same as alerts.quiet.from; another time, or both empty")
    lists = {"alerts.maintenance": len(maintenance), "alerts.webhook": len(config.alerts.webhook)}
    for key, count in lists.items():
        if count > _MAX_NAMES:
            yield Finding((key,), f"has {count} entries; at most {_MAX_NAMES}")


def _fleet(config: Config) -> Iterator[Finding]:
    fleet = config.fleet
    if fleet.url and not fleet.public_keys:
        yield Finding(
            ("fleet.public_keys", "fleet.url"),
            "is empty while fleet.url is set: anybody could choose the version; the keys that sign the record",
        )
    if fleet.keeper and not is_nats(fleet.url):
        yield Finding(("fleet.keeper", "fleet.url"), "is true, and fleet.url leads to no NATS server; false")
    if fleet.credentials and fleet.url.startswith("file:"):
        yield Finding(("fleet.credentials", "fleet.url"), 'is not used for a file; ""')
    if fleet.ca_file and not fleet.url.startswith(("https:", "tls:", "nats:")):
        yield Finding(("fleet.ca_file", "fleet.url"), 'is not used without a server; ""')
    for key, names in {"fleet.labels": fleet.labels, "fleet.public_keys": fleet.public_keys}.items():
        if len(names) > _MAX_NAMES:
            yield Finding((key,), f"has {len(names)} entries; at most {_MAX_NAMES}")
