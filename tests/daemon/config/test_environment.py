"""Each key can be given by a variable, is checked as in the file, and no variable that looks like a key is ignored."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest

from modelward.daemon.config import environment
from modelward.daemon.config.environment import FromEnvironment, over, variables
from modelward.daemon.config.load import Config, load, load_or_default, parse
from modelward.daemon.config.schema_base import ConfigTable, FieldInfo
from modelward.daemon.errors import BadConfig
from modelward.daemon.units import DiskShare

TABLES = {
    "MODELWARD_DISK__CLASS": '[{name = "cache", path = "/srv/x", max_age = "2h"}]',
    "MODELWARD_LOGS__EXTRA": '[{"path": "/srv/a.log", "method": "rename"}]',
    "MODELWARD_MONITOR__ALERT": '[{metric = "disk_used_percent", above = 80}]',
    "MODELWARD_ALERTS__WEBHOOK": '[{url = "https://gateway.example.org/", body = "$title"}]',
    "MODELWARD_ALERTS__MAINTENANCE": '[{start = "30 2 * * sun", for = "2h"}]',
}
"""One value for each list of tables: it has no default that could be written out."""


def given(environ: Mapping[str, str], **contents: str) -> FromEnvironment:
    return environment.read(environ, contents)


def mistakes(environ: Mapping[str, str], text: str = "") -> list[str]:
    with pytest.raises(BadConfig) as bad:
        parse(text, "test.toml", environ)
    return list(bad.value.mistakes)


def _as_text(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple) and not isinstance(value, DiskShare):
        return ",".join(map(str, value))
    return "-" if value is None else str(value)


def _value(name: str, field: FieldInfo) -> str:
    """A text for the key: another choice than the default where there are several, else the default as a text."""
    if name in TABLES:
        return TABLES[name]
    if field.default_factory is not None:
        return "9000"
    if get_origin(field.annotation) is Literal:
        return str(get_args(field.annotation)[-1])
    return _as_text(field.default)


@pytest.mark.parametrize("name", sorted(variables()))
def test_every_key_can_be_given_by_its_variable(name: str) -> None:
    place, field = variables()[name]
    text = _value(name, field)
    value: Any = parse("", "test", {name: text})
    for part in place:
        value = getattr(value, next(n for n, f in type(value).model_fields.items() if (f.alias or n) == part))
    if name in TABLES:
        assert len(value) == 1 and isinstance(value[0], ConfigTable)
    elif field.default_factory is not None:
        assert value == 9000
    elif get_origin(field.annotation) is Literal:
        assert value == text
    else:
        assert value == field.default
    assert environment.keys({name: text}) == [".".join(place)]


READ = {
    "a whole number": ("MODELWARD_WORKERS__COUNT", " 2 ", 2),
    "a size": ("MODELWARD_WORKERS__MAX_UPLOAD", "64MiB", "64MiB"),
    "a number of bytes": ("MODELWARD_WORKERS__MAX_UPLOAD", "1048576", 1048576),
    "a duration": ("MODELWARD_WORKERS__DRAIN", "1m30s", "1m30s"),
    "a share": ("MODELWARD_DISK__MIN_FREE", "5GB", "5GB"),
    "a fraction": ("MODELWARD_VALIDATION__MAX_ERROR_RATE", "0.2", 0.2),
    "a switch": ("MODELWARD_WORKERS__CONFINE", "False", False),
    "a number that is a name": ("MODELWARD_MODELS__LINK", "1", "1"),
    "nothing": ("MODELWARD_PANEL__LISTEN", "", ""),
    "texts": ("MODELWARD_WORKERS__MODEL_ALIASES", "asr, sense ,", ["asr", "sense"]),
    "texts in TOML": ("MODELWARD_WORKERS__MODEL_ALIASES", "['a,b']", ["a,b"]),
    "texts in JSON": ("MODELWARD_WORKERS__MODEL_ALIASES", '["\\u6a21"]', ["模"]),
    "no texts": ("MODELWARD_WORKERS__MODEL_ALIASES", "", []),
    "tables in TOML": ("MODELWARD_DISK__CLASS", '[{name = "a", path = "/a"}]', [{"name": "a", "path": "/a"}]),
    "tables in JSON": ("MODELWARD_DISK__CLASS", '[{"name": "a"}]', [{"name": "a"}]),
    "a table in a table": ("MODELWARD_LOGS__ACCESS__KEEP", "7", 7),
    "a word of Python's": ("MODELWARD_ALERTS__QUIET__FROM", "22:00", "22:00"),
}


@pytest.mark.parametrize("case", READ)
def test_a_text_becomes_what_a_file_would_hold(case: str) -> None:
    name, text, value = READ[case]
    read: Any = given({name: text}).tables
    for part in variables()[name][0]:
        read = read[part]
    assert read == value and type(read) is type(value)


WRONG = {
    "a wrong value": ({"MODELWARD_WORKERS__COUNT": "many"}, 'COUNT: "many" is no whole number; 0 to 1024'),
    "one out of range": ({"MODELWARD_WORKERS__COUNT": "5000"}, "COUNT: 5000 is out of range; 0 to 1024"),
    "an empty number": ({"MODELWARD_WORKERS__COUNT": ""}, 'COUNT: "" is no whole number; 0 to 1024'),
    "no choice": ({"MODELWARD_MODELS__KIND": "sensvoice"}, 'did you mean "sensevoice"?'),
    "no switch": ({"MODELWARD_WORKERS__CONFINE": "maybe"}, 'CONFINE: "maybe" cannot stand here; true or false'),
    "an entry": ({"MODELWARD_DISK__CLASS": '[{name = "a", path = "b"}]'}, 'CLASS[0].path: "b" is not absolute'),
    "an unknown key": (
        {"MODELWARD_WORKERS__CUONT": "2"},
        "MODELWARD_WORKERS__CUONT: no such key; did you mean MODELWARD_WORKERS__COUNT?",
    ),
    "an unknown table": ({"MODELWARD_WORKER__COUNT": "2"}, "did you mean MODELWARD_WORKERS__COUNT?"),
    "a small letter": ({"MODELWARD_Workers__count": "2"}, "did you mean MODELWARD_WORKERS__COUNT?"),
    "one underscore": ({"MODELWARD_WORKERS_COUNT": "2"}, "did you mean MODELWARD_WORKERS__COUNT?"),
    "nothing like it": ({"MODELWARD_X__Y\n": "2"}, "MODELWARD_X__Y\\n: no such key; MODELWARD_<TABLE>__<KEY>"),
    "a table": ({"MODELWARD_LOGS__ACCESS": "{}"}, "is a table; a variable for each key, like MODELWARD_LOGS__ACCESS__"),
    "no tables": ({"MODELWARD_DISK__CLASS": "tmp"}, "is no list; write a list of tables"),
    "no list": ({"MODELWARD_JOBS__CALLBACKS": "['a'"}, "is a list neither in TOML nor in JSON"),
    "two keys": ({"MODELWARD_JOBS__CALLBACKS": "[]\nx = 1"}, "is a list neither in TOML nor in JSON"),
    "a long value": ({"MODELWARD_MODELS__LINK": "x" * 65537}, "is too long; at most 65536 characters"),
    "deep lists": ({"MODELWARD_JOBS__CALLBACKS": "[" * 99 + "]" * 99}, "nested too deeply"),
    "a file for no secret": ({"MODELWARD_WORKERS__COUNT_FILE": "/x"}, "only what may be secret is read from a file"),
    "keys that contradict": (
        {"MODELWARD_PANEL__LISTEN": "0.0.0.0:5000"},
        "panel.token_file: is empty while panel.listen is 0.0.0.0:5000, which other machines reach; a file of tokens, "
        'or listen = "127.0.0.1:5000" (in the environment: MODELWARD_PANEL__LISTEN)',
    ),
    "a key that contradicts": (
        {"MODELWARD_PANEL__TOKEN_FILE": "none", "MODELWARD_PANEL__LISTEN": "0.0.0.0:5000"},
        "MODELWARD_PANEL__TOKEN_FILE: is none while panel.listen is 0.0.0.0:5000",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_mistake_is_named_with_its_variable(case: str) -> None:
    environ, said = WRONG[case]
    [line] = mistakes(environ)
    assert said in line


def test_mistakes_of_both_are_named_at_once_and_those_of_variables_alone_name_no_file() -> None:
    environ = {"MODELWARD_WORKERS__COUNT": "x", "MODELWARD_A__B": "1"}
    with pytest.raises(BadConfig, match="cannot use test.toml") as both:
        parse("models.keep = -1", "test.toml", environ)
    assert len(both.value.mistakes) == 3
    with pytest.raises(BadConfig, match="cannot use the environment: MODELWARD_WORKERS__COUNT: "):
        parse("", "test.toml", environ)


def test_a_variable_counts_before_the_file_and_mends_its_mistake() -> None:
    text = "workers = {count = 3, threads = -1, queue = 5}\ndisk.class = []"
    environ = {"MODELWARD_WORKERS__COUNT": "2", "MODELWARD_WORKERS__THREADS": "4", **TABLES}
    config = parse(text, "test", environ)
    assert (config.workers.count, config.workers.threads, config.workers.queue) == (2, 4, 5)
    assert [entry.name for entry in config.disk.class_] == ["cache"]
    assert mistakes({"MODELWARD_WORKERS__COUNT": "2"}, "workers = 3") == ["workers: 3 cannot stand here; a table"]


def test_other_variables_are_left_alone_those_that_kubernetes_sets_too() -> None:
    environ = {
        "MODELWARD_SOCKET": "/x", "MODELWARD_URL": "u", "MODELWARD_WORKERS": "/y", "MODELWARD_LANGUAGE": "zh",
        "MODELWARD_SERVICE_HOST": "10.0.0.1", "MODELWARD_PORT_7860_TCP": "tcp://10.0.0.1:7860",
        "PATH": "/bin", "OTHER__KEY": "1",
    }  # fmt: skip
    assert given(environ) == environment.NONE
    assert parse("", "test", environ) == Config()


def test_a_secret_may_stand_in_a_file_that_the_variable_names(tmp_path: Path) -> None:
    to, beat = tmp_path / "to", tmp_path / "beat"
    to.write_text("# on call\nmailto://a:b@example.org?to=c,d\n\njson://example.org/hook\n")
    beat.write_text("https://hc.example.org/secret\n")
    environ = {"MODELWARD_ALERTS__TO_FILE": str(to), "MODELWARD_ALERTS__HEARTBEAT_FILE": str(beat)}
    config = parse('alerts.to = ["json://old.example.org"]', "test", environ)
    assert config.alerts.to == ("mailto://a:b@example.org?to=c,d", "json://example.org/hook")
    assert config.alerts.heartbeat == "https://hc.example.org/secret"
    assert sorted(environment.keys(environ)) == ["alerts.heartbeat", "alerts.to"]
    assert mistakes({**environ, "MODELWARD_ALERTS__TO": "json://a"}) == [
        "MODELWARD_ALERTS__TO_FILE: is given beside MODELWARD_ALERTS__TO; one of them"
    ]
    to.write_text("secret but no address\n")
    [line] = mistakes(environ)
    assert line.startswith("MODELWARD_ALERTS__TO_FILE[0]: no Apprise address") and "secret" not in line
    assert parse("", "test", {"MODELWARD_ALERTS__TO_FILE": ""}) == Config()


def test_a_file_that_cannot_be_read_is_named_with_its_variable_beside_the_other_mistakes(tmp_path: Path) -> None:
    missing, bad = tmp_path / "missing", tmp_path / "bad"
    bad.write_bytes(b"\xff")
    environ = {
        "MODELWARD_DEFAULTS": str(missing),
        "MODELWARD_ALERTS__TO_FILE": str(missing),
        "MODELWARD_ALERTS__HEARTBEAT_FILE": str(bad),
        "MODELWARD_MODELS__KEPT": "1",
    }
    assert mistakes(environ) == [
        f"MODELWARD_DEFAULTS: cannot use {missing}: the file: cannot be read: No such file or directory",
        f"MODELWARD_ALERTS__HEARTBEAT_FILE: cannot use {bad}: the file: line 1 is not UTF-8; save it as UTF-8",
        f"MODELWARD_ALERTS__TO_FILE: cannot use {missing}: the file: cannot be read: No such file or directory",
        "MODELWARD_MODELS__KEPT: no such key; did you mean MODELWARD_MODELS__KEEP?",
    ]


def test_a_file_of_defaults_counts_after_the_file_and_its_mistakes_are_its_own(tmp_path: Path) -> None:
    defaults, file = tmp_path / "defaults.toml", tmp_path / "modelward.toml"
    defaults.write_text('workers = {count = 3, queue = 5}\nlogs.dir = "-"\nmodels.keep = 9')
    file.write_text("workers.queue = 6")
    environ = {"MODELWARD_DEFAULTS": str(defaults), "MODELWARD_MODELS__KEEP": "1"}
    config = load(file, environ)
    assert (config.workers.count, config.workers.queue, config.logs.dir, config.models.keep) == (3, 6, None, 1)
    defaults.write_text("workers.count = -1")
    with pytest.raises(BadConfig, match=f"cannot use {defaults}: workers.count"):
        load(file, {**environ, "MODELWARD_WORKERS__COUNT": "1"})


def test_no_file_at_all_is_reported_with_what_counts_instead(tmp_path: Path) -> None:
    config, remark = load_or_default(None, {"MODELWARD_WORKERS__COUNT": "1"})
    assert config.workers.count == 1
    assert remark.endswith("is not there; every key has its default, but for workers.count from the environment")


def test_upper_tables_count_and_lower_ones_fill_in() -> None:
    lower = {"a": {"b": 1, "c": {"d": 2}}, "e": (1, 2), "f": 3}
    assert over({"a": {"c": {"x": 5}}, "e": (9,), "f": {"g": 1}}, lower) == {
        "a": {"b": 1, "c": {"d": 2, "x": 5}}, "e": (9,), "f": 3,
    }  # fmt: skip
    assert lower["a"] == {"b": 1, "c": {"d": 2}}
