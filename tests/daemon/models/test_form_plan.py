"""Which form is loaded, which is still to be made, what goes, and how long a version waits: tables."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from modelward.daemon.models.form_plan import (
    WAIT_FLOOR_SECONDS,
    Form,
    best,
    handicap,
    missing,
    plain,
    superseded,
    wait_seconds,
    waits,
)

KEYS = {"mapped": "km", "rewritten": "kr"}


def form(kind: str, *, usable: bool = True, level: str = "exact", artifact: str = "", **more: object) -> Form:
    key = {"plain": "", "mapped": "km"}.get(kind, "kr")
    return Form("v1", "d1", artifact or f"/c/v1-{kind}", kind, level, key, usable, **more)  # type: ignore[arg-type]


PLAIN, MAPPED, EXACT, FAST = (form(kind) for kind in ("plain", "mapped", "exact", "fast"))
ALL = (PLAIN, MAPPED, EXACT, FAST)


@pytest.mark.parametrize(
    ("forms", "level", "refused", "expected"),
    [
        (ALL, "exact", (), "exact"),
        (ALL, "fast", (), "fast"),
        (ALL, "off", (), "plain"),
        ((PLAIN,), "exact", (), "plain"),
        ((PLAIN, MAPPED), "exact", (), "mapped"),
        ((PLAIN, MAPPED, EXACT), "exact", ("kr",), "mapped"),
        ((PLAIN, form("exact", usable=False)), "exact", (), "plain"),
        ((form("exact"),), "exact", (), "exact"),  # a former release's directory, which holds both
        ((form("exact", usable=False),), "off", (), "exact"),  # its plain half is all there is
        ((), "exact", (), None),
    ],
)
def test_the_best_form_that_may_be_loaded(
    forms: tuple[Form, ...], level: str, refused: tuple[str, ...], expected: str | None
) -> None:
    found = best(forms, "v1", "d1", level, refused)
    assert (found.form if found else None) == expected
    assert best(forms, "v2", "d1", level, refused) is None
    assert best(forms, "v1", "d2", level, refused) is None


@pytest.mark.parametrize(
    ("forms", "level", "refused", "expected"),
    [
        ((PLAIN,), "exact", (), ("mapped", "rewritten")),
        ((PLAIN,), "off", (), ()),
        ((PLAIN, MAPPED), "exact", (), ("rewritten",)),
        ((PLAIN, EXACT), "exact", (), ()),  # who has the better one needs no mapped one
        ((PLAIN, EXACT), "fast", (), ("mapped", "rewritten")),  # made at another level
        ((PLAIN, form("exact", usable=False)), "exact", (), ("mapped", "rewritten")),
        ((PLAIN,), "exact", ("km",), ("rewritten",)),
        ((PLAIN, MAPPED), "exact", ("kr",), ()),
    ],
)
def test_what_is_still_to_be_made(
    forms: tuple[Form, ...], level: str, refused: tuple[str, ...], expected: tuple[str, ...]
) -> None:
    assert missing(forms, "v1", "d1", level, KEYS, refused) == expected


def test_a_compiler_is_given_the_version_as_it_came() -> None:
    assert plain(ALL, "v1", "d1") == PLAIN
    assert plain((MAPPED,), "v1", "d1") == MAPPED
    assert plain((), "v1", "d1") is None


def test_a_form_goes_when_a_better_one_is_used_or_it_failed_and_the_version_never_does() -> None:
    known = {PLAIN.digest}
    assert superseded(ALL, "exact", (), {EXACT.artifact}, known) == {MAPPED.artifact: "the exact form is used"}
    assert superseded(ALL, "exact", (), {MAPPED.artifact}, known) == {}
    assert superseded(ALL, "exact", (), {MAPPED.artifact, EXACT.artifact}, known) == {}
    assert superseded((PLAIN, EXACT), "exact", ("kr",), {PLAIN.artifact}, known) == {EXACT.artifact: "it failed"}
    assert superseded((PLAIN, EXACT), "exact", ("kr",), {EXACT.artifact}, known) == {}  # a worker still maps it


def test_a_form_that_was_made_of_a_version_that_is_rejected_goes() -> None:
    mapped, exact = (replace(f, artifact=f"/c/v1-ab-cd-{f.form}") for f in (MAPPED, EXACT))
    gone = dict.fromkeys((mapped.artifact, exact.artifact), "its version is not accepted")
    assert superseded((mapped, exact), "exact", (), (), ()) == gone
    assert superseded((mapped, exact), "exact", (), {exact.artifact}, ()) == {mapped.artifact: gone[mapped.artifact]}
    assert superseded((mapped, exact), "exact", (), (), {exact.digest}) == {}  # it is judged now
    assert superseded((PLAIN, mapped, exact), "exact", (), (), ()) == {}  # not looked at yet, after a start
    assert superseded((replace(EXACT, artifact="/c/v1-ab"),), "exact", (), (), ()) == {}  # both in one directory


@pytest.mark.parametrize(
    ("serving", "ours", "stages", "waited", "expected"),
    [
        (None, PLAIN, ("mapped", "rewritten"), 0.0, False),  # nothing serves
        (PLAIN, PLAIN, ("mapped", "rewritten"), 0.0, False),  # nothing compiled serves
        (EXACT, PLAIN, ("mapped", "rewritten"), 0.0, True),
        (EXACT, PLAIN, ("mapped", "rewritten"), 59.9, True),
        (EXACT, PLAIN, ("mapped", "rewritten"), 60.0, False),  # the bound
        (EXACT, PLAIN, (), 0.0, False),  # no form can be made
        (EXACT, MAPPED, ("rewritten",), 0.0, True),
        (EXACT, EXACT, (), 0.0, False),
        (MAPPED, MAPPED, ("rewritten",), 0.0, False),  # as good as what serves
        (MAPPED, PLAIN, ("mapped", "rewritten"), 0.0, True),
    ],
)
def test_a_version_waits_for_its_form_only_when_a_compiled_one_serves_and_not_for_ever(
    serving: Form | None, ours: Form, stages: tuple[str, ...], waited: float, expected: bool
) -> None:
    because = waits(serving, ours, stages, waited, 60.0)
    assert bool(because) == expected
    assert not because or because == f"waiting for its compiled form ({waited:.0f} of at most 60 s)"


def test_the_wait_grows_with_what_compiling_and_judging_took() -> None:
    assert wait_seconds(0.0, 0.0) == WAIT_FLOOR_SECONDS
    assert wait_seconds(100.0, 1.0) == 300.0
    assert wait_seconds(1.0, 50.0) == 300.0


def test_a_version_as_it_came_is_not_called_slow_for_the_form_it_lacks() -> None:
    quick = form("exact", compiled={"cpu_ratio_5s": 0.5, "cpu_ratio_30s": 0.4})
    assert handicap(quick, PLAIN) == 2.5
    assert handicap(PLAIN, quick) == handicap(quick, quick) == handicap(None, PLAIN) == handicap(quick, None) == 1.0
    assert handicap(EXACT, PLAIN) == 1.25  # nothing was measured
