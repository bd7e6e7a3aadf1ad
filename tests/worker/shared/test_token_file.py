"""A file of tokens is taken whole, or lets nobody in."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.support import eventually
from tests.worker.running import digits, worker

from modelward.worker import protocol as p
from modelward.worker.shared.token_file import MAX_FILE_BYTES, TokensFile, mark_of


def reading(path: Path) -> tuple[TokensFile, list[str]]:
    reported: list[str] = []
    return TokensFile(str(path), reported.append), reported


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))


UNUSABLE: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (lambda path: None, "No such file"),
    "a FIFO": (os.mkfifo, "not a regular file"),
    "a directory": (Path.mkdir, "not a regular file"),
    "a socket": (_socket, "not a regular file"),
    "a device": (lambda path: path.symlink_to("/dev/zero"), "not a regular file"),
    "a link to nothing": (lambda path: path.symlink_to("nothing"), "No such file"),
    "a link to itself": (lambda path: path.symlink_to(path), "symbolic links"),
    "empty": (lambda path: path.write_text(""), "no token"),
    "remarks alone": (lambda path: path.write_text("# good\n\n  # Z\n"), "no token"),
    "too large": (lambda path: path.write_text("good\n" + "#" * MAX_FILE_BYTES), "larger than"),
    "cut within a token": (lambda path: path.write_text("good\n" * (MAX_FILE_BYTES // 5) + "Zecret\n"), "larger than"),
    "full of holes": (lambda path: os.truncate(_made(path, b"good\n"), 4096), "control characters"),
    "UTF-16": (lambda path: path.write_text("good\n", encoding="utf-16"), "UTF-8"),
    "a line without end": (lambda path: path.write_text("good\n" + "Z" * 5000), "longer than"),
}


def _made(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("fault", list(UNUSABLE))
def test_a_file_that_cannot_be_used_lets_nobody_in_says_why_once_and_counts_again_when_it_is_mended(
    tmp_path: Path, fault: str
) -> None:
    spoil, because = UNUSABLE[fault]
    path = tmp_path / "tokens"
    spoil(path)
    tokens, reported = reading(path)
    for token in ("good", "", "Z", "g", "# good", "Zecret", "\x00"):
        assert not tokens.check(token)
    assert len(reported) == 1 and because in reported[0] and because in tokens.problem()
    (tmp_path / "new").write_text("good\n")
    if path.is_dir():
        path.rmdir()
    (tmp_path / "new").rename(path)
    assert tokens.check("good") and not tokens.problem()


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every file")
def test_a_file_that_may_not_be_read_lets_nobody_in(tmp_path: Path) -> None:
    path = _made(tmp_path / "tokens", b"good\n")
    tokens, reported = reading(path)
    assert tokens.check("good")
    path.chmod(0)
    assert not tokens.check("good") and "denied" in reported[0]


def test_reads_lines_as_every_editor_leaves_them_and_follows_a_link(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"\xef\xbb\xbffirst \r\n\r\n# second\r\n\tthird\xc3\xa9")
    (tmp_path / "tokens").symlink_to("secret")
    tokens, reported = reading(tmp_path / "tokens")
    assert tokens.check("first") and tokens.check("third\u00e9") and not tokens.check("second") and not reported


def test_without_a_path_no_token_is_asked_for_and_none_is_known() -> None:
    reported: list[str] = []
    tokens = TokensFile("", reported.append)
    assert not tokens.configured and not tokens.check("x") and not tokens.problem() and not reported


@pytest.mark.system
def test_a_fifo_as_token_file_holds_up_no_worker_and_its_beat_says_that_nobody_is_let_in(tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    os.mkfifo(path)
    with worker(tmp_path / "w", digits(), token_file=str(path)) as running:
        client = running.client()
        assert client.get("/health").status_code == 200
        assert client.get("/v1/models", headers={"authorization": "Bearer x"}).status_code == 401
        assert client.get("/health").status_code == 200
        assert client.get("/ready").status_code == 503 and "no token is accepted" in client.get("/ready").text
        eventually(lambda: "no token is accepted" in running.daemon.told(p.Beat)[-1].refusing)
        assert any("not a regular file" in line["event"] for line in running.lines("error.log"))
        (tmp_path / "good").write_text("x\n")
        (tmp_path / "good").rename(path)
        assert client.get("/v1/models", headers={"authorization": "Bearer x"}).status_code == 200
        assert client.get("/ready").status_code == 200


def test_marks_stand_for_a_file_that_is_out_of_sight_and_for_no_other_reason(tmp_path: Path) -> None:
    marks = (mark_of("secret"),)
    beyond = tmp_path / "file" / "tokens"
    (tmp_path / "file").write_text("no directory")
    missing = TokensFile(str(beyond), lambda problem: None, marks)
    assert not missing.check("secret") and missing.problem()
