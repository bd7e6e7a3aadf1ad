"""Which rewrites are tried at which level, and when one is worth keeping."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.worker.compile.graphs import VNNI

from modelward.worker.compile.steps import (
    FREE,
    HELPS,
    SEVEN_BITS,
    SIGNED,
    STEPS,
    WORST,
    is_clear,
    plan,
    verdict,
)

ratio = st.floats(0.1, 3.0)


def names(groups: list) -> set[str]:
    return {step.name for group in groups for step in group}


def test_exact_tries_nothing_that_moves_answers() -> None:
    groups, passed = plan(STEPS, "exact", one_clip=True, flags=VNNI)
    assert all(step.level == "exact" for group in groups for step in group)
    assert {step.name for step, _ in passed} == {s.name for s in STEPS if s.level == "fast"}
    assert all("exact" in because for _, because in passed)


def test_fast_tries_everything() -> None:
    groups, passed = plan(STEPS, "fast", one_clip=True, flags=VNNI)
    assert names(groups) == {s.name for s in STEPS if s is not SEVEN_BITS}
    assert passed == []


def test_without_vnni_weights_stay_unsigned() -> None:
    groups, passed = plan(STEPS, "fast", one_clip=True, flags={"avx2", "avx512f"})
    assert SIGNED.name not in names(groups)
    assert SEVEN_BITS.name in names(groups)
    assert [(step.name, "VNNI" in because) for step, because in passed] == [(SIGNED.name, True)]


def test_a_model_run_in_batches_keeps_its_masks_and_logits() -> None:
    groups, _ = plan(STEPS, "fast", one_clip=False, flags=VNNI)
    assert names(groups) == {SIGNED.name}


@given(st.lists(ratio, min_size=1, max_size=3))
def test_what_does_not_help_is_never_kept(ratios: list[float]) -> None:
    kept, because = verdict(SIGNED, ratios)
    assert because.startswith("CPU time ")
    if min(ratios) > HELPS or max(ratios) > WORST:
        assert not kept
    if max(ratios) < HELPS - 0.001:
        assert kept


def test_a_step_that_saves_memory_may_cost_a_little() -> None:
    ids = next(s for s in STEPS if s.limit == FREE)
    assert verdict(ids, [1.03, 1.02])[0]
    assert not verdict(ids, [1.08, 1.06])[0]


@pytest.mark.parametrize("flags", [{"asimd", "asimddp"}, {"asimd", "i8mm"}, {"avx2", "avx_vnni"}, {"amx_int8"}])
def test_signed_weights_are_tried_wherever_products_are_summed_in_32_bits(flags: set[str]) -> None:
    groups, _ = plan(STEPS, "exact", one_clip=True, flags=flags)
    assert SIGNED.name in names(groups)


def test_times_taken_once_keep_what_is_clearly_faster_and_refuse_nothing() -> None:
    assert is_clear(SIGNED, [0.5, 0.6])
    assert not is_clear(SIGNED, [0.5, 0.97])
    assert not is_clear(SIGNED, [1.3, 1.4])
