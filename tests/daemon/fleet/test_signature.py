"""A record counts only with a signature of a configured key over its very bytes; minisign agrees."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from tests.daemon.fleet.records import KEY, record
from tests.support import PATIENCE_SECONDS

from modelward.daemon.fleet.record import BadRecord, encode
from modelward.daemon.fleet.signature import open_record, sign_record
from modelward.worker.shared.minisign_keys import make_key, public_file, sign

OTHER = make_key(bytes(40))
TEXT = sign_record(record(), KEY)


def carried(data: bytes, signature: bytes) -> bytes:
    return json.dumps({"record": data.decode(), "signature": signature.decode()}).encode()


def test_a_signed_record_is_read_with_one_of_the_keys() -> None:
    opened = open_record(TEXT, [OTHER.public, KEY.public])
    assert opened.record == record()
    assert opened.text == TEXT
    assert len(opened.digest) == 64


@pytest.mark.parametrize(
    ("text", "because"),
    [
        (sign_record(record(), OTHER), "not among the 1 configured"),
        (TEXT.replace(b'\\"sequence\\":7', b'\\"sequence\\":8'), "does not match"),
        (carried(encode(record()), sign(encode(record()), KEY, "modelward sequence=7")), "for something else"),
        (carried(b"{}", sign(b"{}", KEY, "modelward fleet record")), "missing required field"),
        (b"{}", "cannot be read"),
        (TEXT[:-2] + b',"more":1}', "cannot be read"),
        (b'"' + b"x" * 200_000, "more than"),
    ],
)
def test_anything_else_is_refused(text: bytes, because: str) -> None:
    with pytest.raises(BadRecord, match=because):
        open_record(text, [KEY.public])


@pytest.mark.skipif(shutil.which("minisign") is None, reason="minisign is not installed")
def test_the_real_minisign_verifies_a_record(tmp_path: Path) -> None:
    parts = json.loads(TEXT)
    (tmp_path / "key.pub").write_bytes(public_file(KEY.public))
    (tmp_path / "record").write_text(parts["record"])
    (tmp_path / "record.minisig").write_text(parts["signature"])
    words = ["minisign", "-V", "-p", "key.pub", "-m", "record"]
    subprocess.run(words, cwd=tmp_path, check=True, capture_output=True, timeout=PATIENCE_SECONDS)
