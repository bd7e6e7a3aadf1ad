"""Makes keys and signatures in minisign's formats: `minisign -V` verifies them, and its keys sign here.

Ed25519 comes from the package `cryptography` (extra `signing`), imported only when something is signed. It reads and
writes no file. Invariant: a secret key never stands in a message or in a repr.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from .minisign import PublicKey

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

MAX_KEY_BYTES: Final = 4 << 10
MAX_COMMENT_BYTES: Final = 1000
_ALGORITHM, _PREHASHED, _CHECKSUM = b"Ed", b"ED", b"B2"
_NO_PASSWORD: Final = b"\0\0"
_SECRET_BYTES: Final = 2 + 2 + 2 + 32 + 8 + 8 + 8 + 64 + 32
_UNTRUSTED: Final = "untrusted comment: "


class CannotSign(ValueError):
    """There is no key to sign with, or nothing to sign with it; the text gives the reason."""


class SecretKey(Struct, frozen=True):
    """A key that signs: its id of 8 bytes, the 32 secret ones of Ed25519, and the 32 public ones."""

    key_id: bytes
    seed: bytes
    ed25519: bytes

    def __repr__(self) -> str:
        return f"SecretKey({self.public.name})"

    @property
    def public(self) -> PublicKey:
        return PublicKey(self.key_id, self.ed25519)


def make_key(random: bytes) -> SecretKey:
    """A new key from 40 random bytes. Raises CannotSign."""
    if len(random) != 40:
        raise RuntimeError("a key needs 40 random bytes")
    return SecretKey(random[:8], random[8:], _public_of(random[8:]))


def public_line(key: PublicKey) -> str:
    """The key as configurations have it: 56 characters that begin with RW."""
    return base64.b64encode(_ALGORITHM + key.key_id + key.ed25519).decode()


def public_file(key: PublicKey) -> bytes:
    """The content of a `.pub` file."""
    return f"{_UNTRUSTED}minisign public key {key.name}\n{public_line(key)}\n".encode()


def secret_file(key: SecretKey) -> bytes:
    """The content of a key file without a password, as `minisign -G -W` writes it."""
    pair = key.seed + key.ed25519
    body = key.key_id + pair + _checksum(key.key_id, pair)
    raw = _ALGORITHM + _NO_PASSWORD + _CHECKSUM + bytes(32 + 8 + 8) + body
    return f"{_UNTRUSTED}minisign secret key\n{base64.b64encode(raw).decode()}\n".encode()


def parse_secret(content: bytes) -> SecretKey:
    """The key in such a file. Raises CannotSign, which repeats nothing of it."""
    lines = content[:MAX_KEY_BYTES].decode("ascii", "replace").split()
    try:
        raw = base64.b64decode(lines[-1] if lines else "", validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if len(raw) != _SECRET_BYTES or raw[:2] != _ALGORITHM or raw[4:6] != _CHECKSUM:
        raise CannotSign("it is no secret key of minisign's")
    if raw[2:4] != _NO_PASSWORD:
        raise CannotSign(
            "the key has a password: sign with `minisign -S`, or make one without: `modelward fleet keygen`"
        )
    key_id, pair, checksum = raw[54:62], raw[62:126], raw[126:]
    # Some releases of minisign write no checksum for a key without a password.
    if checksum not in (_checksum(key_id, pair), bytes(32)) or _public_of(pair[:32]) != pair[32:]:
        raise CannotSign("the key is damaged: its checksum differs")
    return SecretKey(key_id, pair[:32], pair[32:])


def sign(data: bytes, key: SecretKey, comment: str, untrusted: str = "signature made by modelward") -> bytes:
    """The content of a .minisig file for `data`, prehashed, with a trusted comment. Raises CannotSign."""
    for text in (comment, untrusted):
        if not text.isprintable() or len(text.encode(errors="replace")) > MAX_COMMENT_BYTES:
            raise CannotSign(f"a comment is one line of at most {MAX_COMMENT_BYTES} bytes")
    private = _private(key.seed)
    made = private.sign(hashlib.blake2b(data).digest())
    head = base64.b64encode(_PREHASHED + key.key_id + made).decode()
    whole = base64.b64encode(private.sign(made + comment.encode())).decode()
    return f"{_UNTRUSTED}{untrusted}\n{head}\ntrusted comment: {comment}\n{whole}\n".encode()


def _checksum(key_id: bytes, pair: bytes) -> bytes:
    return hashlib.blake2b(_ALGORITHM + key_id + pair, digest_size=32).digest()


def _public_of(seed: bytes) -> bytes:
    return _private(seed).public_key().public_bytes_raw()


def _private(seed: bytes) -> Ed25519PrivateKey:
    try:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    except ImportError as e:
        raise CannotSign("the package `cryptography` is missing: pip install 'modelward[signing]'") from e
    return Ed25519PrivateKey.from_private_bytes(seed)
