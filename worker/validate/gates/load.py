"""Gate 4: ONNX Runtime opens the model as the workers will, and the memory and time for it are measured.

Memory is measured at its peak from here on, including the probe's first run. It fills the context's `subject`,
`baseline_bytes` and `load_bytes`.
"""

from __future__ import annotations

from time import process_time

from ...shared.quantities import size
from ..context import Context, GateAnswer
from ..kinds import KINDS
from ..measure import (
    peak_bytes,
    reset_peak,
    resident_bytes,
    timed,
)
from ..model_under_test import BadSubject, Subject


def check(context: Context) -> GateAnswer:
    """Passes when the model loads; the probe gate checks its answers."""
    candidate = context.candidate
    reset_peak()
    context.baseline_bytes = resident_bytes()

    def load() -> Subject:
        return KINDS[candidate.kind].load(context.directory, context.model, candidate.threads, candidate.providers)

    begun = process_time()
    try:
        context.subject, seconds = timed(load)
    except BadSubject as e:
        return GateAnswer(False, str(e))
    context.load_seconds = round(process_time() - begun, 3)
    context.load_bytes = max(0, peak_bytes() - context.baseline_bytes)
    return GateAnswer(True, f"{seconds:.2f} s, {size(context.load_bytes)} at the peak")
