"""What operators write: the configuration, sizes and durations, addresses, names, credentials, token files."""

from __future__ import annotations

import asyncio
import json
import tempfile
from pathlib import Path

import structlog
from hypothesis import example, given
from hypothesis import strategies as st
from tests.fuzz.strategies import (
    ODD_TEXTS,
    altered_text,
    bytes_like,
    fuzzed,
)

from modelward.daemon import units
from modelward.daemon.config.credentials import with_credentials
from modelward.daemon.config.load import (
    Config,
    differences,
    load,
    parse,
)
from modelward.daemon.config.validators import is_loopback, split_address
from modelward.daemon.errors import BadConfig
from modelward.daemon.health.addresses import addresses, scrub
from modelward.daemon.names import is_version_name
from modelward.daemon.panel.tokens import Tokens
from modelward.daemon.system.systemd import listen_sockets, watchdog_seconds
from modelward.daemon.version_order import is_higher, order_key
from modelward.worker.http.auth import TokenCheck
from modelward.worker.http.errors import ApiError
from modelward.worker.http.model_names import answers_to, is_version_of, split_name

SHIPPED = (Path(__file__).parents[2] / "etc" / "modelward.toml").read_text()
WHOLE = """
[models]
root = "/srv/models"
settle = "2s"
keep = 3
[validation]
memory = "4GiB"
public_keys = ["RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3"]
max_error_rate = 0.1
[workers]
count = 2
listen = "[::1]:7860"
providers = ["CPUExecutionProvider"]
[panel]
listen = "127.0.0.1:5000"
[logs]
every = "1d"
max_size = "100MiB"
[[logs.extra]]
path = "/srv/webui/logs/*.log"
method = "collapse"
[disk]
min_free = "10%"
target_free = "20GiB"
[[disk.class]]
name = "uploads"
path = "/var/lib/modelward/uploads"
max_bytes = 5_000_000_000
[[monitor.alert]]
metric = "disk_used_percent"
above = 90
for = "60s"
[alerts]
to = ["json://example.org/path?x=1"]
"""
TABLES = {
    "models": {name: str(it) if isinstance(it, Path) else it for name, it in vars(Config().models).items()},
    "disk": {"check": "60s", "class": [{"name": "a", "path": "/srv/a", "max_age": "1h"}]},
    "monitor": {"alert": [{"metric": "cpu_used_percent", "above": 90, "clear": 80, "for": 1}]},
}


def _judged(text: str) -> Config | None:
    try:
        config = parse(text, "the test")
    except BadConfig as e:
        assert e.mistakes and all(mistake and "\n" not in mistake for mistake in e.mistakes)
        return None
    assert config == parse(text, "the test") and differences(config, config) == ()
    assert 0 <= config.models.keep <= 10_000 and 1 <= config.validation.timeout <= 86400
    differences(Config(), config)
    return config


@fuzzed(150)
@given(altered_text(WHOLE, SHIPPED))
@example("a = " + "[" * 2000)
@example(".".join("a" * 3000) + " = 1")
@example("[" + ".".join("a" * 3000) + "]")
@example("models." + ".".join("a" * 3000) + " = 1")
@example("a = 1" + "0" * 5000)
@example("a = 9999-99-99")
@example("[models]\nkeep = 1979-05-27T07:32:00Z")
@example('[alerts]\nto = ["http://[/"]')
def test_a_configuration_is_taken_whole_or_every_mistake_is_told(text: str) -> None:
    _judged(text)


_VALUES = st.recursive(
    st.one_of(
        st.booleans(),
        st.integers(-(2**70), 2**70),
        st.floats(),
        ODD_TEXTS,
        st.sampled_from(("10%", "1h30m", "512MiB", "auto", "/var/x", "127.0.0.1:1", "-1s", "٣s", "1e3s")),
        st.datetimes().map(lambda moment: moment.isoformat()),
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(("name", "path", "above")), inner),
)
_KEYS = [
    (section, field.alias or name)
    for section, model in Config.model_fields.items()
    for name, field in type(model.default).model_fields.items()
]


@fuzzed(150)
@given(st.dictionaries(st.sampled_from(_KEYS), _VALUES, max_size=6))
def test_any_value_at_any_key_is_used_or_refused(values: dict[tuple[str, str], object]) -> None:
    lines = [f"{section}.{key} = {_toml(value)}" for (section, key), value in values.items()]
    _judged("\n".join(lines))


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return json.dumps(value.encode(errors="replace").decode()).replace("\x7f", "\\u007f")
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_toml(inner)}" for key, inner in value.items()) + "}"
    return str(value)


@fuzzed(60)
@given(bytes_like(WHOLE.encode(), b"\xef\xbb\xbf[models]\nkeep = 1\n", b"\xff\xfe[\0m\0"))
def test_a_configuration_file_may_hold_any_bytes(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "modelward.toml"
        path.write_bytes(data)
        try:
            load(path)
        except BadConfig as e:
            assert e.mistakes


_QUANTITIES = st.one_of(
    altered_text("512MiB", "5GB", "1h30m", "7d", "500ms", "10%", "0.5", "1w2d3h4m5s6ms"),
    st.from_regex(r"[0-9]{1,5}(\.[0-9]{1,9})? ?(B|[KMGT]i?B|w|d|h|m|min|s|ms|%)", fullmatch=True),
    ODD_TEXTS,
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.just(10**400),
    st.lists(st.none(), max_size=1),
)


@fuzzed(300)
@given(_QUANTITIES)
@example("9" * 64)
@example(10**400)
def test_sizes_durations_and_shares_are_in_bounds_or_refused(value: object) -> None:
    try:
        size = units.parse_size(value)
        assert 0 <= size <= units.MAX_BYTES and units.parse_size(units.show_size(size)) == size
    except ValueError as e:
        assert str(e)
    try:
        seconds = units.parse_duration(value)
        assert 0 <= seconds < float("inf")
        if 0.001 <= seconds < 1e9:
            assert abs(units.parse_duration(units.show_duration(seconds)) - seconds) <= 1e-3 + seconds * 1e-6
    except ValueError as e:
        assert str(e)
    try:
        share = units.parse_share(value)
        assert 0 <= share.of(1 << 40) <= units.MAX_BYTES
    except ValueError as e:
        assert str(e)


@fuzzed(200)
@given(st.one_of(altered_text("127.0.0.1:7860", "[::1]:80", "example.org:65535", "0.0.0.0:0"), ODD_TEXTS))
def test_an_address_has_a_host_and_a_port_or_is_refused(text: str) -> None:
    try:
        host, port = split_address(text)
    except ValueError:
        return
    assert host and 0 <= port <= 65535
    is_loopback(text)


_NAMES = st.one_of(
    altered_text("sensevoice-small-onnx-quant-v1.1", "dtmf-v1.10-rc2", "model-2024-07-17", "v1"), ODD_TEXTS
)


@fuzzed(300)
@given(_NAMES, _NAMES, st.floats(0, 1e9))
@example("v1\n", "v1", 0.0)
def test_names_of_versions_have_one_order(one: str, other: str, arrived: float) -> None:
    if is_version_name(one):
        assert "/" not in one and not one.startswith(".") and 0 < len(one.encode()) <= 255
    if len(one) > 255 or len(other) > 255:
        return  # no file system has such a name
    keys = order_key(one, arrived), order_key(other, arrived)
    assert (keys[0] < keys[1]) + (keys[0] > keys[1]) + (keys[0] == keys[1]) == 1
    assert not (is_higher(one, other) and is_higher(other, one))
    model, trailing = split_name(one)
    assert (model + trailing == one or one.endswith(trailing)) and one.startswith(model)
    assert answers_to(one, one) and is_version_of(one, one)


SECRETS = b"# robots\njson://user:secret@example.org/path\nmailtos://me:pw@example.org?to=you\n"


@fuzzed(100)
@given(bytes_like(SECRETS))
@example(b"json://example.org/x\n" * 10_000)
def test_credentials_are_taken_or_refused_without_repeating_them(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as directory:
        (Path(directory) / "modelward.alerts").write_bytes(data)
        try:
            config = with_credentials(Config(), {"CREDENTIALS_DIRECTORY": directory})
        except BadConfig as e:
            assert "secret" not in str(e)
            return
    assert all(address.label and "secret" not in address.label for address in addresses(config.alerts.to))


@fuzzed(150)
@given(altered_text("https://user:p%40ss@example.org:99/a/b?key=value&x#y", "mailto://a:b@c"), st.text(max_size=50))
@example("http://[", "x")
def test_no_part_of_an_address_is_told(url: str, text: str) -> None:
    if "://" in url:
        assert addresses((url,))[0].label
    assert url not in scrub(f"{text} {url} {text}", url) or len(url) < 4


@fuzzed(100)
@given(bytes_like(b"# tokens\nlet-me-in\n\nsecond\n"), ODD_TEXTS)
def test_a_token_file_lets_in_who_is_named_and_nobody_else(data: bytes, token: str) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "tokens"
        path.write_bytes(data)
        known = {line.strip() for line in data.decode(errors="replace").splitlines()}
        panel, gate = Tokens(str(path), lambda text: None), TokenCheck(str(path), structlog.get_logger())
        panel.refresh()
        assert bool(panel.check(token)) <= (token.encode(errors="replace").decode() in known)
        asyncio.run(gate.fresh())
        assert gate.knows(token) <= (token.encode(errors="replace") in {line.strip() for line in data.splitlines()})


_HEADER = st.one_of(
    altered_text("Bearer let-me-in", "http://127.0.0.1:7860", "127.0.0.1:7860", "modelward_token=x; y=z", "[::1]:80"),
    st.text(st.characters(codec="latin-1"), max_size=30),
)


@fuzzed(200)
@given(
    st.sampled_from(("GET", "POST", "HEAD")),
    st.dictionaries(st.sampled_from(("authorization", "cookie", "origin", "host", "forwarded", "x-real-ip")), _HEADER),
    st.one_of(st.sampled_from(("", "127.0.0.1", "::ffff:127.0.0.1", "10.0.0.1")), ODD_TEXTS),
)
@example("POST", {"origin": "http://["}, "127.0.0.1")
@example("POST", {"host": "[", "origin": "null"}, "127.0.0.1")
def test_the_workers_gate_answers_every_request(method: str, headers: dict[str, str], client: str) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "tokens"
        path.write_bytes(b"let-me-in\n")
        for gate in (TokenCheck(str(path), structlog.get_logger()), TokenCheck("", structlog.get_logger())):
            for ask in (lambda g=gate: g.check(method, "/x", headers), lambda g=gate: g.check_change(client, headers)):
                try:
                    ask()
                except ApiError as e:
                    assert e.status in (401, 403)


@fuzzed(100)
@given(st.dictionaries(st.sampled_from(("WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID")), ODD_TEXTS))
@example({"WATCHDOG_USEC": "9" * 400})
@example({"WATCHDOG_USEC": "9" * 5000})
@example({"LISTEN_PID": "7", "LISTEN_FDS": "-5"})
@example({"LISTEN_PID": "7", "LISTEN_FDS": "9" * 5000})
def test_the_service_managers_words_are_used_or_passed_over(environ: dict[str, str]) -> None:
    seconds = watchdog_seconds(environ, 7)
    assert seconds is None or 0 < seconds < float("inf")
    if environ.get("LISTEN_FDS", "").lstrip("-") in ("5", "9" * 5000):
        assert listen_sockets({**environ, "LISTEN_FDS": "-5"}, 7) == {}
