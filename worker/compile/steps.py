"""The rewrites in the order in which they are tried, each with its allowed level and the gain that it must bring.

Steps of one group are alternatives: all start from the same graph, and the cheapest proved one is kept. Pure except for
the rewrites themselves.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Literal

from msgspec import Struct

from .answers import answer_ids
from .attention import fuse_attention, stride_attention
from .graph import GraphView
from .memory import block_convolutions
from .padding import drop_padding
from .requantise import multiplies_exactly, requantise, requantise_seven_bits
from .tidy import fix_shapes

Level = Literal["exact", "fast"]

HELPS = 0.99  # a step has to save at least one percent
FREE = 1.05  # a step that saves memory may cost this much
CLEAR = 0.08  # this far from the limit, one round of timing is enough
FREE_OF_LAST = 1.5  # the same for the last layer alone, which is a twentieth of a speech model
WORST = 1.1  # and no length may get slower than this, noise included


class RewriteStep(Struct, frozen=True):
    """One rewrite.

    `limit` is the highest allowed CPU time, as a ratio over the lengths (geometric mean). `ends`: it changes only the
    end of the graph, and can be tried on the last layer.
    """

    name: str
    group: str
    level: Level
    apply: Callable[[GraphView], int]
    limit: float = HELPS
    one_clip: bool = True
    ends: bool = False


def _drop_padding_and_fix_shapes(view: GraphView) -> int:
    dropped = drop_padding(view)
    return dropped + fix_shapes(view)


SIGNED = RewriteStep("signed weights", "weights", "exact", requantise, one_clip=False)
SEVEN_BITS = RewriteStep("signed weights of seven bits", "weights", "exact", requantise_seven_bits, one_clip=False)
STEPS: tuple[RewriteStep, ...] = (
    SIGNED,
    SEVEN_BITS,
    RewriteStep("padding mask dropped", "padding", "exact", _drop_padding_and_fix_shapes),
    RewriteStep("attention in place", "attention", "exact", stride_attention),
    RewriteStep("attention fused", "attention", "fast", fuse_attention),
    RewriteStep("memory convolution in blocks", "memory", "fast", block_convolutions),
    RewriteStep("best ids in the graph", "answers", "exact", answer_ids, limit=FREE, ends=True),
)


def plan(
    steps: Iterable[RewriteStep], level: Level, *, one_clip: bool, flags: Iterable[str]
) -> tuple[list[list[RewriteStep]], list[tuple[RewriteStep, str]]]:
    """(groups of steps to try, in order; skipped steps, each with its reason)."""
    groups: dict[str, list[RewriteStep]] = {}
    passed: list[tuple[RewriteStep, str]] = []
    exact_products = multiplies_exactly(flags)
    for step in steps:
        if step.one_clip and not one_clip:
            passed.append((step, "this kind of model is not run one clip at a time"))
        elif step.level == "fast" and level == "exact":
            passed.append((step, "it moves answers by rounding; validation.compile is exact"))
        elif step is SIGNED and not exact_products:
            passed.append((step, "this processor has no VNNI or the like: signed weights would change the answers"))
        elif step is SEVEN_BITS and exact_products:
            continue  # the same with more bits is tried
        else:
            groups.setdefault(step.group, []).append(step)
    return list(groups.values()), passed


def verdict(step: RewriteStep, ratios: Sequence[float]) -> tuple[bool, str]:
    """Whether a proved step is kept, by its CPU time divided by that of the form before it, one ratio for each clip
    length.
    """
    average = mean(ratios)
    told = "CPU time " + " and ".join(f"{r:.2f}" for r in ratios) + " of before"
    if average > step.limit:
        return False, f"{told}; at most {step.limit:.2f} wanted"
    if max(ratios) > max(WORST, step.limit):
        return False, f"{told}; slower at one length"
    return True, told


def is_clear(step: RewriteStep, ratios: Sequence[float]) -> bool:
    """Whether one measurement is enough to keep `step`. It is never enough to refuse one: a busy machine only adds
    time.
    """
    return max(ratios) < step.limit - CLEAR


def mean(ratios: Sequence[float]) -> float:
    """Geometric mean; 1 for none."""
    return math.exp(sum(map(math.log, ratios)) / len(ratios)) if ratios else 1.0
