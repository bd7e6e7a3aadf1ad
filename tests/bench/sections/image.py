"""How large the container image is: its files, and compressed as a registry has them. `make image` checks what it does.

Needs what `make image` needs; where that is missing the reason is kept.
"""

from __future__ import annotations

from typing import Any

from tests.bench.plan import Plan
from tests.container import __main__ as container
from tests.container.engine import Engine, missing

EXTRAS = ("alerts,signing", "alerts,signing,media,silk")


def measure(plan: Plan) -> dict[str, Any]:
    """{"images": {extras: {"files_mb", "compressed_mb"}}}."""
    if because := missing():
        return {"missing": because}
    if plan.quick:
        return {"missing": "a quick run builds no image"}
    container.CACHE.mkdir(parents=True, exist_ok=True)
    engine = Engine(container.CACHE)
    engine.make_base()
    images = {}
    for extras in EXTRAS:
        engine.build(f"--build-arg=EXTRAS={extras}")
        whole, packed, _ = container.sizes(engine)
        images[extras] = {"files_mb": whole, "compressed_mb": packed}
    return {"images": images}
