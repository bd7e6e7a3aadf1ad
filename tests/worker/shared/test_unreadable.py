"""What is no JSON of the expected kind is met by one `except`, in the whole program."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

import msgspec
import pytest

from modelward.worker.shared.unreadable import UNREADABLE

ROOT = Path(__file__).parents[3]
OWN_LIST = re.compile(r"(?:except|suppress)\b.*\b(?:msgspec\.\w*Error|MsgspecError|(?<!checker\.)ValidationError)\b")


class Anything(msgspec.Struct):
    """A structure."""

    number: int = 0


@pytest.mark.parametrize(
    "data",
    [b"", b"[]", b"\xff", b'{"number":"\xff"}', b'{"number":1e999}', b'{"x":' + b"[" * 5000],
)
def test_whatever_is_wrong_with_the_bytes_is_one_of_them(data: bytes) -> None:
    with pytest.raises(UNREADABLE):
        msgspec.json.decode(data, type=Anything)


@pytest.mark.parametrize("value", [{"number": "\ud800"}, {"\ud800": 1}, "\ud800", [1], {"number": 10**400}])
def test_whatever_is_wrong_with_a_value_is_one_of_them(value: object) -> None:
    with suppress(*UNREADABLE):
        msgspec.convert(value, Anything)


def test_no_part_of_the_program_keeps_a_list_of_its_own() -> None:
    sources = [path for top in ("daemon", "worker") for path in sorted((ROOT / top).rglob("*.py"))]
    assert len(sources) > 400
    assert [str(p.relative_to(ROOT)) for p in sources if OWN_LIST.search(p.read_text(encoding="utf-8"))] == []
