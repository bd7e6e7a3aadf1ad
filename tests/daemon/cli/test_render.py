"""Tables line up, figures are short, and no text from elsewhere steers a terminal."""

from __future__ import annotations

import io
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelward.daemon.cli.columns import width
from modelward.daemon.cli.render import (
    age,
    clean,
    colours,
    paint,
    table,
)
from modelward.daemon.units import size, span


def test_lines_up_columns_of_wide_characters() -> None:
    text = table(("NAME", "SAYS"), [("模型一", "a"), ("b", "c")])
    assert text == "NAME    SAYS\n模型一  a\nb       c"


def test_cuts_the_last_cell_to_the_terminal() -> None:
    lines = table(("A", "BECAUSE"), [("x", "y" * 100)], columns=30).splitlines()
    assert all(width(line) <= 30 for line in lines)
    assert lines[1].endswith("…")


def test_colours_do_not_move_columns() -> None:
    plain = table(("A", "B"), [(("x", "red"), "y"), ("long", "z")])
    painted = table(("A", "B"), [(("x", "red"), "y"), ("long", "z")], colour=True)
    assert "\x1b[31mx\x1b[0m" in painted
    for code in ("\x1b[31m", "\x1b[1m", "\x1b[0m"):
        painted = painted.replace(code, "")
    assert painted == plain


def test_there_is_no_colour_in_a_pipe_and_none_when_nobody_wants_it(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert not colours(io.StringIO())
    assert colours(Terminal())
    monkeypatch.setenv("NO_COLOR", "1")
    assert not colours(Terminal())
    assert paint("x", "red", on=False) == "x"


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [
        (0, "0B"),
        (1023, "1023B"),
        (1536, "1.5KiB"),
        (240 << 20, "240MiB"),
        (5 << 40, "5TiB"),
    ],
)
def test_sizes_for_people(size_bytes: int, text: str) -> None:
    assert size(size_bytes) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.012, "12ms"),
        (2.34, "2.3s"),
        (59, "59s"),
        (60, "1m"),
        (3999, "1h6m"),
        (90000, "1d1h"),
        (-5, "0s"),
    ],
)
def test_spans_for_people(seconds: float, text: str) -> None:
    assert span(seconds) == text


def test_ages_from_the_daemons_times() -> None:
    now = datetime(2026, 1, 2, tzinfo=UTC)
    assert age("2026-01-01T23:58:00.000Z", now) == "2m"
    assert age("", now) == "-"
    assert age("2027-01-01T00:00:00Z", now) == "0s"


@given(st.text())
def test_what_is_shown_never_steers_the_terminal(text: str) -> None:
    assert clean(text).isprintable()
