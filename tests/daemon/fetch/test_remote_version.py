"""What a listing promises is checked before anything is downloaded."""

from __future__ import annotations

import pytest

from modelward.daemon.errors import Refused
from modelward.daemon.fetch.remote_version import RemoteFile, checked, git_digest_or_none, sha256_or_none

A = "ab" * 32


@pytest.mark.parametrize(
    ("files", "because"),
    [
        ([RemoteFile("../x", "")], "outside the version"),
        ([RemoteFile("/etc/passwd", "")], "outside the version"),
        ([RemoteFile("a\0b", "")], "can't be printed"),
        ([RemoteFile("a/b/c/d/e/f/g/h", "")], "deeper"),
        ([RemoteFile("a", ""), RemoteFile("a/b", "")], "a file and a directory"),
        ([RemoteFile("a", ""), RemoteFile("./a", "")], "there twice"),
        ([RemoteFile(f"f{n}", "") for n in range(2_001)], "2,001 files"),
        ([RemoteFile("a", "", 65 << 30)], "65GiB"),
        ([RemoteFile("a", "", -2)], "its list of files gives 'a' a length of -2 bytes"),
    ],
)
def test_what_no_version_may_have_is_refused(files: list[RemoteFile], because: str) -> None:
    with pytest.raises(Refused, match=because):
        checked("hf:a/b", files)


def test_the_rest_is_sorted_and_plain() -> None:
    assert checked("x", [RemoteFile("./b", "u", 1), RemoteFile("a", "v")]) == (
        RemoteFile("a", "v"),
        RemoteFile("b", "u", 1),
    )


@pytest.mark.parametrize(("text", "sha256"), [(A, A), (A.upper(), A), (f" {A}\n", A), (A[1:], ""), (None, ""), (7, "")])
def test_a_promise_is_a_digest_or_none(text: object, sha256: str) -> None:
    assert sha256_or_none(text) == sha256
    assert git_digest_or_none(text) == "" and git_digest_or_none("ab" * 20) == "ab" * 20
