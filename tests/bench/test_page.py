"""The page of benchmarks is what its figures make it, and the figures' own arithmetic is right."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from tests.bench import (
    cells,
    charts,
    kinds,
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
from tests.bench.peers.peer import RECOGNIZER
from tests.bench.timeline import BAR, timeline

DOCS = Path(__file__).resolve().parents[2] / "docs"


def test_the_page_is_the_rendering_of_its_figures() -> None:
    results = page.load(DOCS)
    assert (DOCS / page.PAGE).read_text(encoding="utf-8") == render.page(results)
    pictures = charts.pictures(results)
    for name, picture in pictures.items():
        assert (DOCS / page.IMAGES / name).read_text(encoding="utf-8") == picture, name
    assert {path.name for path in (DOCS / page.IMAGES).glob("bench-*")} == set(pictures)


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


def machine(*flags: str, **more: Any) -> dict[str, Any]:
    known = {"processor": "P", "cores": 2, "memory_gib": 1, "kernel": "", "python": "", "libc": "", "versions": {}}
    return {**known, "flags": list(flags), **more}


def section(where: dict[str, Any], **figures: Any) -> dict[str, Any]:
    run = {"command": "x", "date": "2026-12-01", "took_seconds": 1, "commit": "c0ffee"}
    return {"machine": where, "runs": [run], **figures}


@pytest.mark.parametrize(
    ("where", "kind"),
    [
        (machine("avx2", "avx512f", "avx512_vnni", "amx_int8"), "amx"),
        (machine("avx2", "avx_vnni"), "vnni"),
        (machine("avx2", "avx512f"), "avx2"),
        (machine("asimddp", architecture="aarch64"), "arm"),
        (machine(), "other"),
    ],
)
def test_a_machine_is_of_a_kind_by_the_flags_of_its_processor(where: dict[str, Any], kind: str) -> None:
    assert kinds.kind_of(where) == kind


def test_a_run_replaces_the_figures_of_its_own_kind_alone() -> None:
    results: kinds.Results = {}
    for flags, seconds in (("avx_vnni", 1.0), ("avx2", 2.0), ("avx_vnni", 3.0)):
        page.put(results, "sweep", section(machine(flags), seconds=seconds))
    assert {kind: found["sweep"]["seconds"] for kind, found in results.items()} == {"vnni": 3.0, "avx2": 2.0}


def test_figures_of_another_machine_come_beside_those_that_are_there() -> None:
    results: kinds.Results = {"vnni": {"sweep": {"old": 1}, "idle": {"old": 1}}}
    page.take(results, {"vnni": {"sweep": {"new": 1}}, "arm": {"sweep": {"new": 1}}})
    assert results == {"vnni": {"sweep": {"new": 1}, "idle": {"old": 1}}, "arm": {"sweep": {"new": 1}}}


def test_what_is_saved_is_loaded_again(tmp_path: Path) -> None:
    results: kinds.Results = {"arm": {"sweep": {"a": [{"b": [1, 2.5], "c": "x  {y}\n[1,\n 2]"}, {}], "d": None}}}
    page.save(tmp_path, results)
    assert page.load(tmp_path) == results


def test_the_page_says_of_which_machine_day_and_commit_each_figure_is() -> None:
    idle = {"title": "modelward", "rss": 30.0, "pss": 20.0, "threads": 3, "cpu_ms_per_minute": 9.0}
    figures = {
        "systems": {"modelward": {**idle, "switches_per_second": 0.25, "children_per_minute": 0.0}},
        "seconds": 9,
    }
    results = {
        "vnni": {"idle": section(machine("avx_vnni"), **figures)},
        "avx2": {"idle": section(machine("avx2", masked=True), **figures)},
    }
    text = render.page(results)
    assert "| VNNI | P (avx_vnni), 2 cores, 1 GiB | 2026-12-01 (commit c0ffee) |" in text
    assert "| Idle daemon with the panel, CPU | at most 12 ms a minute | 9.0 ms a minute | 9.0 ms a minute |" in text
    assert "| AVX2 without VNNI | modelward | 31.5 | 9.0 | 0.25 |" in text
    assert "its newer features were masked" in text
    assert text.index("happens: VNNI") < text.index("happens: AVX2 without VNNI")


def test_the_page_says_where_other_programs_ran_too() -> None:
    figures = section(machine(), missing="no tool")
    assert "busy machine" not in render.page({"vnni": {"image": figures}})
    figures["runs"][0]["busy_before"] = 6.2
    assert "(**on a busy machine**: 6.2 other processes wanted a processor)" in render.page(
        {"vnni": {"image": figures}}
    )


def served(clients: int, ours: float, other: float) -> dict[str, Any]:
    return {"serving": {"cells": [cell(5.0, clients, modelward=[ours], other=[other], bare=[ours])]}}


@pytest.mark.parametrize(
    ("kind", "sections", "wanted"),
    [
        ("vnni", served(4, 16, 10), {"factor": False, "share": True}),
        ("amx", served(4, 18, 10), {"factor": True, "share": True}),
        ("avx2", served(4, 11, 10), {"factor-plain": True, "share": True}),
        ("avx2", served(1, 11, 10), {"factor-plain": True, "factor-lone": False, "share": True}),
        ("avx2", served(16, 9, 10), {"factor-plain": False, "p95": True, "share": True}),
    ],
)
def test_the_aims_of_int8_are_those_of_the_kind(kind: str, sections: dict[str, Any], wanted: dict[str, bool]) -> None:
    assert {aim.name: aim.met for aim in aims(kind, sections)} == wanted


def test_a_missed_aim_is_said_in_the_column_of_its_kind() -> None:
    results = {"vnni": served(4, 15, 10), "avx2": served(4, 15, 10)}
    for sections in results.values():
        sections["serving"] |= section(machine())
    text = render.aims_table(results)
    assert "| at least 1.7 | 1.50 to 1.50, **missed** | – |" in text
    assert "| at least 1.0 | – | 1.50 to 1.50 |" in text


def test_the_longest_waits_are_compared_with_the_least_of_another_server() -> None:
    one = cell(5.0, 16, modelward=[1], slow=[1], quick=[1])
    for name, seconds in (("modelward", 3.0), ("slow", 4.0), ("quick", 2.0)):
        one["systems"][name] = [turn(1.0, [seconds])]
    assert sums.p95_against_best(one) == 1.5
    assert sums.p95_against_best(cell(5.0, 16, modelward=[1])) is None


def test_processor_time_is_compared_with_the_least_of_another_server() -> None:
    one = cell(5.0, 4, modelward=[1], slow=[1], quick=[1], bare=[1])
    for name, seconds in (("modelward", 0.1), ("slow", 0.4), ("quick", 0.3), ("bare", 0.01)):
        one["systems"][name] = [{**turn(1.0, [1.0]), "cpu_seconds": seconds}]
    assert sums.cpu_against_least(one) == pytest.approx(3.0)
    assert sums.cpu_against_least(cell(5.0, 4, modelward=[1])) is None


def test_what_is_gained_on_floats_is_said_without_an_aim() -> None:
    found = aims("vnni", {"serving-fp32": SERVED})
    assert [(aim.name, aim.met) for aim in found] == [("factor-fp32", None), ("share-fp32", None)]


def test_each_precision_has_a_section_and_a_picture_of_its_own() -> None:
    systems = {name: {"title": name} for name in ("modelward", "other", "bare")}
    results = {"vnni": dict.fromkeys(precision.SECTION.values(), section(machine(), systems=systems, **SERVED))}
    text = render.page(results)
    pictures = charts.pictures(results)
    for one in precision.FILE:
        assert f". Serving, {one}\n" in text
        name = kinds.PICTURE.format(precision.SECTION[one], "vnni")
        assert f"(images/{name})" in text
        assert f"Serving 4 clients, {one}, VNNI" in pictures[name]


def test_there_is_no_picture_where_nothing_of_it_was_measured() -> None:
    systems = {name: {"title": name} for name in ("modelward", "other", "bare")}
    alone = section(machine("avx2"), systems=systems, cells=[cell(5.0, 1, modelward=[2], other=[1], bare=[1])])
    assert charts.pictures({"avx2": {"serving": alone}}) == {}
    assert "![" not in render.page({"avx2": {"serving": alone}})


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

    assert [(aim.measured, aim.met) for aim in aims("vnni", sharing(0.03))] == [("0.4%", True)]
    assert [(aim.measured, aim.met) for aim in aims("vnni", sharing(0.99))] == [("10.0%", False)]


@pytest.mark.system
@pytest.mark.bench
def test_what_cannot_be_installed_is_said_by_pips_last_error(tmp_path: Path) -> None:
    made = venvs.environment(tmp_path, "none", (f"modelward-is-not-there @ file://{tmp_path}/none",))
    assert made.python is None
    assert made.because.startswith("ERROR")


def test_an_environment_is_known_by_what_this_interpreter_has() -> None:
    assert venvs.here(("pytest",)) == (Path(sys.executable), "")
    assert venvs.here(("no-such-distribution>=1",))[1] == "no-such-distribution>=1 is not installed here"


def test_aims_are_in_the_order_of_the_page_whatever_kind_has_them() -> None:
    sweep = section(machine(), median_ratio_to_find=1.5)
    fleet = section(machine(), rounds=[{"ours_seconds": 1.0, "bare_seconds": 1.0}])
    text = render.aims_table({"amx": {"fleet": fleet}, "vnni": {"sweep": sweep}})
    assert text.index("| 1.50 |") < text.index("| 1.00 |")


def test_an_aim_that_was_measured_on_a_busy_machine_is_marked() -> None:
    figures = section(machine(), median_ratio_to_find=1.5)
    assert "| at most 1.8 | 1.50 |" in render.aims_table({"vnni": {"sweep": figures}})
    figures["runs"][0]["busy_before"] = 6.2
    text = render.aims_table({"vnni": {"sweep": figures}})
    assert "| at most 1.8 | 1.50 † |" in text
    assert "† Other programs had the processors too" in text


def test_what_the_shared_recogniser_imports_is_installed_for_each_peer_that_has_it() -> None:
    listed = (
        "import sys; before = set(sys.modules); import tests.bench.peers.recognizer; import importlib.metadata as m; "
        "new = {name.partition('.')[0] for name in set(sys.modules) - before}; known = m.packages_distributions(); "
        "print(*{d for name in new for d in known.get(name, []) if d != 'modelward'})"
    )
    path = os.pathsep.join((str(DOCS.parent), str(DOCS.parent / ".imports")))
    words = [sys.executable, "-c", listed]
    done = subprocess.run(words, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=True)
    beside = {"typing_extensions"}  # imported where it is there
    assert set(done.stdout.split()) - beside == set(RECOGNIZER)
