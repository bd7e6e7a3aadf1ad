"""Reads the configuration completely or not at all, reports every mistake at once, and reports what a
change needs.

A variable of the environment counts before the file, the file before the defaults. Reading is limited in time and size,
whatever the path is. The rest of the machine is not checked here: only texts count.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Literal, NamedTuple

from ..errors import BadConfig
from ..system.safe_read import open_regular
from ..units import DiskShare
from . import environment
from .cross_checks import Finding, findings
from .environment import MAX_LINE_CHARS, FromEnvironment
from .messages import dotted, in_words, no_toml
from .schema import (
    Config,
    ControlSection,
    DiskClass,
    DiskSection,
    JobsSection,
    Models,
    Panel,
    RolloutSection,
    SpeechSection,
    ValidationSection,
    WorkersSection,
)
from .schema_alerts import (
    AlertRoute,
    AlertRule,
    Alerts,
    AlertWebhook,
    MaintenanceWindow,
    MonitorSection,
    ProbeSection,
    QuietHours,
)
from .schema_base import Location, Mistaken
from .schema_fleet import FleetSection
from .schema_logs import LogsExtra, LogsSection
from .schema_parts import Section

__all__ = [
    "DEFAULT_PATH", "MAX_FILE_BYTES", "AlertRoute", "AlertRule", "AlertWebhook", "Alerts", "Applies", "Change",
    "Config", "ControlSection", "DiskClass", "DiskSection", "FleetSection", "JobsSection", "LogsExtra", "LogsSection",
    "MaintenanceWindow", "Models", "MonitorSection", "Panel", "ProbeSection", "QuietHours", "RolloutSection",
    "Section", "SpeechSection", "ValidationSection", "WorkersSection", "differences", "load", "load_or_default",
    "parse",
]  # fmt: skip

DEFAULT_PATH: Final = Path("/etc/modelward/modelward.toml")
MAX_FILE_BYTES: Final = 1 << 20
MAX_LEVELS: Final = 16
NO_VARIABLES: Final[Mapping[str, str]] = MappingProxyType({})

Applies = Literal["live", "workers replaced", "daemon restart", "ignored"]


def load_or_default(path: Path | None, environ: Mapping[str, str] = NO_VARIABLES) -> tuple[Config, str]:
    """The configuration at `path`, or at DEFAULT_PATH for None, and a remark for the log ("" for none).

    A missing file at DEFAULT_PATH means the defaults; a file that was named must exist. Raises BadConfig.
    """
    if path is None and not os.path.lexists(DEFAULT_PATH):
        config = parse("", str(DEFAULT_PATH), environ)
        return config, f"{DEFAULT_PATH} is not there; {_where_from(environ)}"
    return load(path or DEFAULT_PATH, environ), ""


def load(path: Path, environ: Mapping[str, str] = NO_VARIABLES) -> Config:
    """The configuration in a file of at most MAX_FILE_BYTES. Raises BadConfig with every mistake."""
    return parse(_read(path), str(path), environ)


def parse(text: str, origin: str, environ: Mapping[str, str] = NO_VARIABLES) -> Config:
    """The configuration in a text, with what the environment gives over it. Raises BadConfig, which names `origin` and
    holds every mistake.
    """
    defaults: dict[str, Any] = {}
    given = from_environment(environ)
    if path := environ.get(environment.DEFAULTS, ""):
        own, mistakes = _named_file(environment.DEFAULTS, path)
        defaults = _tables(own, path)
        _checked(defaults, environment.NONE, path)  # by itself: a mistake in it is not the file's
        given = given._replace(mistakes=(*mistakes, *given.mistakes))
    return _checked(environment.over(_tables(text, origin), defaults), given, origin)


def from_environment(environ: Mapping[str, str]) -> FromEnvironment:
    """What variables give, and the files that they name."""
    found = {name: _named_file(name, path) for name, path in environment.secret_files(environ).items()}
    given = environment.read(environ, {name: text for name, (text, _) in found.items()})
    unread = [line for _, mistakes in found.values() for line in mistakes]
    return given._replace(mistakes=(*unread, *given.mistakes))


def _named_file(variable: str, path: str) -> tuple[str, tuple[str, ...]]:
    """The text of a file that a variable names; "" and the mistakes when it cannot be read."""
    try:
        return _read(Path(path)), ()
    except BadConfig as e:
        return "", tuple(f"{variable}: cannot use {path}: {because}" for because in e.mistakes)


def _where_from(environ: Mapping[str, str]) -> str:
    defaults, keys = environ.get(environment.DEFAULTS, ""), ", ".join(environment.keys(environ))
    rest = f"the defaults are those of {defaults}" if defaults else "every key has its default"
    return f"{rest}, but for {keys} from the environment" if keys else rest


def _tables(text: str, origin: str) -> dict[str, Any]:
    """The tables of a text. Raises BadConfig when it is no TOML."""
    for number, line in enumerate(text.split("\n"), 1):
        if len(line) > MAX_LINE_CHARS:
            raise BadConfig(origin, (f"the file: line {number} is too long; at most {MAX_LINE_CHARS} characters",))
    try:
        return {key: _frozen(value) for key, value in tomllib.loads(text).items()}
    except RecursionError:
        raise BadConfig(origin, ("the file: lists or tables nested too deeply; a handful of levels",)) from None
    except tomllib.TOMLDecodeError as e:
        raise BadConfig(origin, (no_toml(str(e), len(text.splitlines())),)) from None
    except ValueError:
        raise BadConfig(origin, ("the file: a number with too many digits, or a date that does not exist",)) from None


def _checked(tables: dict[str, Any], given: FromEnvironment, origin: str) -> Config:
    """The tables with those of the environment over them, as a configuration. Raises BadConfig."""
    try:
        tables = environment.over({key: _frozen(value) for key, value in given.tables.items()}, tables)
    except RecursionError:
        because = "a variable: lists or tables nested too deeply; a handful of levels"
        raise BadConfig(environment.ORIGIN, (because,)) from None
    try:
        config, wrong = Config.model_validate(tables), dict[Location, str]()
    except Mistaken as e:
        wrong = in_words(e)
        config = Config.model_validate(_without(tables, set(wrong)))
    bad_keys = {".".join(map(str, place[:2])) for place in wrong} | {
        str(place[0]) for place in wrong if len(place) == 1
    }
    mistakes = [(_named(place, line, given), bool(given.behind(place)[1])) for place, line in wrong.items()]
    for finding in findings(config):
        if not any(key in bad_keys or key.partition(".")[0] in bad_keys for key in finding.keys):
            mistakes.append(_contradiction(finding, given))
    mistakes += [(line, True) for line in given.mistakes]
    if mistakes:
        by_variables = all(of_variable for _, of_variable in mistakes)
        raise BadConfig(environment.ORIGIN if by_variables else origin, tuple(line for line, _ in mistakes))
    return config


def _named(place: Location, line: str, given: FromEnvironment) -> str:
    """A line about a key, with the name of its variable where one gave the value."""
    key, variable = given.behind(place)
    return variable + line.removeprefix(dotted(key)) if variable else line


def _contradiction(finding: Finding, given: FromEnvironment) -> tuple[str, bool]:
    """The line about keys that contradict each other, and whether the first of them is a variable's."""
    text = ("" if finding.text.startswith(("[", ".")) else ": ") + finding.text
    names = {key: [n for place, n in given.variables.items() if dotted(place[:2]) == key] for key in finding.keys}
    first = names[finding.keys[0]]
    if len(first) == 1 and given.variables.get(tuple(finding.keys[0].split("."))):
        return first[0] + text, True
    others = [name for each in names.values() for name in each]
    return finding.keys[0] + text + (f" (in the environment: {', '.join(others)})" if others else ""), bool(others)


def _frozen(value: object, levels: int = MAX_LEVELS) -> object:
    """The value with tuples for lists. Raises RecursionError for tables in tables without end, as dotted keys make."""
    if levels == 0:
        raise RecursionError
    if isinstance(value, list):
        return tuple(_frozen(entry, levels - 1) for entry in value)
    if isinstance(value, dict):
        return {key: _frozen(entry, levels - 1) for key, entry in value.items()}
    return value


def _without(tables: dict[str, object], places: set[Location]) -> dict[str, object]:
    """The tables without each key that holds a mistake, so that the rest can still be compared."""
    kept: dict[str, object] = {}
    for section, table in tables.items():
        if (section,) not in places and isinstance(table, dict):
            kept[section] = {
                key: value for key, value in table.items() if not any(p[:2] == (section, key) for p in places)
            }
    return kept


def _read(path: Path) -> str:
    try:
        with open_regular(path) as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as e:
        raise BadConfig(str(path), (f"the file: cannot be read: {e.strerror}",)) from e
    if len(data) > MAX_FILE_BYTES:
        raise BadConfig(str(path), (f"the file: too big; at most {MAX_FILE_BYTES} bytes",))
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as e:
        line = data[: e.start].count(b"\n") + 1
        raise BadConfig(str(path), (f"the file: line {line} is not UTF-8; save it as UTF-8",)) from e


class Change(NamedTuple):
    """One key that differs, with both values as they would be written, and when the new one holds."""

    key: str
    old: str
    new: str
    applies: Applies


# What holds from SIGHUP on, what the daemon replaces the workers for, successor first, and what needs a new daemon.
APPLIES: Final[dict[str, dict[str, Applies]]] = {
    "models": {
        "root": "daemon restart", "link": "daemon restart", "kind": "daemon restart", "activation": "live",
        "settle": "live", "rescan": "live", "rejected_link": "live", "keep": "live",
    },
    "validation": dict.fromkeys(ValidationSection.model_fields, "live"),
    "rollout": dict.fromkeys(RolloutSection.model_fields, "live"),
    "workers": {
        "count": "live", "memory": "live", "listen": "workers replaced", "threads": "workers replaced",
        "providers": "workers replaced", "token_file": "live", "drain": "live", "queue": "live", "max_upload": "live",
        "min_upload_rate": "live", "max_audio": "live", "request_timeout": "live",
        "model_aliases": "live", "cors_origins": "live", "base_path": "live", "trusted_proxies": "live",
        "drain_notice": "live",
        "confine": "workers replaced",
    },
    "jobs": dict.fromkeys(JobsSection.model_fields, "live"),
    "speech": dict.fromkeys(SpeechSection.model_fields, "live"),
    "control": dict.fromkeys(ControlSection.model_fields, "daemon restart"),
    "panel": dict.fromkeys(Panel.model_fields, "daemon restart"),
    "logs": {
        "dir": "daemon restart", "level": "live", "every": "live", "max_size": "live", "keep": "live",
        "max_age": "live", "max_total": "live", "compress": "live", "extra": "live", "forward": "live",
        "access": "live", "error": "live", "debug": "live",
    },
    "disk": dict.fromkeys((field.alias or name for name, field in DiskSection.model_fields.items()), "live"),
    "monitor": dict.fromkeys(MonitorSection.model_fields, "live"),
    "probe": dict.fromkeys(ProbeSection.model_fields, "live"),
    "alerts": dict.fromkeys((field.alias or name for name, field in Alerts.model_fields.items()), "live"),
    "fleet": dict.fromkeys(FleetSection.model_fields, "live"),
}  # fmt: skip
_SECRET: Final = {"alerts.to", "alerts.route", "alerts.webhook", "alerts.heartbeat"}


def differences(old: Config, new: Config) -> tuple[Change, ...]:
    """Each key whose value differs, in the order of the file; values that may hold passwords are counted, not shown."""
    changes = []
    for section in Config.model_fields:
        before, after = getattr(old, section), getattr(new, section)
        for name, field in type(before).model_fields.items():
            key = field.alias or name
            was, is_now = getattr(before, name), getattr(after, name)
            if was != is_now:
                full = f"{section}.{key}"
                shown = _counted if full in _SECRET else _shown
                changes.append(Change(full, shown(was), shown(is_now), APPLIES[section][key]))
    return tuple(changes)


def _counted(value: object) -> str:
    if isinstance(value, tuple):
        return f"{len(value)} addresses"
    if isinstance(value, Section):
        return ", ".join(f"{name}: {len(each)} addresses" for name, each in vars(value).items())
    return "an address" if value else "no address"


def _shown(value: object) -> str:
    if value is None:
        return '"-"'
    if isinstance(value, tuple) and not isinstance(value, DiskShare):
        return "[" + ", ".join(map(_shown, value)) + "]"
    if isinstance(value, Section):
        return (
            "{"
            + ", ".join(
                f"{f.alias or n} = {_shown(getattr(value, n))}"
                for n, f in type(value).model_fields.items()
                if getattr(value, n) not in (None, "inherit")
            )
            + "}"
        )
    if isinstance(value, float):
        return f"{value:g}"
    return str(value) if isinstance(value, int) else f'"{value}"'
