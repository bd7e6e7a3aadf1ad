"""SHA256SUMS is read as sha256sum writes it, and as nothing else."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelward.worker.shared.checksums import MAX_SUMS_BYTES
from modelward.worker.shared.sha256sums import BadSums, parse_sums, written_sums

A, B = "ab" * 32, "cd" * 32


@pytest.mark.parametrize(
    ("text", "sums"),
    [
        (f"{A}  model.onnx\n", {"model.onnx": A}),
        (f"{A} *model.onnx\n{B}  ./golden/a.wav\n", {"model.onnx": A, "golden/a.wav": B}),
        (f"{A.upper()}  model.onnx\r\n\r\n", {"model.onnx": A}),
        (f"{A}  two words  and more \n", {"two words  and more ": A}),
        (f"\\{A}  back\\\\slash\\nline\n", {"back\\slash\nline": A}),
        (f"{A}  not\\escaped\n", {"not\\escaped": A}),
        (f"{A}  a\n{A}  ./a\n", {"a": A}),
        (f"# from hf:iic/S at 0123\n{A}  a\n#{B}  b\n", {"a": A}),
    ],
)
def test_reads_every_form_coreutils_writes(text: str, sums: dict[str, str]) -> None:
    assert parse_sums(text.encode()) == sums


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "lists nothing"),
        (b"# nothing\n", "lists nothing"),
        (b"\xff\xfe", "not UTF-8"),
        (b"<html>", "line 1 is not"),
        (f"{A}  ok\n{A[:-1]}  short\n".encode(), "line 2 is not"),
        (f"SHA256 (model.onnx) = {A}\n".encode(), "line 1 is not"),
        (f"{A}  ../secret\n".encode(), "not a name inside"),
        (f"{A}  /etc/passwd\n".encode(), "not a name inside"),
        (f"{A}  a//b\n".encode(), "not a name inside"),
        (f"{A}  a\n{B}  a\n".encode(), "listed twice"),
        (f"\\{A}  a\\tb\n".encode(), "unknown escape"),
        (b"x" * (MAX_SUMS_BYTES + 1), "over"),
    ],
)
def test_refuses_anything_else_and_says_where(data: bytes, words: str) -> None:
    with pytest.raises(BadSums, match=words):
        parse_sums(data)


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        parse_sums(data)
    except BadSums:
        return


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="sha256sum is not installed")
@pytest.mark.parametrize("mode", ["--text", "--binary"])
def test_agrees_with_sha256sum_on_odd_names(mode: str, tmp_path: Path) -> None:
    names = ["model.onnx", "with space", "back\\slash", "new\nline", "模型.txt", "*star", " leading"]
    for name in names:
        (tmp_path / name).write_bytes(name.encode())
    written = subprocess.run(["sha256sum", mode, "--", *names], cwd=tmp_path, capture_output=True, check=True).stdout
    assert parse_sums(written) == {name: hashlib.sha256(name.encode()).hexdigest() for name in names}


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="sha256sum is not installed")
def test_what_is_written_is_checked_by_sha256sum(tmp_path: Path) -> None:
    names = ["model.onnx", "with space", "back\\slash", "new\nline", "模型.txt"]
    for name in names:
        (tmp_path / name).write_bytes(name.encode())
    sums = {name: hashlib.sha256(name.encode()).hexdigest() for name in names}
    (tmp_path / "SHA256SUMS").write_bytes(written_sums(sums, ["from hf:iic/S\nat 0123"]))
    subprocess.run(["sha256sum", "--strict", "--check", "SHA256SUMS"], cwd=tmp_path, capture_output=True, check=True)
    assert parse_sums((tmp_path / "SHA256SUMS").read_bytes()) == sums
