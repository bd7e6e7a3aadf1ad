"""What is kept of compiled forms over a restart: forms that cannot be made or used, and what was learned.

All of it can be found again, so losing it costs only time. Its size is limited. A damaged record counts as empty.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct, field

FACT: Final = "forms"
MAX_REFUSED: Final = 200
MAX_LEARNED: Final = 8
MAX_WORDS: Final = 600
MAX_LEARNED_BYTES: Final = 32 << 10
"""Of all recipes together: a request to a compiler has to hold them."""


class FormState(Struct, frozen=True):
    """`refused`: key of a form → why there is none. `learned`: key → recipe. `seconds`: what the last compilation took
    by the clock (0: none yet)."""

    refused: Mapping[str, str] = field(default_factory=dict)
    learned: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    seconds: float = 0.0

    def plus(
        self,
        *,
        refused: Mapping[str, str] | None = None,
        learned: Mapping[str, dict[str, Any]] | None = None,
        seconds: float | None = None,
    ) -> FormState:
        """With these added; the oldest go when there are too many."""
        words = {key: text[:MAX_WORDS] for key, text in (refused or {}).items()}
        return FormState(
            refused=dict([*self.refused.items(), *words.items()][-MAX_REFUSED:]),
            learned=_bounded({**self.learned, **(learned or {})}),
            seconds=self.seconds if seconds is None else seconds,
        )

    def as_json(self) -> dict[str, Any]:
        return {"refused": dict(self.refused), "learned": dict(self.learned), "seconds": self.seconds}


def read(record: Any) -> FormState:
    """The state from the result of `as_json`."""
    match record:
        case {"refused": dict(refused), "learned": dict(learned), "seconds": int() | float() as seconds}:
            texts = {str(key): str(text) for key, text in refused.items()}
            recipes = {str(key): recipe for key, recipe in learned.items() if isinstance(recipe, dict)}
            return FormState(seconds=max(0.0, float(seconds))).plus(refused=texts, learned=recipes)
    return FormState()


def _bounded(learned: Mapping[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The newest that fit."""
    found: list[tuple[str, dict[str, Any]]] = []
    size = 0
    for key, recipe in reversed([*learned.items()]):
        size += len(json.dumps(recipe)) + len(key)
        if len(found) >= MAX_LEARNED or size > MAX_LEARNED_BYTES:
            break
        found.append((key, recipe))
    return dict(reversed(found))
