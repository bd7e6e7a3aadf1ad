"""The line at the place where a collapsed file was cut: blank for every reader, exact for us.

A file system collapses whole blocks, but lines end anywhere. So the line at the cut, and as many after it as the mark
needs, go to the archive whole. The rest of them at the head of the live file becomes one blank line. Its spaces and
tabs encode the archive before it and how many bytes were taken. The mark is written before the collapse, and the
collapse moves it to the head. So after a crash the head alone shows whether the collapse happened. A checksum
distinguishes it from a blank line of a program. Pure.
"""

from __future__ import annotations

import zlib
from typing import Final

_SIGNATURE: Final = b"\t  \t\t \t "
_BITS: Final = 64
_ZERO, _ONE = b" ", b"\t"
_CHECK_BITS: Final = 32
LENGTH: Final = len(_SIGNATURE) + 2 * _BITS + _CHECK_BITS  # without the newline


def write_mark(number: int, taken_bytes: int, length: int) -> bytes:
    """The mark as a line of exactly `length` bytes, newline included; `length` is more than LENGTH."""
    if length <= LENGTH:
        raise ValueError(f"cannot write a mark in {length} bytes, at least {LENGTH + 1}")
    numbers = _spell(number, _BITS) + _spell(taken_bytes, _BITS)
    code = _SIGNATURE + numbers + _spell(zlib.crc32(numbers), _CHECK_BITS)
    return code + b" " * (length - LENGTH - 1) + b"\n"


def read_mark(head: bytes) -> tuple[int, int] | None:
    """The number and the bytes taken, when `head` begins with a mark; else None."""
    if len(head) < LENGTH or not head.startswith(_SIGNATURE):
        return None
    start = len(_SIGNATURE)
    numbers, check = head[start : start + 2 * _BITS], head[start + 2 * _BITS : LENGTH]
    if check != _spell(zlib.crc32(numbers), _CHECK_BITS):
        return None
    try:
        return _number(numbers[:_BITS]), _number(numbers[_BITS:])
    except ValueError:
        return None


def _spell(number: int, bits: int) -> bytes:
    return f"{number:0{bits}b}".encode().replace(b"0", _ZERO).replace(b"1", _ONE)


def _number(spelled: bytes) -> int:
    return int(spelled.replace(_ZERO, b"0").replace(_ONE, b"1"), 2)


def cut_at(end_of_lines: int, block: int) -> int:
    """How many bytes to collapse: whole blocks that leave room for a mark before the end of the last line. 0: none."""
    return max(0, (end_of_lines - LENGTH - 1) // block * block)
