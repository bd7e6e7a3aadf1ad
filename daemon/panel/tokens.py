"""The panel's tokens: those of `worker.fresh_tokens`, which the service reads in the same way.

Fails closed: with a file that cannot be used no token is accepted. `make_file` is for a thread.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from pathlib import Path

from ...worker.shared.durable_files import replace_file
from ...worker.shared.fresh_tokens import FreshTokens
from ...worker.shared.token_file import MAX_FILE_BYTES, MAX_TOKEN_CHARS, mark_of

__all__ = ["MAX_FILE_BYTES", "MAX_TOKEN_CHARS", "Tokens", "make_file", "mark_of"]


def make_file(path: Path) -> bool:
    """Writes a file with one new token, for its owner and group to read; False when there is one. Raises OSError.

    It has nothing else: Prometheus and its like send the whole file as the token.
    """
    if os.path.lexists(path):
        return False
    replace_file(path, f"{secrets.token_urlsafe(32)}\n".encode(), 0o640)
    return True


class Tokens(FreshTokens):
    """The tokens of one file; `path` "": none is required. `complain` is called once for a file that fails."""

    def __init__(self, path: str, complain: Callable[[str], None]) -> None:
        super().__init__(path, complain)

    def any_mark(self) -> str:
        """The mark of the file's first token, "" while there is none."""
        return "" if self.problem() else next(iter(self._marks), "")
