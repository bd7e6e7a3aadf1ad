"""The panel's tokens: those of `worker.tokens_file`, which the service reads in the same way.

Fails closed: a file that cannot be used lets nobody in.
"""

from __future__ import annotations

from collections.abc import Callable

from ...worker.tokens_file import MAX_FILE_BYTES, MAX_TOKEN_CHARS, TokensFile, mark_of

__all__ = ["MAX_FILE_BYTES", "MAX_TOKEN_CHARS", "Tokens", "mark_of"]


class Tokens(TokensFile):
    """The tokens of one file; `path` "" means that none is asked for. `complain` hears, once, of a file that fails."""

    def __init__(self, path: str, complain: Callable[[str], None]) -> None:
        super().__init__(path, complain)
