"""Uploads of versions: what `GET /v1/uploads`, `POST /v1/uploads` and `PUT /v1/uploads/ID` answer."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

MAX_FILES: Final = 500
"""Of a directory; what has more is sent as an archive."""
DIRECTORY: Final = "directory"
KINDS: Final = (DIRECTORY, "tar", "zip")


class UploadFile(Struct, frozen=True):
    """One file that is to come: where it belongs, and how long it is."""

    path: str
    bytes: int


class UploadFileReport(Struct, frozen=True):
    """A file that is to come, and how much of it has arrived: the next piece begins at that offset."""

    path: str
    bytes: int
    received: int


class UploadReport(Struct, frozen=True):
    """One upload. `kind` is directory, tar or zip; `touched` is when something last came, RFC 3339 in UTC."""

    id: str
    version: str
    kind: str
    bytes: int
    received: int
    touched: str
    files: list[UploadFileReport]


class UploadsAnswer(Struct, frozen=True):
    """The uploads that are not finished, the newest last; a piece may have `piece_bytes` at most. `refused` is why none
    is taken, "" when they are."""

    uploads: list[UploadReport]
    piece_bytes: int
    refused: str = ""


class UploadPiece(Struct, frozen=True):
    """How much of the file has arrived."""

    received: int
