"""The line that stands where a collapsed file was cut: blank to every reader, exact to us.

A file system collapses whole blocks, lines end where they like. So the line that is cut, and as many after it as the
mark needs, go to the archive whole, and what would be left of them at the head of the live file becomes this one blank
line: spaces and tabs that spell which archive holds what came before and how many bytes were taken. It is written
before the collapse and reaches the head by the collapse itself, so that after a crash the head alone says whether the
collapse happened. A check sum keeps a program's own blank line from being taken for one. Pure.
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
    """The mark's line of exactly `length` bytes, newline included; `length` is more than LENGTH."""
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
    """How many bytes to collapse: whole blocks, leaving room for a mark before the last line's end; 0 for nothing."""
    return max(0, (end_of_lines - LENGTH - 1) // block * block)
