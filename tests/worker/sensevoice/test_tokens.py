from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.worker.sensevoice.vectors import MODELS

from modelward.worker.sensevoice.tokens import BadTokenTable, Vocabulary, read


def written(path: Path, text: str) -> Path:
    path.write_bytes(text.encode())
    return path


def test_both_flavours_of_one_model_have_the_same_table() -> None:
    assert read(MODELS[0] / "tokens.json") == read(MODELS[1] / "tokens.txt")


def test_a_line_with_only_a_number_is_the_piece_of_one_space(tmp_path: Path) -> None:
    table = read(written(tmp_path / "tokens.txt", "<unk> 0\n1\n 2\n7 3\n"))
    assert table.pieces == ("<unk>", " ", " ", "7")


def test_pieces_that_are_unicode_blanks_or_line_ends_survive(tmp_path: Path) -> None:
    pieces = ["<unk>", "\u3000", "\u2028", "\u0085", "\u00a0", "a\u3000b", "\u200b"]
    text = "".join(f"{piece} {token}\n" for token, piece in enumerate(pieces))
    assert list(read(written(tmp_path / "tokens.txt", text)).pieces) == pieces


def test_tabs_windows_line_ends_and_any_order_are_read(tmp_path: Path) -> None:
    assert read(written(tmp_path / "tokens.txt", "\ufeffb\t1\r\n\r\na\t0 \r\n")).pieces == ("a", "b")


@pytest.mark.parametrize(
    ("text", "because"),
    [
        ("", "it holds no tokens"),
        ("a 0\nb\n", "line 2 ends in 'b', expected an id"),
        ("a 0\nb 2\n", "id 1 is missing among 2 tokens"),
        ("a 0\nb 0\n", "line 2: id 0 appears twice"),
        ("a 0\nb -1\n", "line 2 ends in '-1', expected an id"),
        ("a 0\nb ²\n", "line 2 ends in '²', expected an id"),
        ("a 0\nb 99999999999999999999\n", "expected an id"),
    ],
)
def test_a_table_that_would_decode_to_wrong_text_is_refused(tmp_path: Path, text: str, because: str) -> None:
    with pytest.raises(BadTokenTable, match=r"cannot read tokens\.txt: ") as caught:
        read(written(tmp_path / "tokens.txt", text))
    assert because in str(caught.value)


@pytest.mark.parametrize(
    ("text", "because"),
    [
        ("[]", "it holds no tokens"),
        ('{"a": 0}', "expected an array of texts, found dict"),
        ('["a", 1]', "entry 1 is int, expected text"),
        ('["a"', "Expecting ',' delimiter"),
        ("[" * 100_000, "recursion"),
        ('["\\ud800"]', "surrogates not allowed"),
    ],
)
def test_json_that_is_no_table_is_refused(tmp_path: Path, text: str, because: str) -> None:
    with pytest.raises(BadTokenTable, match=r"cannot read tokens\.json: ") as caught:
        read(written(tmp_path / "tokens.json", text))
    assert because in str(caught.value)


def test_a_missing_or_binary_or_giant_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadTokenTable, match=r"cannot read tokens\.json: No such file"):
        read(tmp_path / "tokens.json")
    (tmp_path / "tokens.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BadTokenTable, match="codec can't decode"):
        read(tmp_path / "tokens.txt")
    with (tmp_path / "tokens.json").open("wb") as f:
        f.truncate(17 << 20)
    with pytest.raises(BadTokenTable, match="larger than 16777216 bytes"):
        read(tmp_path / "tokens.json")


def test_tags_bytes_and_control_pieces_are_told_apart_from_text() -> None:
    table = Vocabulary(("<unk>", "<|zh|>", "<0xE4>", "\u2581a", "<s>", "<|", "<0xZZ>"))
    assert [table.tag(token) for token in range(7)] == ["", "zh", "", "", "", "", ""]
    assert [table.byte(token) for token in range(7)] == [None, None, 0xE4, None, None, None, None]
    assert [table.text(token) for token in (0, 1, 3, 4, 5, 6)] == ["", "", " a", "", "<|", "<0xZZ>"]


@given(
    st.lists(
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters=" \t\r\n\ufeff"), min_size=1), min_size=1
    )
)
def test_any_table_is_read_back_the_same_from_both_files(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[str]
) -> None:
    directory = tmp_path_factory.mktemp("tokens")
    lines = "".join(f"{piece} {token}\n" for token, piece in enumerate(pieces))
    assert read(written(directory / "tokens.txt", lines)).pieces == tuple(pieces)
    assert read(written(directory / "tokens.json", json.dumps(pieces))).pieces == tuple(pieces)
