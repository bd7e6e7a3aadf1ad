"""Digests of the service's tokens, read for workers that may not read the newly configured file.

It reads files: not for an event loop. It holds no token, only the SHA-256 of each. Invariant: marks belong to one path
and are given for that path alone.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from ...worker.shared.token_file import TokensFile

MOST_TOLD: Final = 500
"""With more tokens the message to a worker would be too long: then it accepts no token until it is replaced."""


class TokenMarks(NamedTuple):
    """The marks of the tokens in the file at `path`; none where it cannot be used."""

    path: str = ""
    marks: tuple[str, ...] = ()

    def of(self, path: str) -> tuple[str, ...]:
        """The marks for the file at `path`; none for another one."""
        return self.marks if path == self.path else ()


def read_token_marks(path: str) -> TokenMarks:
    """The marks of the file as it is now."""
    marks = TokensFile(path, lambda problem: None).marks()  # the workers report what is wrong with it
    return TokenMarks(path, marks if len(marks) <= MOST_TOLD else ())
