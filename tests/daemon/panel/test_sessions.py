"""Tokens from a file, and the cookies that stand for them."""

from __future__ import annotations

import os
from pathlib import Path

from modelward.daemon.panel.sessions import (
    IDLE_SECONDS,
    MAX_SECONDS,
    MAX_SESSIONS,
    Sessions,
)
from modelward.daemon.panel.tokens import Tokens


def tokens(path: Path) -> tuple[Tokens, list[str]]:
    """The tokens as they are now, and what was complained of."""
    said: list[str] = []
    known = Tokens(str(path), said.append)
    known.refresh()
    return known, said


def test_a_session_ends_when_it_is_not_used_or_too_old_or_closed() -> None:
    sessions = Sessions()
    value = sessions.open("mark", 0.0)
    assert sessions.mark(value, IDLE_SECONDS) == "mark"
    assert sessions.mark(value, 2 * IDLE_SECONDS + 1) == ""
    value, now = sessions.open("mark", 0.0), 0.0
    while now < MAX_SECONDS:
        assert sessions.mark(value, now) == "mark"
        now += IDLE_SECONDS - 1
    assert sessions.mark(value, now) == ""
    value = sessions.open("mark", 0.0)
    sessions.close(value)
    assert sessions.mark(value, 0.0) == ""


def test_there_are_never_too_many_sessions() -> None:
    sessions = Sessions()
    first = sessions.open("mark", 0.0)
    values = [sessions.open("mark", 1.0 + n) for n in range(MAX_SESSIONS)]
    assert sessions.mark(first, 2000.0) == ""
    assert sessions.mark(values[-1], 2000.0) == "mark"


def test_reads_the_file_again_when_it_changes(tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    path.write_text("# operators\n\n  first-token  \n", encoding="utf-8")
    known, said = tokens(path)
    mark = known.check("first-token")
    assert mark and not known.check("# operators") and not known.check("") and not said
    path.write_text("second-token\n", encoding="utf-8")
    known.refresh()
    assert known.still_good(mark) == "" and known.check("second-token")


def test_lets_nobody_in_and_says_so_once_when_the_file_cannot_be_used(tmp_path: Path) -> None:
    missing, said = tokens(tmp_path / "none")
    assert not missing.check("x") and not missing.check("") and len(said) == 1
    (tmp_path / "empty").write_text("# nobody\n", encoding="utf-8")
    empty, said = tokens(tmp_path / "empty")
    assert not empty.check("x") and "no token" in said[0]
    os.mkfifo(tmp_path / "fifo")
    fifo, said = tokens(tmp_path / "fifo")
    assert not fifo.check("x") and "regular" in said[0]
    (tmp_path / "large").write_bytes(b"t\n" * 40_000)
    large, said = tokens(tmp_path / "large")
    assert not large.check("t") and said


def test_a_token_that_is_no_text_or_endless_is_no_token(tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    path.write_text("good\n", encoding="utf-8")
    known, _ = tokens(path)
    assert not known.check("x" * 5000) and not known.check("\udcff") and known.check("good")
