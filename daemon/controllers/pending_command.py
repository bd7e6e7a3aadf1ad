"""A command of the operator that waits for its result.

It decides nothing. Invariant: it is answered once; later answers have no effect.
"""

from __future__ import annotations

import asyncio

from msgspec import Struct, field

from ..errors import Refused
from ..models.activation_policy import ActivationRequest


class PendingCommand(Struct):
    """`result` is the sentence that answers the command, or the refusal."""

    asked: ActivationRequest
    result: asyncio.Future[str] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    def fulfil(self, sentence: str) -> None:
        if not self.result.done():
            self.result.set_result(sentence)

    def refuse(self, sentence: str) -> None:
        if not self.result.done():
            self.result.set_exception(Refused(sentence))
            self.result.exception()  # marked as retrieved: no client may be waiting for it
