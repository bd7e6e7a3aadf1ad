"""docs/configuration.md and what the manual page says of keys: type, range, default, when it holds, meaning."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args, get_origin

from modelward.daemon.config import fleet_checks, proxy_checks, validators
from modelward.daemon.config.load import APPLIES, Config
from modelward.daemon.config.messages import submodel
from modelward.daemon.config.schema_base import ConfigTable, FieldInfo
from modelward.daemon.units import DiskShare, show_duration, show_size

_HEAD = """# Configuration

Every key of `/etc/modelward/modelward.toml`, made from the models in the code by `python -m tests.pages`. An empty
file is a valid configuration. [etc/modelward.toml](../etc/modelward.toml) is the same as a file to start from.

Sizes are bytes or a text: `"512MiB"` counts in 1024s, `"5GB"` in 1000s. Durations are seconds or a text: `"500ms"`,
`"2s"`, `"1h30m"`, `"7d"`. An unknown key is a mistake. `modelward check-config FILE` names every mistake at once;
`modelward reload` (or SIGHUP) takes a changed file up whole or not at all, and says of each change when it holds:

- **live**: from the moment `reload` returns; running workers confirm it, those that a new daemon takes back too;
- **workers replaced**: the daemon replaces the workers by itself, one at a time, successor first;
- **daemon restart**: in the next daemon; `systemctl restart modelward` loses no connection.

`modelward status` shows under `pending` what does not hold yet; when it shows nothing there, everything holds.

## Keys by environment

Each key can be given by a variable of the daemon's environment: `MODELWARD_`, the table, two underscores, the key, in
capitals. A table in a table has its own part of the name.

| key | variable |
|---|---|
| `workers.count = 2` | `MODELWARD_WORKERS__COUNT=2` |
| `logs.access.keep = 7` | `MODELWARD_LOGS__ACCESS__KEEP=7` |
| `disk.min_free = "5GB"` | `MODELWARD_DISK__MIN_FREE=5GB` |
| a list of texts | `MODELWARD_WORKERS__MODEL_ALIASES=asr,sense`, or `["asr", "sense"]` where an entry has a comma |
| a list of tables | `MODELWARD_DISK__CLASS=[{name = "tmp", path = "/srv/tmp"}]`, in TOML or JSON |

- **A variable counts before the file, the file before the defaults.** A list counts as a whole. An empty variable is
  the empty text, or no entries.
- A value is checked as in the file, and a mistake is reported with the name of the variable. A variable of this form
  that is no key is a mistake too, also one with a single underscore (`MODELWARD_WORKERS_COUNT`).
- `modelward check-config` and `modelward status` list the keys that came from the environment. A reload keeps them: the
  environment of a process never changes.
- What may be secret can stand in a file that the variable names: `MODELWARD_ALERTS__TO_FILE` (one address on each
  line), `MODELWARD_ALERTS__ROUTE__CRITICAL_FILE`, `MODELWARD_ALERTS__ROUTE__WARNING_FILE`,
  `MODELWARD_ALERTS__WEBHOOK_FILE`, `MODELWARD_ALERTS__HEARTBEAT_FILE`. Tokens stand in files in any case:
  `MODELWARD_WORKERS__TOKEN_FILE` and `MODELWARD_PANEL__TOKEN_FILE` are keys.
- `MODELWARD_DEFAULTS` names a TOML file whose values count as the defaults, after your file. The
  [container image](container.md) brings one.

"""
_BY_NAME = {
    id(validators.absolute_path): "absolute path",
    id(validators.absolute_path_or_none): 'absolute path or ""',
    id(validators.log_receiver): '"", "journald", "syslog:unix:PATH" or "syslog:udp://HOST:PORT"',
    id(validators.log_directory): 'absolute path, "" or "-"',
    id(validators.token_file): 'absolute path, "" or "none"',
    id(validators.path_pattern): "absolute path, * and ? in its last part",
    id(validators.plain_name): "name without /",
    id(validators.address): "host:port or [IPv6]:port",
    id(validators.address_or_none): 'host:port, [IPv6]:port or ""',
    id(validators.minisign_key): "minisign public key",
    id(validators.metric_name): "name of a figure",
    id(validators.class_name): "name: a-z 0-9 _ -, at most 32",
    id(validators.provider_name): "name of an execution provider",
    id(validators.model_alias): "name without spaces",
    id(validators.web_origin): "origin: scheme://host:port",
    id(proxy_checks.base_path): 'path or ""',
    id(proxy_checks.proxy): 'address, network or "unix"',
    id(proxy_checks.host_name): "host name",
    id(validators.callback): "beginning of a URL, or network",
    id(validators.alert_url): "address",
    id(validators.clock_time_or_none): 'time of the day or ""',
    id(validators.weekday): "day of the week",
    id(validators.cron): "five fields of cron",
    id(validators.alert_name): "name of an alert",
    id(validators.short_text): "text",
    id(validators.keyword): "text",
    id(validators.header_value): "text",
    id(validators.template): "text with fields",
    id(validators.web_address): "web address",
    id(validators.web_address_or_none): 'web address or ""',
    id(validators.time_zone): 'name of a time zone or ""',
    id(fleet_checks.fleet_url): "address of a record, or servers",
    id(fleet_checks.machine_name): "name: letters, digits, _ and -, at most 63",
    id(fleet_checks.fleet_label): "label",
    id(validators.share): "share of the disk (10%) or size",
}
_BY_MAKER = {"duration": "duration", "size": "size", "whole": "whole number", "number": "number"}
_PROBES = (2**62, 1e9, 1.5e17, -1, -1.0, 1, 1e300)
"""Values of which at least one is refused by every check that has a range."""


DERIVED = "see there"
"""The default of a key that follows from another one; its meaning says how."""


class Key(NamedTuple):
    """One key of the file. `default` is as it is written there; "" where it has to be given."""

    name: str
    kind: str
    default: str
    applies: str
    meaning: str


class Section(NamedTuple):
    """One table of the file, or one table of a list of tables."""

    title: str
    about: str
    keys: tuple[Key, ...]


def sections() -> Iterator[Section]:
    """Every table in the order of the file, lists of tables behind the table that holds them."""
    for name, field in Config.model_fields.items():
        model = field.annotation
        assert isinstance(model, type) and issubclass(model, ConfigTable)
        lists = {key(n, f): submodel(model, key(n, f)) for n, f in model.model_fields.items()}
        single = {key(n, f) for n, f in model.model_fields.items() if isinstance(f.annotation, type)}
        keys = [_key(n, f, APPLIES[name][key(n, f)]) for n, f in model.model_fields.items() if not lists[key(n, f)]]
        yield Section(f"[{name}]", _about(model), tuple(keys))
        for each, entry in lists.items():
            if entry is not None:
                fields = entry.model_fields.items()
                about = model.model_fields[_attribute(model, each)].description or _about(entry)
                applies = APPLIES[name][each]
                title = f"[{name}.{each}]" if each in single else f"[[{name}.{each}]]"
                yield Section(title, about, tuple(_key(n, f, applies) for n, f in fields))


def page() -> str:
    """docs/configuration.md."""
    parts = [_HEAD]
    for section in sections():
        parts.append(f"## `{section.title}`\n\n{section.about}\n\n")
        parts.append("| key | type | default | applies | meaning |\n|---|---|---|---|---|\n")
        for k in section.keys:
            default = _default_cell(k)
            parts.append(f"| `{k.name}` | {_cell(k.kind)} | {_cell(default)} | {k.applies} | {_cell(k.meaning)} |\n")
        parts.append("\n")
    return "".join(parts).rstrip("\n") + "\n"


def _default_cell(k: Key) -> str:
    if not k.default:
        return "must be given"
    return k.default if k.default == DERIVED else f"`{k.default}`"


def key(name: str, field: FieldInfo) -> str:
    """A field's name as it stands in the file."""
    return field.alias or name


def _attribute(model: type[ConfigTable], wanted: str) -> str:
    return next(name for name, field in model.model_fields.items() if key(name, field) == wanted)


def _about(model: type[ConfigTable]) -> str:
    return " ".join((model.__doc__ or "").split())


def _key(name: str, field: FieldInfo, applies: str) -> Key:
    assert field.description and field.description[-1] in ".…", f"{name} has no meaning"
    kind, writer = _kind(field)
    derived = field.default_factory is not None
    default = "" if field.is_required() else DERIVED if derived else _written(field.default, writer)
    return Key(key(name, field), kind, default, applies, field.description)


def _kind(field: FieldInfo) -> tuple[str, str]:
    """What may stand there, and how a default is written."""
    annotation = field.annotation
    if get_origin(annotation) is Literal:
        return ", ".join(f'`"{choice}"`' for choice in get_args(annotation)), "text"
    if annotation is bool:
        return "`true`, `false`", "text"
    if get_origin(annotation) is tuple:
        inner = get_args(annotation)[0]
        return "list: " + _BY_NAME[id(inner.__metadata__[0])], "list"
    for check in field.metadata:
        if name := _BY_NAME.get(id(check)):
            return name, "text"
        maker = check.run.__qualname__.partition(".")[0]
        return _BY_MAKER[maker] + _range(check.run), maker
    raise AssertionError(f"no check: {field!r}")


def _range(check: Any) -> str:
    """What the check itself says would be right, when it refuses a value for being out of range."""
    for probe in _PROBES:
        try:
            check(probe)
        except ValueError as e:
            said, _, right = str(e).partition("; ")
            if "out of range" in said and "EiB" not in right and "finite" not in right:
                return f", {right}"
    return ""


def _written(value: Any, writer: str) -> str:
    if value is None:
        return "none"
    if writer == "list":
        return "[" + ", ".join(f'"{entry}"' for entry in value) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    if writer == "duration":
        return f'"{show_duration(value)}"'
    if writer == "size":
        return f'"{show_size(value)}"'
    if isinstance(value, str | Path | DiskShare):
        return f'"{value}"'
    assert isinstance(value, int | float) and math.isfinite(value)
    return f"{value:g}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
