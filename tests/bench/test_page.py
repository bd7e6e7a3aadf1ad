"""The page of benchmarks is what its figures make it, and the figures' own arithmetic is right."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from tests.bench import (
    cells,
    charts,
    load,
    page,
    precision,
    render,
    sums,
    svg,
    venvs,
)
from tests.bench.aims import aims
from tests.bench.clips import Clip, error_rate, pool
from tests.bench.timeline import BAR, timeline

DOCS = Path(__file__).resolve().parents[2] / "docs"


def test_the_page_is_the_rendering_of_its_figures() -> None:
    results = page.load(DOCS)
    assert (DOCS / page.PAGE).read_text(encoding="utf-8") == render.page(results)
    for name, picture in charts.pictures(results).items():
        assert (DOCS / page.IMAGES / name).read_text(encoding="utf-8") == picture, name


def test_every_picture_on_the_page_is_there() -> None:
    text = render.page(page.load(DOCS))
    wanted = [line.split("(")[1].split(")")[0] for line in text.splitlines() if line.startswith("![")]
    assert wanted
    assert all((DOCS / name).is_file() for name in wanted)


def turn(rate: float, seconds: list[float]) -> dict[str, Any]:
    return {"clips_per_second": rate, "seconds": seconds, "failed": 0, "error_rate": 0.0, "cpu_seconds": 0.1}


def cell(seconds: float, clients: int, **rates: list[float]) -> dict[str, Any]:
    systems = {name.replace("_", "-"): [turn(rate, [0.1]) for rate in row] for name, row in rates.items()}
    return {"clip_seconds": seconds, "clients": clients, "systems": systems}


def test_ratios_are_taken_round_by_round_against_the_best_other() -> None:
    one = cell(5.0, 4, modelward=[10, 20, 30], slow=[1, 1, 1], quick=[5, 10, 10], bare=[20, 20, 40])
    assert sums.best_other(one) == "quick"
    assert sums.against_best(one) == (2.0, 2.0, 3.0)
    assert sums.of_limit(one) == (0.75, 0.5, 1.0)


def test_a_server_that_was_measured_alone_has_nobody_to_be_compared_with() -> None:
    assert sums.against_best(cell(5.0, 4, modelward=[1], bare=[1])) is None


def test_a_spread_of_equal_figures_is_one_figure() -> None:
    assert sums.spread([1.001, 1.002]).text(2) == "1.00"
    assert sums.spread([1.0, 3.0, 2.0]).text(1) == "2.0 (1.0–3.0)"


@pytest.mark.parametrize(("percent", "wanted"), [(50, 2), (95, 4), (99, 4), (25, 1)])
def test_a_percentile_is_a_value_that_was_seen(percent: float, wanted: float) -> None:
    assert load.percentile([4, 1, 3, 2], percent) == wanted


def test_cells_and_servers_that_were_not_measured_again_stay() -> None:
    before = {"cells": [cell(5.0, 1, a=[1]), cell(10.0, 1, a=[1])], "systems": {"a": 1, "b": 1}, "runs": [1]}
    now = {"cells": [cell(10.0, 1, a=[2])], "systems": {"a": 2}, "runs": [2]}
    both = page.merged(before, now)
    assert [(c["clip_seconds"], sums.rate(c, "a")) for c in both["cells"]] == [(5.0, [1]), (10.0, [2])]
    assert both["systems"] == {"a": 2, "b": 1}
    assert both["runs"] == [1, 2]


def test_nothing_is_left_of_a_section_that_was_measured_whole() -> None:
    before = {"cells": [cell(5.0, 1, a=[1])], "systems": {"a": 1}, "runs": [1], "seconds": 3}
    now = {"cells": [cell(5.0, 1, a=[2])], "systems": {"a": 2, "b": 2}, "runs": [2]}
    assert page.merged(before, now) == now


SERVED = {"cells": [cell(5.0, 4, modelward=[10], other=[5], bare=[10])]}


def test_a_missed_aim_is_said() -> None:
    found = aims({"serving": SERVED})
    assert [(aim.name, aim.met) for aim in found] == [("factor", False), ("share", True)]
    assert "**no**" in render.aims_table({"serving": SERVED})


def test_what_is_gained_on_floats_is_said_without_an_aim() -> None:
    found = aims({"serving-fp32": SERVED})
    assert [(aim.name, aim.met) for aim in found] == [("factor-fp32", None), ("share-fp32", None)]
    assert "| said, no aim | 2.00 to 2.00 | – |" in render.aims_table({"serving-fp32": SERVED})


def test_each_precision_has_a_section_and_a_picture_of_its_own() -> None:
    machine = {"processor": "", "flags": [], "cores": 2, "memory_gib": 1, "kernel": "", "python": "", "libc": ""}
    systems = {name: {"title": name} for name in ("modelward", "other", "bare")}
    section = {**SERVED, "systems": systems, "runs": [], "machine": {**machine, "versions": {}}}
    results = dict.fromkeys(precision.SECTION.values(), section)
    text = render.page(results)
    for one in precision.FILE:
        assert f". Serving, {one}\n" in text
        assert f"(images/{precision.picture(one)})" in text
        assert f"Serving 4 clients, {one}" in charts.pictures(results)[precision.picture(one)]


def test_a_version_is_served_in_the_precision_of_its_file(tmp_path: Path) -> None:
    for one, file in precision.FILE.items():
        (tmp_path / one).mkdir()
        (tmp_path / one / file).touch()
        assert precision.of(tmp_path / one) == one


@pytest.mark.parametrize("served", precision.FILE)
def test_every_length_is_measured_in_either_precision_and_all_clients_have_work(served: precision.Precision) -> None:
    found = cells.CELLS[served]
    assert {one.seconds for one in found} == {5.0, 10.0, 30.0, 600.0}
    assert {one.clients for one in found} == {1, 4, 16}
    assert all(one.requests >= one.clients and "bare" in one.limits for one in found)
    assert len({(one.seconds, one.clients) for one in found}) == len(found)


def test_ten_minute_clips_are_asked_once_by_each_of_sixteen_clients() -> None:
    long = cells.wanted(cells.CELLS["int8"], [600.0])
    assert [(one.clients, one.requests) for one in long] == [(1, 1), (4, 4), (16, 16)]


def test_clips_of_a_length_that_is_not_measured_are_refused() -> None:
    with pytest.raises(ValueError, match=r"no clips of 7 s, only of 5, 10, 30, 600"):
        cells.wanted(cells.CELLS["int8"], [7.0])


@pytest.mark.parametrize(
    ("said", "dialled", "rate"),
    [("123", "123", 0.0), ("1 2 3", "123", 0.0), ("", "123", 1.0), ("1123", "123", 1 / 3), ("13", "123", 1 / 3)],
)
def test_an_error_rate_counts_edits(said: str, dialled: str, rate: float) -> None:
    assert error_rate(said, dialled) == pytest.approx(rate)


def test_clips_are_the_same_each_time() -> None:
    assert Clip(1.0, 3).wav == Clip(1.0, 3).wav
    assert len({clip.wav for clip in pool(2.0)}) == len(pool(2.0))


def test_a_picture_is_well_formed_and_has_its_words_escaped() -> None:
    text = svg.bars("a < b", "s", ["<one>"], {"x & y": [1.0], "none": [None]}, spread={"x & y": [(0.5, 2.0)]})
    root = ElementTree.fromstring(text)
    assert "a < b" in "".join(root.itertext())


def test_a_timeline_has_a_bar_for_each_run_in_its_time_and_counts_who_waited() -> None:
    runs = [("w1", 0.0, 0.0, 1.0), ("w2", 0.0, 0.5, 1.5), ("w1", 0.2, 1.0, 2.0), ("w1", 5.0, 5.0, 6.0)]
    root = ElementTree.fromstring(timeline("a & b", runs, 0.25, 2.0))
    bars = [rect for rect in root.iter() if rect.get("height") == str(BAR)]
    assert len(bars) == 3
    assert float(bars[0].get("width", 0)) == pytest.approx(float(bars[1].get("width", 0)) * 0.75, abs=1)
    assert {"runs of w1", "runs of w2", "at once: 2", "waiting, up to 2", "1 s"} <= {text.text for text in root.iter()}


def test_waiting_while_a_worker_is_free_counts_against_the_aim() -> None:
    def sharing(free: float) -> dict[str, Any]:
        return {"sharing": {"loads": {"x": {"waited_seconds": 10.0, "free_while_waiting_seconds": [free, 0.01]}}}}

    assert [(aim.measured, aim.met) for aim in aims(sharing(0.03))] == [("0.4%", True)]
    assert [(aim.measured, aim.met) for aim in aims(sharing(0.99))] == [("10.0%", False)]


@pytest.mark.system
@pytest.mark.bench
def test_what_cannot_be_installed_is_said_by_pips_last_error(tmp_path: Path) -> None:
    made = venvs.environment(tmp_path, "none", (f"modelward-is-not-there @ file://{tmp_path}/none",))
    assert made.python is None
    assert made.because.startswith("ERROR")


def test_an_environment_is_known_by_what_this_interpreter_has() -> None:
    assert venvs.here(("pytest",)) == (Path(sys.executable), "")
    assert venvs.here(("no-such-distribution>=1",))[1] == "no-such-distribution>=1 is not installed here"
