"""The text format, read back by Prometheus' own parser."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from modelward.worker.shared.prometheus_text import Exposition, Metric

G = Metric("a_gauge", "gauge", "Help with a \\ and\na line.", ("one", "two"))
C = Metric("a_total", "counter", "Counts.")
H = Metric("a_seconds", "histogram", "Times.", ("one",))


@given(st.text(), st.text(), st.floats())
def test_every_label_and_number_comes_back(one: str, two: str, value: float) -> None:
    out = Exposition([G])
    out.add("a_gauge", value, one=one, two=two)
    (family,) = text_string_to_metric_families(out.text())
    (sample,) = family.samples
    back = {key: text.encode("utf-8", "replace").decode() for key, text in {"one": one, "two": two}.items()}
    assert sample.labels == back
    assert sample.value == value or (math.isnan(sample.value) and math.isnan(value))
    assert family.documentation == G.help


def test_metrics_come_in_the_tables_order_and_only_with_samples() -> None:
    out = Exposition([C, G, H])
    out.add("a_gauge", 1, one="x", two="y")
    out.add("a_gauge", None, one="x", two="z")
    out.add("a_total", 2)
    assert [line for line in out.text().splitlines() if line.startswith("# TYPE")] == [
        "# TYPE a_total counter",
        "# TYPE a_gauge gauge",
    ]
    assert Exposition([C]).text() == ""


def test_the_last_of_the_same_sample_counts() -> None:
    out = Exposition([C])
    out.add("a_total", 1)
    out.add("a_total", 2)
    assert out.text().splitlines()[-1] == "a_total 2"


def test_what_is_not_in_the_table_can_not_be_written() -> None:
    out = Exposition([G, C])
    with pytest.raises(KeyError):
        out.add("other", 1)
    for labels in ({}, {"one": "x"}, {"one": "x", "two": "y", "three": "z"}):
        with pytest.raises(ValueError, match="wanted"):
            out.add("a_gauge", 1, **labels)
    with pytest.raises(ValueError, match="cannot expose"):
        out.add("a_total", 1, suffix="_sum")


def test_a_name_that_is_no_utf8_does_not_spoil_the_page() -> None:
    out = Exposition([G])
    out.add("a_gauge", 1, one="v\udcff", two="")
    assert 'one="v?"' in out.text()
    out.text().encode()
