"""Signatures hold exactly when the real minisign says so; and without it, by keys made here."""

from __future__ import annotations

import base64
import hashlib
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from tests.support import PATIENCE_SECONDS

from modelward.worker.shared.minisign import BadSignature, parse_key, verify

DATA = b"ab  model.onnx\n"


@dataclass(frozen=True)
class Signer:
    """A key pair that signs as minisign does."""

    key: Ed25519PrivateKey
    key_id: bytes

    @property
    def public(self) -> str:
        raw = self.key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        return base64.b64encode(b"Ed" + self.key_id + raw).decode()

    def sign(self, data: bytes, *, prehashed: bool = True, comment: str = "timestamp:1") -> bytes:
        made = self.key.sign(hashlib.blake2b(data).digest() if prehashed else data)
        head = base64.b64encode((b"ED" if prehashed else b"Ed") + self.key_id + made).decode()
        whole = base64.b64encode(self.key.sign(made + comment.encode())).decode()
        return f"untrusted comment: x\n{head}\ntrusted comment: {comment}\n{whole}\n".encode()


@pytest.fixture
def signer() -> Signer:
    return Signer(Ed25519PrivateKey.generate(), b"12345678")


@pytest.mark.parametrize("prehashed", [True, False])
def test_accepts_both_ways_of_signing_and_gives_the_trusted_comment(signer: Signer, prehashed: bool) -> None:
    keys = [Signer(Ed25519PrivateKey.generate(), b"other..."), signer]
    signature = signer.sign(DATA, prehashed=prehashed, comment="file:SHA256SUMS  hashed")
    assert verify(DATA, signature, [parse_key(k.public) for k in keys]) == "file:SHA256SUMS  hashed"


def test_refuses_other_data_another_key_and_an_altered_comment(signer: Signer) -> None:
    keys = [parse_key(signer.public)]
    signature = signer.sign(DATA)
    with pytest.raises(BadSignature, match="does not match the file"):
        verify(DATA + b" ", signature, keys)
    with pytest.raises(BadSignature, match="comment was altered"):
        verify(DATA, signature.replace(b"timestamp:1", b"timestamp:2"), keys)
    with pytest.raises(BadSignature, match="3837363534333231, which is not among the 0 configured"):
        verify(DATA, signature, [])
    forger = Signer(Ed25519PrivateKey.generate(), signer.key_id)
    with pytest.raises(BadSignature, match="does not match the file"):
        verify(DATA, forger.sign(DATA), keys)


@pytest.mark.parametrize(
    ("signature", "words"),
    [
        (b"", "not a minisign signature"),
        (b"\xff", "not UTF-8"),
        (b"untrusted comment: x\n!!\ntrusted comment: y\n!!\n", "not base64"),
        (b"untrusted comment: x\nAAAA\ntrusted comment: y\nAAAA\n", "has 3 bytes, not 74"),
        (b"untrusted comment: x\n" + base64.b64encode(bytes(74)) + b"\ntrusted comment: y\n\n", "unknown algorithm"),
        (b"x" * 20_000, "over"),
    ],
)
def test_refuses_what_is_no_signature(signer: Signer, signature: bytes, words: str) -> None:
    with pytest.raises(BadSignature, match=words):
        verify(DATA, signature, [parse_key(signer.public)])


@pytest.mark.parametrize("text", ["", "RWQ", "not base64 !", base64.b64encode(b"XX" + bytes(40)).decode()])
def test_refuses_a_key_that_is_none(text: str) -> None:
    with pytest.raises(BadSignature, match="public key"):
        parse_key(text)


@pytest.mark.skipif(shutil.which("minisign") is None, reason="minisign is not installed")
@pytest.mark.parametrize("option", ["-H", "-l"])
def test_agrees_with_the_real_minisign(option: str, tmp_path: Path) -> None:
    def minisign(*arguments: str) -> None:
        subprocess.run(
            ["minisign", *arguments], cwd=tmp_path, check=True, capture_output=True, timeout=PATIENCE_SECONDS
        )

    minisign("-G", "-W", "-p", "key.pub", "-s", "key.sec")
    (tmp_path / "SHA256SUMS").write_bytes(DATA)
    minisign("-S", option, "-s", "key.sec", "-t", "for tests", "-m", "SHA256SUMS")
    key = parse_key((tmp_path / "key.pub").read_text())
    signature = (tmp_path / "SHA256SUMS.minisig").read_bytes()
    assert verify(DATA, signature, [key]) == "for tests"
    with pytest.raises(BadSignature):
        verify(DATA[:-1], signature, [key])
    assert key.name in (tmp_path / "key.pub").read_text()
