"""Keys and signatures made here are minisign's: the real one takes them, and we take its own."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from tests.support import PATIENCE_SECONDS

from modelward.worker.shared.minisign import parse_key, verify
from modelward.worker.shared.minisign_keys import (
    CannotSign,
    make_key,
    parse_secret,
    public_file,
    public_line,
    secret_file,
    sign,
)

KEY = make_key(bytes(range(40)))
REAL = pytest.mark.skipif(shutil.which("minisign") is None, reason="minisign is not installed")


def minisign(*arguments: str, cwd: Path) -> str:
    done = subprocess.run(
        ["minisign", *arguments], cwd=cwd, check=True, capture_output=True, timeout=PATIENCE_SECONDS, text=True
    )
    return done.stdout


def test_a_key_is_read_back_and_shows_nothing_of_its_secret() -> None:
    assert parse_secret(secret_file(KEY)) == KEY
    assert parse_key(public_file(KEY.public).decode()) == KEY.public
    assert repr(KEY) == f"SecretKey({KEY.public.name})"
    assert public_line(KEY.public).startswith("RW")
    assert len(public_line(KEY.public)) == 56
    assert verify(b"data", sign(b"data", KEY, "a comment"), [KEY.public]) == "a comment"


@pytest.mark.parametrize("spoiled", [b"", b"nonsense", public_file(KEY.public), secret_file(KEY)[:-6] + b"AAAA=\n"])
def test_what_is_no_key_is_refused(spoiled: bytes) -> None:
    with pytest.raises(CannotSign):
        parse_secret(spoiled)


def test_a_comment_is_one_line() -> None:
    with pytest.raises(CannotSign, match="one line"):
        sign(b"data", KEY, "two\nlines")


@REAL
def test_the_real_minisign_takes_key_and_signature(tmp_path: Path) -> None:
    key = make_key(os.urandom(40))
    (tmp_path / "key.pub").write_bytes(public_file(key.public))
    (tmp_path / "key").write_bytes(secret_file(key))
    (tmp_path / "data").write_bytes(b"data")
    (tmp_path / "data.minisig").write_bytes(sign(b"data", key, "modelward sequence=7"))
    assert "modelward sequence=7" in minisign("-V", "-p", "key.pub", "-m", "data", cwd=tmp_path)
    minisign("-S", "-s", "key", "-t", "by the real one", "-m", "data", cwd=tmp_path)
    assert verify(b"data", (tmp_path / "data.minisig").read_bytes(), [key.public]) == "by the real one"


@REAL
def test_a_key_of_the_real_minisign_signs_here_and_one_with_a_password_does_not(tmp_path: Path) -> None:
    minisign("-G", "-W", "-p", "key.pub", "-s", "key", cwd=tmp_path)
    key = parse_secret((tmp_path / "key").read_bytes())
    assert parse_key((tmp_path / "key.pub").read_text()) == key.public
    assert secret_file(key).splitlines()[1][:8] == (tmp_path / "key").read_bytes().splitlines()[1][:8]
    locked = bytearray(secret_file(key))
    at = locked.index(b"\n") + 1
    locked[at : at + 6] = b"RWRTY0"  # scrypt, as minisign writes it with a password
    with pytest.raises(CannotSign, match="has a password"):
        parse_secret(bytes(locked))
