"""How inputs are made: valid ones that somebody changed, and values of every kind that JSON and TOML know."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from tests.examples import DEEP, examples
from tests.support import PATIENCE_SECONDS

SLOWEST: Final = timedelta(seconds=PATIENCE_SECONDS)
"""Whatever takes longer than this hangs."""
INTERESTING: Final = (
    b"\0", b"\xff", b"\n", b"\r\n", b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x80\0\0\0", b"\x7f\xff\xff\xff",
    b"\0\0\0\x80", b"\xff\xff\xff\x7f", b"-1", b"1e999", b"9" * 25, b"\xed\xa0\x80", b"\xf0\x9f\x98\x80", b"..",
    b"/", b"\"", b"{", b"]", b" ", b"\xef\xbb\xbf", b"%", b"\x1b[2J", b"NaN", b"Infinity",
)  # fmt: skip


def fuzzed(count: int) -> settings:
    """The settings of one test: few inputs in the quick run, the same each time; many, and others, in the deep."""
    return settings(
        max_examples=examples(count, quick_share=10),
        derandomize=not DEEP,
        database=None,
        deadline=SLOWEST,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )


_CHANGES: Final = st.lists(
    st.tuples(
        st.sampled_from(("flip", "set", "insert", "remove", "repeat", "swap", "cut", "splice")),
        st.floats(0, 1, exclude_max=True),
        st.integers(0, 255),
        st.sampled_from(INTERESTING),
    ),
    min_size=1,
    max_size=6,
)


def changed(data: bytes, changes: Sequence[tuple[str, float, int, bytes]], other: bytes = b"") -> bytes:
    """`data` after these changes: each at a place from 0 to 1, with a number and a piece; `other` is spliced in."""
    found = bytearray(data)
    for how, share, number, piece in changes:
        at = int(share * (len(found) + 1))
        if how == "flip" and at < len(found):
            found[at] ^= 1 << number % 8
        elif how == "set" and at < len(found):
            found[at] = number
        elif how == "insert":
            found[at:at] = piece
        elif how == "remove":
            del found[at : at + 1 + number % 32]
        elif how == "repeat":
            found[at:at] = found[at : at + 64] * (1 + number % 8)
        elif how == "swap":
            found[at : at + len(piece)] = piece
        elif how == "cut":
            del found[at:]
        elif how == "splice" and other:
            found[at:] = other[int(number / 256 * len(other)) :]
    return bytes(found)


@st.composite
def altered(draw: st.DrawFn, *examples: bytes, head: int = 0) -> bytes:
    """One of the examples with a few changes; with `head` most of them in its first so many bytes."""
    data, other = draw(st.sampled_from(examples)), draw(st.sampled_from(examples))
    changes = draw(_CHANGES)
    if head and draw(st.integers(0, 4)):
        return changed(data[:head], changes, other[:head]) + data[head:]
    return changed(data, changes, other)


def altered_text(*examples: str) -> st.SearchStrategy[str]:
    """The same for texts."""
    return altered(*(text.encode() for text in examples)).map(lambda data: data.decode(errors="replace"))


def bytes_like(*examples: bytes, head: int = 0) -> st.SearchStrategy[bytes]:
    """Examples as they are, changed a little, and now and then anything at all."""
    made = altered(*examples, head=head)
    return st.one_of(made, made, made, st.sampled_from(examples), st.binary(max_size=300))


ODD_TEXTS: Final = st.one_of(
    st.text(max_size=20),
    st.text(st.characters(codec=None, categories=("Cs", "Cc", "Zl", "Lo", "Nd")), max_size=8),
    st.sampled_from(("", "\0", "..", "../..", "/etc/passwd", "\ud800", "a" * 5000, "%00", "\x1b[31m", "current", "v1")),
)
ODD_NUMBERS: Final = st.one_of(
    st.integers(-3, 70),
    st.sampled_from((2**31, 2**32 - 1, 2**53, 2**63 - 1, 2**63, 2**64, -(2**63), 10**30, 10**400, -(10**400))),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from((1e300, -1e300, 5e-324, -0.0)),
)
_EMPTY: Final = st.one_of(st.builds(list), st.builds(dict), st.builds(lambda: [[[[]]]]))  # made anew: they are changed
ODD: Final = st.one_of(st.none(), st.booleans(), ODD_NUMBERS, ODD_TEXTS, _EMPTY)
JSON: Final = st.recursive(
    ODD, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(ODD_TEXTS, inner, max_size=4)
)


@st.composite
def twisted(draw: st.DrawFn, *examples: Any) -> Any:
    """One of the JSON-like examples with one to three of its parts left out, replaced or added to."""
    value = json.loads(json.dumps(draw(st.sampled_from(examples))))
    for _ in range(draw(st.integers(1, 3))):
        value = _twist(draw, value)
    return value


def _twist(draw: st.DrawFn, value: Any) -> Any:
    if not value or not isinstance(value, list | dict) or draw(st.integers(0, 9)) == 0:
        return draw(ODD)
    if draw(st.integers(0, 5)) == 0:
        extra = draw(ODD)
        return [*value, extra] if isinstance(value, list) else {**value, draw(ODD_TEXTS): extra}
    place = draw(st.sampled_from(sorted(value) if isinstance(value, dict) else range(len(value))))
    if draw(st.integers(0, 5)) == 0:
        del value[place]
    else:
        value[place] = _twist(draw, value[place])
    return value


def deep(levels: int, opening: str = "[", closing: str = "]") -> bytes:
    """Brackets in brackets."""
    return (opening * levels + closing * levels).encode()


def lines_of(*messages: Any) -> tuple[bytes, ...]:
    """JSON lines without their newlines."""
    return tuple(json.dumps(message).encode() for message in messages)
