"""Gate 5: the model answers a built-in input with finite numbers, the same twice.

An empty text or an odd tag is only a warning, because the input has no meaning. A batch that answers differently from
single runs is a warning too, if the numbers are quantised for each run: workers run one clip at a time.
"""

from __future__ import annotations

import numpy as np

from ..context import Context, GateAnswer
from ..measure import peak_bytes
from ..model_under_test import BadSubject
from ..tensor_under_test import not_finite

_QUANTISED_EACH_RUN = ("DynamicQuantizeLinear", "DynamicQuantizeMatMul", "DynamicQuantizeLSTM", "MatMulNBits")


def check(context: Context) -> GateAnswer:
    """Passes when the answers are finite, repeatable, and independent of what else is in the batch."""
    try:
        return _judged(context)
    except BadSubject as e:
        return GateAnswer(False, str(e))


def _judged(context: Context) -> GateAnswer:
    subject = context.loaded()
    first = subject.probe()
    context.load_bytes = max(context.load_bytes, peak_bytes() - context.baseline_bytes)
    bad, total = not_finite(first)
    if bad:
        return GateAnswer(False, f"{bad} of {total} numbers it answers to the built-in input are not finite")
    second = subject.probe()
    if any(not np.array_equal(a, b) for a, b in zip(first, second, strict=True)):
        return GateAnswer(False, "two runs on the same input give different answers")
    remarks = [remark for remark in (subject.remark(),) if remark]
    same, remark = subject.batch_remark()
    if not same and not _quantised_each_run(context):
        return GateAnswer(False, remark)
    if remark:
        remarks.append(remark)
    finite = f"{total} finite numbers, twice the same"
    return GateAnswer(True, "; ".join([finite, *remarks]), warning=bool(remarks))


def _quantised_each_run(context: Context) -> bool:
    """Whether the scale of the numbers depends on everything in the run, so that a batch cannot equal single runs."""
    return not context.operators.isdisjoint(_QUANTISED_EACH_RUN)
