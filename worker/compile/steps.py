"""The rewrites in the order they are tried, each with the level it is allowed at and what it must bring.

Steps of one group are alternatives: all start from the same graph and the cheapest that is proved is kept. Pure but for
the rewrites themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from .answers import answer_ids
from .attention import fuse_attention, stride_attention
from .graph import View
from .memory import block_convolutions
from .padding import drop_padding
from .requantise import multiplies_exactly, requantise
from .tidy import fix_shapes

Level = Literal["exact", "fast"]

HELPS = 0.99  # a step has to save one part in a hundred
FREE = 1.05  # a step that saves memory may cost this much
WORST = 1.1  # and no length may get slower than this, noise included


@dataclass(frozen=True)
class Step:
    """One rewrite. `limit` is the most that CPU time may become, as a ratio over the lengths (geometric mean)."""

    name: str
    group: str
    level: Level
    apply: Callable[[View], int]
    limit: float = HELPS
    one_clip: bool = True


def _drop_padding_and_fix_shapes(view: View) -> int:
    dropped = drop_padding(view)
    return dropped + fix_shapes(view)


SIGNED = Step("signed weights", "weights", "exact", requantise, one_clip=False)
STEPS: tuple[Step, ...] = (
    SIGNED,
    Step("padding mask dropped", "padding", "exact", _drop_padding_and_fix_shapes),
    Step("attention in place", "attention", "exact", stride_attention),
    Step("attention fused", "attention", "fast", fuse_attention),
    Step("memory convolution in blocks", "memory", "fast", block_convolutions),
    Step("best ids in the graph", "answers", "exact", answer_ids, limit=FREE),
)


def plan(
    steps: Iterable[Step], level: Level, *, one_clip: bool, flags: Iterable[str]
) -> tuple[list[list[Step]], list[tuple[Step, str]]]:
    """(groups of steps to try, in order; steps passed over, each because)."""
    groups: dict[str, list[Step]] = {}
    passed: list[tuple[Step, str]] = []
    exact_products = multiplies_exactly(flags)
    for step in steps:
        if step.one_clip and not one_clip:
            passed.append((step, "this kind of model is not run one clip at a time"))
        elif step.level == "fast" and level == "exact":
            passed.append((step, "it moves answers by rounding; validation.compile is exact"))
        elif step is SIGNED and not exact_products:
            passed.append((step, "this CPU has no VNNI: signed weights would change the answers"))
        else:
            groups.setdefault(step.group, []).append(step)
    return list(groups.values()), passed


def verdict(step: Step, ratios: Sequence[float]) -> tuple[bool, str]:
    """Whether a proved step is worth it, from its CPU time over that of the form before it, one ratio a clip length."""
    mean = 1.0
    for ratio in ratios:
        mean *= ratio ** (1 / len(ratios))
    told = "CPU time " + " and ".join(f"{r:.2f}" for r in ratios) + " of before"
    if mean > step.limit:
        return False, f"{told}; at most {step.limit:.2f} wanted"
    if max(ratios) > WORST:
        return False, f"{told}; slower at one length"
    return True, told
