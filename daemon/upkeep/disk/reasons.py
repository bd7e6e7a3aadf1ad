"""The reasons that a sweep can give. Each has a small number for the table and one sentence for people.

Pure. Codes below FIRST_SPARED mean that a row is removed, the others that it stays. Every row that is removed or spared
has one.
"""

from __future__ import annotations

from typing import Final

from ...units import size, span

OLDER: Final = 1
OVER_BYTES: Final = 2
OVER_FILES: Final = 3
DISK_LOW: Final = 4
INODES_LOW: Final = 5
FIRST_SPARED: Final = 10
WITHIN: Final = 10
YOUNG: Final = 11
DEVICE: Final = 12
HARD_LINKED: Final = 13
STICKY: Final = 14
KEPT: Final = 15
IN_USE: Final = 16
CHANGED: Final = 17
GONE: Final = 18
LOCKED: Final = 19
FORBIDDEN: Final = 20
FAILED: Final = 21
ELSEWHERE: Final = 22
TOO_DEEP: Final = 23
CLOCK: Final = 24
LATER: Final = 25
UNREADABLE: Final = 26
ACTIVE: Final = 27
UNPROVEN: Final = 28
FUTURE: Final = 29
OWN_RULE: Final = 30
REMOVED: Final = 31
FOREIGN: Final = 32

_WORDS: Final = {
    WITHIN: "within the limits",
    DEVICE: "a device",
    HARD_LINKED: "has other hard links: removing it would free nothing",
    STICKY: "its sticky bit keeps it",
    KEPT: "kept by name",
    IN_USE: "in use by a process",
    CHANGED: "changed since it was planned",
    GONE: "gone before its turn",
    LOCKED: "in a directory that another process has locked",
    FORBIDDEN: "permission denied or immutable",
    FAILED: "the file system returned an error",
    ELSEWHERE: "on another device or mount",
    TOO_DEEP: "nested too deep",
    CLOCK: "the wall clock jumped: ages cannot be trusted",
    LATER: "its turn comes at the next sweep: the budget of this one is used up",
    UNREADABLE: "in a directory that cannot be read",
    ACTIVE: "being written by the service",
    FUTURE: "dated in the future: counts as new",
    OWN_RULE: "has a class of its own",
    REMOVED: "already removed",
    FOREIGN: "not named as a log of ours: another program's",
    UNPROVEN: "it cannot be shown that no process uses it",
}

# reasons that keep a limit from being reached; the others mean only that nothing has to go
BLOCKING: Final = frozenset(
    {
        YOUNG,
        HARD_LINKED,
        STICKY,
        KEPT,
        IN_USE,
        CHANGED,
        LOCKED,
        FORBIDDEN,
        FAILED,
        CLOCK,
        UNREADABLE,
        ACTIVE,
        UNPROVEN,
        FUTURE,
        FOREIGN,
    }
)


def removes(code: int) -> bool:
    """Whether a row with this code is removed."""
    return 0 < code < FIRST_SPARED


def sentence(
    code: int, rule: str, *, max_age_seconds: float, max_bytes: int, max_files: int, min_age_seconds: float
) -> str:
    """The sentence for a code, with the limits of the rule that gave it."""
    if code == OLDER:
        return f"older than {span(max_age_seconds)}"
    if code == OVER_BYTES:
        return f"{rule} holds more than {size(max_bytes)}: the oldest go"
    if code == OVER_FILES:
        return f"{rule} holds more than {max_files:,} files: the oldest go"
    if code == DISK_LOW:
        return "the disk is low on space: the oldest go"
    if code == INODES_LOW:
        return "the disk is low on inodes: the oldest go"
    if code == YOUNG:
        return f"younger than {span(min_age_seconds)}"
    return _WORDS[code]
