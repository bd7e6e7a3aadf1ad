"""The configuration is taken whole or not at all, with every mistake named at once."""

from __future__ import annotations

import os
import re
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelward.daemon.config import load as config
from modelward.daemon.config.cross_checks import warnings
from modelward.daemon.config.load import (
    APPLIES,
    Config,
    DiskClass,
    LogsExtra,
    Section,
    differences,
    load,
    parse,
)
from modelward.daemon.config.messages import keys_of
from modelward.daemon.config.schema_logs import OwnLog
from modelward.daemon.errors import BadConfig

EXAMPLE = Path(__file__).parents[3] / "etc" / "modelward.toml"


def mistakes(text: str) -> dict[str, str]:
    """What is said of each key."""
    with pytest.raises(BadConfig) as bad:
        parse(text, "test.toml")
    assert bad.value.path == "test.toml"
    return {key: rest for key, _, rest in (line.partition(": ") for line in bad.value.mistakes)}


def test_takes_an_empty_file() -> None:
    assert parse("", "empty") == Config()


def test_reads_every_value_in_our_units() -> None:
    text = """
    [models]
    root = "/srv/models"
    settle = 0.5
    [validation]
    memory = "1GiB"
    [workers]
    drain = "1m30s"
    max_upload = 1048576
    [disk]
    min_free = "5GiB"
    target_free = "20%"
    """
    read = parse(text, "test")
    assert (read.models.root, read.models.settle) == (Path("/srv/models"), 0.5)
    assert (read.validation.memory, read.workers.max_upload) == (1 << 30, 1 << 20)
    assert read.workers.drain == 90.0
    assert read.disk.min_free.of(0) == 5 << 30
    assert read.disk.target_free.of(1000) == 200


def test_names_every_mistake_at_once() -> None:
    found = mistakes("""
    [models]
    rot = "/a"
    settle = "1x"
    kind = "sensvoice"
    [modls]
    a = 1
    [panel]
    listen = "0.0.0.0:5000"
    [workers]
    threads = true
    count = -1
    [[disk.class]]
    name = "tmp"
    path = "/srv/tmp"
    max_age = "soon"
    """)
    assert found["models.rot"] == 'no such key; did you mean "root"?'
    assert found["modls"] == 'no such key; did you mean "models"?'
    assert found["models.kind"].endswith('"sensevoice", "tensor"; did you mean "sensevoice"?')
    assert "no duration" in found["models.settle"]
    assert found["workers.threads"] == "true is no whole number; 1 to 1024"
    assert found["workers.count"] == "-1 is out of range; 0 to 1024"
    assert "no duration" in found["disk.class[0].max_age"]
    assert "which other machines reach" in found["panel.token_file"]
    assert len(found) == 8


def test_lists_the_keys_when_nothing_is_near() -> None:
    assert mistakes("[monitor]\nxyzzy = 1")["monitor.xyzzy"] == "no such key; the keys here are interval, alert"


KEY = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3"
WRONG = {
    "models.root": ['"models"', '"/a/../b"', "3", '"/a\\nb"'],
    "models.link": ['""', '"a/b"', '".."', "[]"],
    "models.settle": ['"2h"', '"-1s"', "nan", "inf", "1979-05-27"],
    "models.keep": ["1.5", '"3"', "-1"],
    "validation.memory": ['"1MiB"', '"4G"'],
    "validation.compile": ['"quick"', "true"],
    "validation.public_keys": ['["RWx"]', '"RWx"'],
    "validation.max_error_rate": ["1.1", "-0.1", '"0.1"', "true", "nan"],
    "validation.max_latency_ratio": ["0", "-1", "inf"],
    "rollout.max_error_ratio": ["2"],
    "rollout.canary": ["-1", "true"],
    "workers.listen": [
        '""', '"7860"', '":7860"', '"localhost"', '"localhost:99999"', '"localhost:x"', '"[::1:7860"', '"::1:7860"',
        '"[nope]:1"', '"300.0.0.1:80"', '"a b:80"', '"unix:/run/x"', '"host:٣"',
    ],
    "workers.cors_origins": ['"*"', '["example.org"]', '["null"]', '["https://a/b"]', '["https://*.a"]'],
    "workers.base_path": ['"asr"', '"/a//b"', '"/../x"', '"/a b"', '"/v1"', '"/api/asr"', '"https://a/b"', '"/%61"'],
    "workers.trusted_proxies": ['"10.0.0.1"', '["proxy.example.org"]', '["10.0.0.1/8"]', '["*"]', '["1.2.3.4:5"]'],
    "workers.drain_notice": ['"2h"', "-1"],
    "panel.hosts": ['["https://ops.example.org"]', '["ops.example.org:443"]', '[""]', '["a..b"]', '["*.example.org"]'],
    "workers.model_aliases": ['"asr"', '[""]', '["a b"]', '["/x"]'],
    "workers.providers": ["[]", '["cpu"]', '"CPUExecutionProvider"'],
    "workers.token_file": ['"tokens"'],
    "workers.queue": ["0"],
    "jobs.keep": ["0", '"59s"'],
    "jobs.max_jobs": ["0"],
    "jobs.max_bytes": ["0"],
    "jobs.callbacks": ['"https://a.example/"', '["*"]', '["a.org"]', '["https://u:p@a.org/"]', '["10.0.0.0/40"]'],
    "control.runtime_dir": ['"run"', '""'],
    "panel.listen": ['"nowhere"'],
    "logs.level": ['"loud"'],
    "logs.compress": ['"bzip2"'],
    "disk.min_free": ['"110%"', '"much"'],
    "monitor.interval": ["0"],
    "alerts.to": ['["not an address"]', '"mailto://a@b"'],
    "fleet.url": [
        '"http://a/b"', '"nats://a"', '"nats://u:p@a:4222"', '"nats://a:1,https://b/"', '"https://u:p@a/b"',
        '"file://a/b"', '"file:///a/../b"', '"https://a/b?c"', '"record.json"',
    ],
    "fleet.name": ['"a.b"', '"-a"'],
    "fleet.labels": ['["Canary"]', '"canary"'],
}  # fmt: skip


@pytest.mark.parametrize(("key", "value"), [(key, value) for key, values in WRONG.items() for value in values])
def test_refuses_what_makes_no_sense(key: str, value: str) -> None:
    section, _, name = key.partition(".")
    found = mistakes(f"[{section}]\n{name} = {value}")
    assert len(found) == 1
    (where, said), *_ = found.items()
    assert where in (key, f"{key}[0]")
    assert "; " in said


@pytest.mark.parametrize("address", ["0.0.0.0:80", "[::1]:7860", "localhost:7860", "127.0.0.1:0", "asr.example.org:1"])
def test_takes_addresses_of_every_form(address: str) -> None:
    assert parse(f'[workers]\nlisten = "{address}"', "test").workers.listen == address


@pytest.mark.parametrize(
    ("written", "sent"),
    [
        ("https://App.Example.org/", "https://app.example.org"),
        ("https://app.example.org:443", "https://app.example.org"),
        ("http://app.example.org:8080", "http://app.example.org:8080"),
        ("http://[::1]:80", "http://[::1]"),
        ("chrome-extension://abcdefgh", "chrome-extension://abcdefgh"),
        ("app://obsidian.md", "app://obsidian.md"),
        ("*", "*"),
    ],
)
def test_an_origin_is_taken_as_browsers_send_it(written: str, sent: str) -> None:
    assert parse(f'[workers]\ncors_origins = ["{written}"]', "test").workers.cors_origins == (sent,)


def test_what_stands_behind_a_proxy_is_taken_in_its_usual_spelling() -> None:
    config = parse(
        '[workers]\nbase_path = "/asr/"\ntrusted_proxies = ["10.0.0.5/32", "fd00::/8", "unix"]\n'
        '[panel]\nbase_path = "/"\nhosts = ["OPS.example.org."]\n',
        "test",
    )
    assert config.workers.base_path == "/asr" and config.panel.base_path == ""
    assert config.workers.trusted_proxies == ("10.0.0.5", "fd00::/8", "unix")
    assert config.panel.hosts == ("ops.example.org",)
    assert warnings(config) == []
    assert "every address" in warnings(parse('[panel]\ntrusted_proxies = ["0.0.0.0/0"]', "test"))[0]


def test_any_page_and_no_token_is_a_warning() -> None:
    text = '[workers]\ncors_origins = ["*"]\n'
    assert [w for w in warnings(parse(text, "test")) if "cors_origins" in w]
    assert not warnings(parse(text + 'token_file = "/etc/modelward/tokens"', "test"))


@pytest.mark.parametrize("address", ["127.0.0.1:1", "[::1]:1", "localhost:1", "127.8.8.8:1"])
def test_a_panel_on_loopback_needs_no_token(address: str) -> None:
    assert parse(f'[panel]\nlisten = "{address}"', "test").panel.token_file == ""


def test_a_panel_that_others_reach_needs_a_token() -> None:
    assert list(mistakes('[panel]\nlisten = "[::]:5000"')) == ["panel.token_file"]
    assert parse('[panel]\nlisten = "[::]:5000"\ntoken_file = "/etc/modelward/tokens"', "test").panel.listen


RELATIONS = {
    'models.root = "/a"\ncontrol.cache_dir = "/a/cache"': "control.cache_dir",
    'models.root = "/a/b/c"\ncontrol.cache_dir = "/a/b"': "models.root",
    'models.root = "/a"\nlogs.dir = "/a"': "logs.dir",
    f'control.runtime_dir = "/{"r" * 100}"': "control.runtime_dir",
    'disk.min_free = "20%"': "disk.target_free",
    'disk.class = [{name = "a", path = "/b/c"}, {name = "a", path = "/b/d"}]': "disk.class[1].name",
    'disk.class = [{name = "a", path = "/"}]': "disk.class[0].path",
    'disk.class = [{name = "a", path = "/home"}]': "disk.class[0].path",
    'logs.extra = [{path = "/b/*.log"}, {path = "/b/*.log"}]': "logs.extra[1].path",
    'workers.model_aliases = ["a", "a"]': "workers.model_aliases[1]",
    f"workers.model_aliases = {[f'a{n}' for n in range(33)]}": "workers.model_aliases",
    'jobs.callbacks = ["https://a.example/", "https://a.example/"]': "jobs.callbacks[1]",
    f"jobs.callbacks = {[f'https://a.example/{n}' for n in range(33)]}": "jobs.callbacks",
    'workers.providers = ["CPUExecutionProvider", "CPUExecutionProvider"]': "workers.providers[1]",
    "monitor.alert = [{above = 5, clear = 6}]": "monitor.alert[0].clear",
    'workers.listen = "127.0.0.1:5000"': "panel.listen",
}


@pytest.mark.parametrize(("text", "key"), RELATIONS.items())
def test_refuses_keys_that_contradict_each_other(text: str, key: str) -> None:
    assert list(mistakes(text)) == [key]


@pytest.mark.parametrize(
    "path",
    [
        "/var/lib/modelward/models",
        "/var/lib/modelward/models/sensevoice-v1",
        "/var/cache/modelward/compiled",
        "/var/cache/modelward",
        "/var/log/modelward",
        "/run/modelward",
        "/run/modelward/sub",
        "/var/lib/modelward/jobs",
        "/var/lib/modelward/jobs/deeper",
        "/var/lib/modelward",
        "/var/lib",
        "/etc/ssl",
        "/usr/local/lib",
        "/var/lib/dpkg",
        "/proc/self",
        "/dev/shm",
        "/home/somebody",
        sys.prefix,
    ],
)
def test_a_class_that_would_empty_what_the_daemon_lives_on_is_refused(path: str) -> None:
    assert list(mistakes(f'disk.class = [{{name = "mine", path = "{path}"}}]')) == ["disk.class[0].path"]


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("uploads", "/var/lib/modelward/uploads"),
        ("versions", "/var/lib/modelward/models"),
        ("compiled", "/var/cache/modelward/compiled"),
        ("cache", "/var/cache/modelward"),
        ("logs", "/var/log/modelward"),
        ("old-logs", "/var/log/modelward/old"),
        ("mine", "/srv/modelward"),
    ],
)
def test_a_class_may_set_the_quota_of_ours_by_its_name_and_lie_beside_the_rest(name: str, path: str) -> None:
    read = parse(f'disk.class = [{{name = "{name}", path = "{path}"}}]', "test")
    assert [str(entry.path) for entry in read.disk.class_] == [path]


def test_compares_keys_even_while_others_are_wrong_but_never_a_wrong_one() -> None:
    assert set(mistakes('disk.min_free = "20%"\nmodels.settle = "x"')) == {"disk.target_free", "models.settle"}
    assert set(mistakes('disk.min_free = "20%"\ndisk.target_free = "x"')) == {"disk.target_free"}
    assert set(mistakes("disk = 3")) == {"disk"}


@pytest.mark.parametrize("name", ["disc_used_percent", "Disk", "", "modelward_disk_used_ratio"])
def test_an_alert_on_a_figure_that_nobody_measures_is_a_mistake(name: str) -> None:
    ((where, said),) = mistakes(f'monitor.alert = [{{metric = "{name}"}}]').items()
    assert where == "monitor.alert[0].metric"
    assert 'like "disk_used_percent"' in said


def test_an_alert_clears_five_below_unless_said_otherwise() -> None:
    rule = parse("monitor.alert = [{above = 40}]", "test").monitor.alert[0]
    assert (rule.above, rule.clear, rule.for_) == (40.0, 35.0, 60.0)
    assert list(mistakes('monitor.alert = [{above = "x"}]')) == ["monitor.alert[0].above"]


@pytest.mark.parametrize(
    ("rule", "key", "because"),
    [
        ('metric = "disk_used_percent", above = 0.9', "above", "less than one; 90, if a share was meant"),
        ('metric = "memory_used_percent", above = 100', "above", "never above it"),
        ('metric = "memory_used_percent", below = 0', "below", "never below 0"),
        ('metric = "workers_ready", above = 0', "above", "alarming when it is low; below"),
        ('metric = "workers_ready", below = 0', "below", "never below 0"),
        ('metric = "root_absent", above = 1', "above", "1 while something is so"),
        ('metric = "root_absent", below = 1', "below", "1 while something is so"),
        ('metric = "daemon_resident_bytes", above = 512', "above", "in bytes"),
        ('metric = "worker_restarts", above = -1', "above", "never below 0"),
        ('metric = "workers_ready", below = 2, above = 8', "below", "a table for each"),
        ('metric = "workers_ready", below = 2, clear = 1', "clear", "lower than below"),
        ('metric = "memory_used_percent", below = 97, clear = 102', "clear", "never above 100"),
        ('metric = "disk_full_hours", below = 48, clear = 721', "clear", "never above 720"),
        ('metric = "worker_restarts", above = 1, clear = -1', "clear", "never below 0"),
    ],
)
def test_a_threshold_that_cannot_be_meant_is_refused(rule: str, key: str, because: str) -> None:
    ((where, said),) = mistakes(f"monitor.alert = [{{{rule}}}]").items()
    assert where == f"monitor.alert[0].{key}" and because in said


@pytest.mark.parametrize(
    ("rule", "above", "below", "clear"),
    [
        ('metric = "workers_ready", below = 2', None, 2.0, 2.0),
        ('metric = "memory_used_percent", below = 10', None, 10.0, 15.0),
        ('metric = "worker_restarts", above = 2', 2.0, None, 2.0),
        ('metric = "class_used_percent", above = 120', 120.0, None, 115.0),
        ('metric = "class_used_percent", below = 98', None, 98.0, 103.0),
        ('metric = "requests_failed_percent", above = 1', 1.0, None, 0.5),
        ('metric = "requests_failed_percent", above = 0', 0.0, None, 0.0),
        ('metric = "memory_used_percent", below = 97', None, 97.0, 98.5),
        ('metric = "disk_full_hours", below = 48, clear = 72', None, 48.0, 72.0),
    ],
)
def test_a_rule_may_look_for_too_little_and_ends_where_it_can(
    rule: str, above: float | None, below: float | None, clear: float
) -> None:
    (read,) = parse(f"monitor.alert = [{{{rule}}}]", "test").monitor.alert
    assert (read.above, read.below, read.clear) == (above, below, clear)


def test_says_which_key_is_missing() -> None:
    assert set(mistakes("[[disk.class]]\n[[logs.extra]]")) == {
        "disk.class[0].name", "disk.class[0].path", "logs.extra[0].path",
    }  # fmt: skip


def test_never_repeats_what_may_hold_a_password() -> None:
    for text in ('to = ["mailto//u:s3cret"]', 'to = "mailto://u:s3cret@b"'):
        assert "s3cret" not in str(mistakes(f"[alerts]\n{text}"))
    (change,) = differences(Config(), parse('alerts.to = ["mailto://u:s3cret@b"]', "test"))
    assert (change.old, change.new) == ("0 addresses", "1 addresses")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a = ", "line 1"),
        ("\n\n[models", "line 3"),
        ("a = " + "[" * 8_000, "deep"),
        ("a = " + "9" * 5000, "too many digits"),
        ("a=1\na=2", "line 2"),
    ],
)
def test_says_where_the_syntax_is_wrong(text: str, says: str) -> None:
    (said,) = mistakes(text).values()
    assert says in said


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused_in_words(text: str) -> None:
    try:
        parse(text, "any")
    except BadConfig as e:
        assert e.mistakes


@given(
    st.dictionaries(
        st.sampled_from([*Config.model_fields, "unknown"]),
        st.dictionaries(
            st.sampled_from(["root", "settle", "class", "alert", "to", "listen", "x"]), st.from_type(object)
        ),
    )
)
def test_any_shape_of_tables_is_read_or_refused_in_words(tables: dict[str, dict[str, object]]) -> None:
    def written(value: object) -> str:
        if isinstance(value, bool):
            return "true"
        if isinstance(value, int | float):
            return str(value)
        return '[{a = 1}, "b"]' if isinstance(value, list | tuple) else '{name = "x"}'

    text = "\n".join(
        f"[{name}]\n" + "\n".join(f"{k} = {written(v)}" for k, v in t.items()) for name, t in tables.items()
    )
    try:
        parse(text, "any")
    except BadConfig as e:
        assert all(": " in line for line in e.mistakes)


def reason(path: Path) -> str:
    with pytest.raises(BadConfig) as bad:
        load(path)
    (line,) = bad.value.mistakes
    return line


def test_refuses_what_is_no_file_without_waiting(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    assert "a FIFO" in reason(fifo)
    assert "a directory" in reason(tmp_path)
    assert "a device" in reason(Path("/dev/zero"))
    assert "No such file" in reason(tmp_path / "none")
    assert "null" in reason(Path("a\0b"))
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    assert "symbolic links" in reason(loop)


def test_refuses_a_file_beyond_the_limit(tmp_path: Path) -> None:
    big = tmp_path / "big.toml"
    with big.open("wb") as file:
        file.truncate(1 << 40)
    assert "at most 1048576 bytes" in reason(big)


def test_refuses_a_file_that_is_not_utf8(tmp_path: Path) -> None:
    path = tmp_path / "latin.toml"
    path.write_bytes(b"# ok\n# caf\xe9\n")
    assert "line 2 is not UTF-8" in reason(path)


def test_takes_a_file_with_a_byte_order_mark_and_carriage_returns(tmp_path: Path) -> None:
    path = tmp_path / "windows.toml"
    path.write_bytes(b'\xef\xbb\xbf[models]\r\nlink = "now"\r\n')
    assert load(path).models.link == "now"


def test_a_file_asked_for_by_name_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(BadConfig):
        config.load_or_default(tmp_path / "none.toml")


@pytest.mark.skipif(config.DEFAULT_PATH.exists(), reason="this machine has a configuration of its own")
def test_the_default_file_may_be_missing_which_is_said() -> None:
    read, remark = config.load_or_default(None)
    assert read == Config()
    assert str(config.DEFAULT_PATH) in remark


def test_the_example_file_holds_every_default() -> None:
    assert load(EXAMPLE) == Config()


def sections() -> list[tuple[str, type[Section], dict[str, Any]]]:
    return [
        (name, type(getattr(Config(), name)), tomllib.loads(EXAMPLE.read_text())[name]) for name in Config.model_fields
    ]


COMMENTED = {"logs": {"extra", "access", "error", "debug"}, "alerts": {"maintenance", "webhook"}}


def test_the_example_file_lists_every_key() -> None:
    for name, model, table in sections():
        assert set(table) | COMMENTED.get(name, set()) == set(keys_of(model))
    example = tomllib.loads(EXAMPLE.read_text())
    assert set(example["disk"]["class"][0]) == set(keys_of(DiskClass))
    assert set(example["monitor"]["alert"][0]) | {"below"} == set(keys_of(config.AlertRule))


def test_the_commented_part_of_the_example_is_right_too() -> None:
    block = re.search(r"(?m)^# \[\[logs\.extra\]\]\n(?:#.*\n)+", EXAMPLE.read_text())
    assert block is not None
    text = re.sub(r"(?m)^# ?", "", block[0])
    assert parse(text, "comment").logs.extra == (LogsExtra(path="/srv/webui/logs/*.log"),)
    assert set(tomllib.loads(text)["logs"]["extra"][0]) == set(keys_of(LogsExtra))
    block = re.search(r"(?m)^# \[logs\.access\]\n(?:#.*\n)+", EXAMPLE.read_text())
    assert block is not None
    text = re.sub(r"(?m)^# ?", "", block[0])
    assert set(tomllib.loads(text)["logs"]["access"]) == set(keys_of(OwnLog))
    assert parse(text, "comment").logs.access.max_total == 20 << 30


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        ('logs.forward = "tcp://h:1"', 'logs.forward: "tcp://h:1" is no receiver of logs; "journald", "syslog:unix'),
        ('logs.dir = "-"\nlogs.forward = "journald"', 'logs.forward: needs files to read, and logs.dir is "-"'),
        ("logs.access.keeep = 1", 'logs.access.keeep: no such key; did you mean "keep"?'),
        ('logs.error.max_size = "1"', 'logs.error.max_size: "1" is out of range; at least 4KiB, or 0 for no limit'),
        ('logs.debug.compress = "lzma"', 'logs.debug.compress: "lzma" is none of the choices'),
    ],
)
def test_a_mistake_about_logs_names_its_key(text: str, mistake: str) -> None:
    with pytest.raises(BadConfig) as refused:
        parse(text, "test")
    assert refused.value.mistakes[0].startswith(mistake)


def test_shows_a_changed_table_of_one_log_by_the_keys_it_has() -> None:
    (change,) = differences(Config(), parse("logs.access.keep = 2", "test"))
    assert (change.key, change.old, change.new, change.applies) == ("logs.access", "{}", "{keep = 2}", "live")


@pytest.mark.parametrize("name", ["maintenance", "webhook"])
def test_the_commented_tables_of_the_example_are_right_too(name: str) -> None:
    block = re.search(rf"(?m)^# \[\[alerts\.{name}\]\]\n(?:#.*\n)+", EXAMPLE.read_text())
    assert block is not None
    (entry,) = getattr(parse(re.sub(r"(?m)^# ?", "", block[0]), "comment").alerts, name)
    given = tomllib.loads(re.sub(r"(?m)^# ?", "", block[0]))["alerts"][name][0]
    assert set(given) == set(keys_of(type(entry)))


@pytest.mark.parametrize(
    ("text", "key", "because"),
    [
        ('alerts.quiet = {from = "22:00"}', "alerts.quiet.to", "is empty while alerts.quiet.from is set"),
        ('alerts.quiet = {from = "7:00", to = "07:00"}', "alerts.quiet.to", "is the same as alerts.quiet.from"),
        ('alerts.quiet = {from = "25:00", to = "07:00"}', "alerts.quiet.from", "is no time of the day"),
        ('alerts.time_zone = "Mars/Phobos"', "alerts.time_zone", "is no time zone that is known here"),
        ('alerts.time_zone = "../../etc/passwd"', "alerts.time_zone", "is no time zone that is known here"),
        ('alerts.maintenance = [{start = "0 0 31 2 *", for = "1h"}]', "alerts.maintenance[0].start", "no month has"),
        ('alerts.maintenance = [{start = "0 0 * * *", for = "8d"}]', "alerts.maintenance[0].for", "out of range"),
        (
            'alerts.maintenance = [{start = "0 0 * * *", for = "1h", alerts = ["disk"]}]',
            "alerts.maintenance[0].alerts[0]",
            "is no alert",
        ),
    ],
)
def test_times_that_cannot_be_meant_are_mistakes(text: str, key: str, because: str) -> None:
    ((where, said),) = mistakes(text).items()
    assert where == key and because in said


def test_says_of_every_key_when_a_change_holds() -> None:
    for name, model, _table in sections():
        assert list(APPLIES[name]) and set(APPLIES[name]) == set(keys_of(model))
    assert set(APPLIES) == set(Config.model_fields)


def test_compares_two_configurations_key_by_key() -> None:
    new = parse('models.keep = 5\nmodels.settle = "3s"\nworkers.threads = 2\ncontrol.state_dir = "/srv/state"', "test")
    assert [(c.key, c.old, c.new, c.applies) for c in differences(Config(), new)] == [
        ("models.settle", "2", "3", "live"),
        ("models.keep", "3", "5", "live"),
        ("workers.threads", "1", "2", "workers replaced"),
        ("control.state_dir", '"/var/lib/modelward"', '"/srv/state"', "daemon restart"),
    ]
    assert differences(new, new) == ()


def test_shows_a_changed_share_of_a_disk_as_it_is_written() -> None:
    (change,) = differences(Config(), parse('disk.min_free = "2GiB"', "test"))
    assert (change.key, change.old, change.new) == ("disk.min_free", '"10%"', '"2GiB"')


def test_shows_changed_lists_of_tables() -> None:
    (change,) = differences(Config(), parse('disk.class = [{name = "x", path = "/b/c"}]', "test"))
    assert change.key == "disk.class"
    assert 'name = "uploads"' in change.old
    assert 'path = "/b/c"' in change.new


def test_nothing_of_a_configuration_can_be_changed() -> None:
    with pytest.raises(AttributeError, match="never changes"):
        Config().models.keep = 4


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ('url = "https://a/b"', "fleet.public_keys"),
        (f'url = "https://a/b"\npublic_keys = ["{KEY}"]\nkeeper = true', "fleet.keeper"),
        (f'url = "file:///a/b"\npublic_keys = ["{KEY}"]\ncredentials = "/c"', "fleet.credentials"),
        (f'url = "file:///a/b"\npublic_keys = ["{KEY}"]\nca_file = "/c"', "fleet.ca_file"),
        ("keeper = true", "fleet.keeper"),
        (f"public_keys = {[KEY] * 33}".replace("'", '"'), "fleet.public_keys"),
        ('labels = ["a", "a"]', "fleet.labels[1]"),
    ],
)
def test_keys_of_the_fleet_that_contradict_each_other_are_named(text: str, key: str) -> None:
    assert list(mistakes(f"[fleet]\n{text}")) == [key]


@pytest.mark.parametrize(
    "url",
    ["nats://a:4222", "tls://a:4222,tls://[::1]:4222/", "https://a.example:8443/fleet/record.json", "file:///m/r"],
)
def test_a_fleet_has_a_record_somewhere(url: str) -> None:
    assert parse(f'[fleet]\nurl = "{url}"\npublic_keys = ["{KEY}"]', "test").fleet.url == url


@pytest.mark.parametrize(
    ("text", "because"),
    [
        (
            "[workers]\ncount = 1\n[workers]\ncount = 2\n",
            "the table [workers] is there twice (at line 3, column 9);",
        ),
        ("[alerts.route]\n[alerts.route]\n", "the table [alerts.route] is there twice (at line 2, column 14); write"),
        ("[logs]\nkeep = 1\nkeep = 2\n", "a key is there twice (at line 3, column 9); keep one of them"),
        ("[logs\n", "no TOML: "),
    ],
)
def test_what_was_added_to_a_file_that_has_it_is_named_with_what_helps(text: str, because: str) -> None:
    with pytest.raises(BadConfig) as bad:
        parse(text, "here")
    assert bad.value.mistakes[0].startswith(f"the file: {because}")
