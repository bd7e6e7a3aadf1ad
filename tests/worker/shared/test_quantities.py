"""The same figure is the same text everywhere: in the daemon's sentences, on the command line and in the panel."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelward.daemon.units import parse_duration, parse_size, show_size
from modelward.worker.shared.quantities import (
    count,
    percent,
    size,
    span,
)

STATIC = Path(__file__).parents[3] / "daemon" / "panel" / "static"

SIZES = {
    0: "0B", 1: "1B", 100: "100B", 1023: "1023B", 1024: "1KiB", 1280: "1.3KiB", 1536: "1.5KiB", 102348: "99.9KiB",
    102400: "100KiB", 1048063: "1023KiB", 1048064: "1MiB", 240 << 20: "240MiB",
    5 << 30: "5GiB", 5_000_000_000: "4.7GiB",
    5 << 40: "5TiB", 5 << 50: "5120TiB", -1536: "-1.5KiB",
}  # fmt: skip
SPANS = {
    -5: "0s", 0: "0s", 0.0004: "0.4ms", 0.0034: "3.4ms", 0.00125: "1.3ms", 0.012: "12ms", 0.9994: "999ms",
    0.9996: "1s",
    1.25: "1.3s", 2.34: "2.3s", 9.96: "10s", 10.4: "10s", 59.5: "1m", 60: "1m", 90: "1m30s", 3600: "1h", 3999: "1h6m",
    3601: "1h", 86400: "1d", 90000: "1d1h", 86460: "1d", 93784: "1d2h",
}  # fmt: skip
PERCENTS = {0: "0%", 0.04: "0%", 12.25: "12.3%", 62.5: "62.5%", 10: "10%", 99.96: "100%", 100: "100%"}


def test_each_figure_has_one_text() -> None:
    assert {value: size(value) for value in SIZES} == SIZES
    assert {value: span(value) for value in SPANS} == SPANS
    assert {value: percent(value) for value in PERCENTS} == PERCENTS
    assert [count(1, "file"), count(1200, "file"), count(2, "entry", "entries")] == [
        "1 file",
        "1,200 files",
        "2 entries",
    ]


def test_the_panel_writes_the_same_texts(tmp_path: Path) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("needs Node.js")
    tables = {"bytes": SIZES, "span": SPANS, "percent": PERCENTS}
    asked = [[name, value] for name, table in tables.items() for value in table]
    script = f"""
        globalThis.navigator ??= {{ languages: ['en'] }};
        globalThis.document = {{ documentElement: {{}} }};
        globalThis.fetch = async () => ({{ json: async () => ({(STATIC / "i18n" / "en.json").read_text("utf-8")}) }});
        const words = await import('{(STATIC / "i18n.js").as_uri()}');
        await words.load(['en']);
        const format = await import('{(STATIC / "format.js").as_uri()}');
        console.log(JSON.stringify({json.dumps(asked)}.map(([name, value]) => format[name](value))));
    """
    answer = subprocess.run([node, "--input-type=module", "-e", script], capture_output=True, check=True, timeout=60)
    assert json.loads(answer.stdout) == [*SIZES.values(), *SPANS.values(), *PERCENTS.values()]


@pytest.mark.parametrize("size_bytes", [1, 1023, 1 << 10, 500 << 10, 5 << 30, 99 << 40])
def test_a_whole_size_is_written_as_in_the_configuration(size_bytes: int) -> None:
    assert size(size_bytes) == show_size(size_bytes)


@given(st.integers(0, 1 << 50))
def test_the_configuration_reads_every_size_back(size_bytes: int) -> None:
    assert parse_size(size(size_bytes)) == pytest.approx(size_bytes, rel=0.06)


@given(st.floats(0.001, 1e8))
def test_the_configuration_reads_every_span_back(seconds: float) -> None:
    assert parse_duration(span(seconds)) == pytest.approx(seconds, rel=0.06)


def test_no_number_is_too_large_for_a_short_text() -> None:
    assert size(10**400) == size(2**100) and len(size(10**400)) < 30
    assert len(span(1e300)) < 30
