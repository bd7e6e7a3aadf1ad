"""Verifies minisign signatures: Ed25519, prehashed ("ED", BLAKE2b-512) and legacy ("Ed").

Format: https://jedisct1.github.io/minisign/. Ed25519 itself comes from the package `cryptography` (extra `signing`),
imported only when a public key is configured. Nothing is accepted unless both signatures hold: the one over the file
and the one over signature and trusted comment.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Callable, Iterable
from typing import Final

from msgspec import Struct

MAX_SIGNATURE_BYTES: Final = 16 << 10

_KEY_BYTES: Final = 2 + 8 + 32
_SIGNATURE_BYTES: Final = 2 + 8 + 64
_TRUSTED: Final = "trusted comment: "


class BadSignature(ValueError):
    """No signature of one of the keys; the text gives the reason."""


class PublicKey(Struct, frozen=True):
    """A minisign public key: its 8-byte id and the 32 bytes of Ed25519."""

    key_id: bytes
    ed25519: bytes

    @property
    def name(self) -> str:
        """The id as minisign prints it."""
        return f"{int.from_bytes(self.key_id, 'little'):X}"


def parse_key(text: str) -> PublicKey:
    """A configured key: the base64 line, or a whole `.pub` file with its comment. Raises BadSignature."""
    lines = [line.strip() for line in text.strip().splitlines() if line.strip()]
    raw = _decoded(lines[-1] if lines else "", _KEY_BYTES, "a configured public key")
    if raw[:2] != b"Ed":
        raise BadSignature("a configured public key is not one of minisign's")
    return PublicKey(raw[2:10], raw[10:])


def verify(data: bytes, signature: bytes, keys: Iterable[PublicKey]) -> str:
    """The trusted comment of `signature`, a .minisig file, when it is good for `data` under one of `keys`.

    Raises BadSignature with the reason otherwise.
    """
    algorithm, key_id, made, comment, made_global = _parse(signature)
    known = tuple(keys)
    key = next((key for key in known if key.key_id == key_id), None)
    if key is None:
        name = PublicKey(key_id, b"").name
        raise BadSignature(f"made by key {name}, which is not among the {len(known)} configured")
    message = hashlib.blake2b(data).digest() if algorithm == b"ED" else data
    holds = _ed25519(key.ed25519)
    if not holds(made, message):
        raise BadSignature(f"it does not match the file (key {key.name})")
    if not holds(made_global, made + comment.encode()):
        raise BadSignature(f"its trusted comment was altered (key {key.name})")
    return comment


def _parse(signature: bytes) -> tuple[bytes, bytes, bytes, str, bytes]:
    if len(signature) > MAX_SIGNATURE_BYTES:
        raise BadSignature(f"over {MAX_SIGNATURE_BYTES} bytes")
    try:
        lines = [line.removesuffix("\r") for line in signature.decode().split("\n")]
    except UnicodeDecodeError as e:
        raise BadSignature("not UTF-8") from e
    if len(lines) < 4 or not lines[0].startswith("untrusted comment:") or not lines[2].startswith(_TRUSTED):
        raise BadSignature("not a minisign signature")
    raw = _decoded(lines[1], _SIGNATURE_BYTES, "the signature")
    if raw[:2] not in (b"ED", b"Ed"):
        raise BadSignature("made with an unknown algorithm")
    return raw[:2], raw[2:10], raw[10:], lines[2][len(_TRUSTED) :], _decoded(lines[3], 64, "the comment's signature")


def _decoded(text: str, length: int, what: str) -> bytes:
    try:
        raw = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError) as e:
        raise BadSignature(f"{what} is not base64") from e
    if len(raw) != length:
        raise BadSignature(f"{what} has {len(raw)} bytes, not {length}")
    return raw


def _ed25519(public: bytes) -> Callable[[bytes, bytes], bool]:
    try:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    except ImportError as e:
        raise BadSignature("it can't be checked here: the package `cryptography` (extra `signing`) is missing") from e
    key = Ed25519PublicKey.from_public_bytes(public)

    def holds(signature: bytes, message: bytes) -> bool:
        try:
            key.verify(signature, message)
        except InvalidSignature:
            return False
        return True

    return holds
