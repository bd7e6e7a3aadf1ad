"""Serving, with the 32-bit floats that the usual file is made from: the same servers, clips and clients."""

from __future__ import annotations

from typing import Any

from tests.bench.plan import Plan
from tests.bench.sections import serving


def measure(plan: Plan) -> dict[str, Any]:
    """What `serving.measure` gives."""
    return serving.measure(plan, "fp32")
