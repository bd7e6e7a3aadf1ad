"""Which of two versions is the newer one, by their names alone.

Pure. A partial order: within one model, numbers compare as numbers and dates as dates, from left to right, and a suffix
counts only where the numbers are equal. What can't be decided is UNCLEAR, and then nothing is chosen by itself.
Invariants: the order is transitive. The answer about two names depends on nothing else. `order_key` agrees with it.
"""

from __future__ import annotations

from enum import Enum
from itertools import zip_longest

from ..worker.shared.version_name import RELEASE_RANK, Suffix, VersionName, read_name

_RELEASE = Suffix(RELEASE_RANK)


class Relation(Enum):
    """How one name stands to another."""

    HIGHER = "higher"
    LOWER = "lower"
    SAME = "the same"
    UNCLEAR = "unclear"


def relation(name: str, than: str) -> Relation:
    """How `name` stands to `than`. SAME: another spelling of the same version (v1.0, 1.0.0, v1-final)."""
    return _related(read_name(name), read_name(than))[0]


def is_higher(name: str, than: str) -> bool:
    """Whether a version may take the place of another by itself."""
    return relation(name, than) is Relation.HIGHER


def why_unclear(name: str, than: str) -> str:
    """Why neither of the two is the higher one; "" when one is."""
    how, why = _related(read_name(name), read_name(than))
    return why if how in (Relation.SAME, Relation.UNCLEAR) else ""


OrderKey = tuple[int, tuple[int, ...], tuple[Suffix, ...], float, str]


def order_key(name: str, arrived: float = 0.0) -> OrderKey:
    """Sorts versions from the lowest to the highest: a total order for lists and for what is kept.

    `arrived` is any clock's seconds, the same for all that are compared; it counts only where the names don't.
    """
    read = read_name(name)
    kind = 0 if not read.numbers else 2 if read.dated else 1
    return (kind, read.numbers, (*read.suffixes, _RELEASE), arrived, name)


def _related(one: VersionName, other: VersionName) -> tuple[Relation, str]:
    if one.family != other.family:
        return Relation.UNCLEAR, "they differ in more than a number, a date or a known suffix"
    if one.numbers and other.numbers and one.dated != other.dated:
        return Relation.UNCLEAR, "one has a number and the other a date"
    if one.numbers != other.numbers:
        return (Relation.HIGHER if one.numbers > other.numbers else Relation.LOWER), ""
    if one.variants != other.variants:
        forms = " and ".join("+".join(read.variants) or "no form" for read in (one, other))
        return Relation.UNCLEAR, f"the number is the same, and of {forms} none is newer"
    for mine, others in zip_longest(one.suffixes, other.suffixes, fillvalue=_RELEASE):
        if mine.rank == others.rank and mine.group != others.group:
            return Relation.UNCLEAR, "the number is the same, and their suffixes have no order"
        if mine != others:
            return (Relation.HIGHER if mine > others else Relation.LOWER), ""
    return Relation.SAME, "both mean the same version"
