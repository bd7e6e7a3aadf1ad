"""The result of one scan of the model root: frozen facts without a judgement.

Pure. An absent root and an empty one have different types, so that an unmounted disk is never read as an order to
unload everything.
"""

from __future__ import annotations

from msgspec import Struct


class Missing(Struct, frozen=True):
    """There is no link."""

    def __str__(self) -> str:
        return "there is no link"


class NotALink(Struct, frozen=True):
    """Something else has the link's name; `kind` is a word for it: "a directory", "a file" …"""

    kind: str

    def __str__(self) -> str:
        return f"it is {self.kind}, not a symbolic link"


class Dangling(Struct, frozen=True):
    """The link leads to nothing."""

    target: str
    because: str = "nothing is there"

    def __str__(self) -> str:
        return f"it points at {self.target!r}: {self.because}"


class Outside(Struct, frozen=True):
    """The link leads to something that is no version of this root."""

    target: str
    because: str

    def __str__(self) -> str:
        return f"it points at {self.target!r}: {self.because}"


class Unreadable(Struct, frozen=True):
    """The link can't be read at the moment."""

    because: str

    def __str__(self) -> str:
        return f"it cannot be read: {self.because}"


class Names(Struct, frozen=True):
    """The link leads to this version's directory."""

    version: str

    def __str__(self) -> str:
        return f"it names {self.version}"


LinkState = Missing | NotALink | Dangling | Outside | Unreadable | Names


class LinkFound(Struct, frozen=True):
    """Where the link is: `at` is a name in the root or an absolute path. `fixed`: why it cannot be moved, "" when it
    can. `read_only`: why nothing can be written in the root, "" when it can.
    """

    at: str = ""
    fixed: str = ""
    read_only: str = ""


class VersionSeen(Struct, frozen=True):
    """One version's directory. With `error`, it could not be read, and its other facts mean nothing. `passing`: that
    was trouble of the machine (no descriptor, a disk that fails), and proves nothing about the version.

    `fingerprint` changes whenever an entry is added, removed, replaced, written or touched, and whenever an error does.
    `bytes` is the sum of its files' sizes. `newest_ns` is the latest change or modification of anything in it, in wall
    nanoseconds. `renamed_in`: it was moved or copied as a whole, and nothing in it has changed since (see scan).
    `sums_complete`: every file in SHA256SUMS exists; contents are not compared. `arriving` is the sign that more will
    come, "" for none. `misplaced` are links in it that were meant for the root, each with the version that it names
    there. `writing`: whether a file is open for writing; None when that is unknown. `within` is the directory of the
    root that holds it, "" for the root itself. A root that Kubernetes projects has its versions in the directory that
    `..data` leads to.
    """

    name: str
    fingerprint: str
    bytes: int = 0
    files: int = 0
    newest_ns: int = 0
    renamed_in: bool = False
    has_sums: bool = False
    sums_complete: bool = False
    writing: bool | None = None
    error: str = ""
    passing: bool = False
    arriving: str = ""
    misplaced: tuple[tuple[str, str], ...] = ()
    within: str = ""


class RootAbsent(Struct, frozen=True):
    """The root can't be read as a whole: nothing may be concluded from it."""

    because: str


class RootSeen(Struct, frozen=True):
    """The root as it was. `identity` is (st_dev, st_ino); `others` counts the entries that are no
    versions.

    `ignored` are directories whose names no version can have, and links to directories elsewhere, each with the reason.
    `linked` is where the link is, `owner` the root's uid. `itself` is what helps for a root that holds the files of
    a version itself, "" for any other.
    """

    identity: tuple[int, int]
    link: LinkState
    versions: tuple[VersionSeen, ...]
    others: int = 0
    ignored: tuple[tuple[str, str], ...] = ()
    linked: LinkFound = LinkFound()
    owner: int = -1
    itself: str = ""

    def version(self, name: str) -> VersionSeen | None:
        return next((v for v in self.versions if v.name == name), None)


Sight = RootAbsent | RootSeen
