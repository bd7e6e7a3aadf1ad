"""Keys that the environment gives: a variable that looks like one is used or is a mistake; no secret is shown."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

from hypothesis import example, given
from hypothesis import strategies as st
from tests.fuzz.strategies import ODD_TEXTS, altered_text, bytes_like, deep, fuzzed

from modelward.daemon.config import environment
from modelward.daemon.config.environment import MAX_CHARS, SECRETS, over, secret_files, variables
from modelward.daemon.config.load import Config, parse
from modelward.daemon.errors import BadConfig

NAMES = sorted(variables())
LISTS = ("MODELWARD_ALERTS__TO", "MODELWARD_DISK__CLASS", "MODELWARD_MONITOR__ALERT", "MODELWARD_JOBS__CALLBACKS")


def possible(text: str) -> str:
    """What a variable of the environment may hold: any bytes but NUL."""
    return os.fsdecode(text.encode(errors="surrogatepass").replace(b"\0", b""))


_NAMES = st.one_of(
    st.sampled_from(NAMES),
    st.sampled_from(LISTS),
    altered_text(*NAMES, "MODELWARD_WORKERS_COUNT", "MODELWARD_ALERTS__TO_FILE", "MODELWARD_MODELS").map(possible),
).filter(lambda name: name and "=" not in name)
_TEXTS = st.one_of(
    altered_text(
        "2", "true", "10%", "1h30m", "a, b", '["a", "b"]', '[{name = "a", path = "/srv/x", max_age = "1h"}]',
        '[{"metric": "disk_used_percent", "above": 80}]', "json://user:secret@example.org/x",
    ),
    ODD_TEXTS,
    st.sampled_from((deep(3000).decode(), f"[{'1,' * 5000}]", f"[{'a.' * 9000}]", "9" * 5000, "1e999", "inf")),
).map(possible)  # fmt: skip


@fuzzed(200)
@given(st.dictionaries(_NAMES, _TEXTS, max_size=5))
@example({"MODELWARD_DISK__CLASS": "[" + "{" * 5000})
@example({"MODELWARD_ALERTS__TO": "x" * (MAX_CHARS + 1)})
@example({"MODELWARD_WORKERS__COUNT": "\udcff"})
@example({"MODELWARD_WORKERS__COUNT": "1", "MODELWARD_WORKERS__COUNT_FILE": "/x"})
def test_a_variable_that_looks_like_a_key_is_used_or_is_a_mistake(environ: dict[str, str]) -> None:
    found = environment.read(environ, dict.fromkeys(secret_files(environ), ""))
    meant = [name for name in environ if name.startswith("MODELWARD_") and "__" in name[10:]]
    used = set(found.variables.values())
    for name in meant:
        emptied = name.endswith("_FILE") and not environ[name]
        assert name in used or emptied or any(line.startswith(name[:97]) or "\\" in line for line in found.mistakes)
    assert used <= environ.keys() and len(found.keys()) == len(used)
    assert found == environment.read(dict(reversed(environ.items())), dict.fromkeys(secret_files(environ), ""))


@fuzzed(120)
@given(st.dictionaries(_NAMES, _TEXTS, max_size=3))
@example({"MODELWARD_WORKERS__COUNT": "9" * 5000})
@example({"MODELWARD_MODELS__KEEP": "1" * 30})
@example({"MODELWARD_DISK__MIN_FREE": "9" * 30 + "." + "9" * 30})
def test_a_configuration_of_variables_is_taken_whole_or_every_mistake_is_told(environ: dict[str, str]) -> None:
    environ.pop("MODELWARD_DEFAULTS", "")
    for name in [name for name in environ if name.endswith("_FILE")]:
        environ.pop(name)
    try:
        config = parse("", "test.toml", environ)
    except BadConfig as e:
        assert e.mistakes and all(mistake and "\n" not in mistake for mistake in e.mistakes)
        return
    assert isinstance(config, Config) and config == parse("", "test.toml", environ)


@fuzzed(100)
@given(
    st.sampled_from(sorted(".".join(place) for place in SECRETS)),
    bytes_like(
        b"# one on each line\njson://user:secret@example.org/x\nmailtos://me:secret@example.org\n",
        b'[{"url": "https://example.org/secret", "body": "$title"}]',
        b"https://example.org/secret\n",
    ),
)
@example("alerts.to", b"json://user:secret@[/x")
@example("alerts.webhook", b'[{url = "https://example.org/secret", bod = 1}]')
def test_a_secret_of_a_file_is_used_or_refused_without_being_shown(key: str, data: bytes) -> None:
    variable = "MODELWARD_" + "__".join(part.upper() for part in key.split(".")) + "_FILE"
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "file")
        path.write_bytes(data)
        try:
            parse("", "test.toml", {variable: str(path)})
        except BadConfig as e:
            assert e.mistakes and "secret" not in str(e).replace("only what may be secret", "")


@fuzzed(100)
@given(
    st.recursive(
        st.integers(0, 3), lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3), max_leaves=8
    ).filter(lambda value: isinstance(value, dict)),
    st.recursive(
        st.integers(0, 3), lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3), max_leaves=8
    ).filter(lambda value: isinstance(value, dict)),
)
def test_what_counts_more_is_kept_and_nothing_is_lost(upper: dict[str, object], lower: dict[str, object]) -> None:
    before = json.dumps([upper, lower])
    merged = over(upper, lower)
    assert json.dumps([upper, lower]) == before and merged.keys() == upper.keys() | lower.keys()
    assert over(upper, merged) == merged and over({}, lower) == lower and over(upper, {}) == upper
