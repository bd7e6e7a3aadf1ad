"""What a walk found, in columns: about a hundred bytes an entry, so that a million entries fit in memory.

Pure storage. A row is a file, or a whole directory where that is the unit. A place is a directory that holds rows. Row
and place numbers stay valid as long as the table. Each row has the inode and the later of its change and modification
times. So a removal can check that the entry is still the one that was planned.
"""

from __future__ import annotations

from array import array

from msgspec import Struct, field


class Place(Struct, frozen=True):
    """A directory below the root; `parent` is -1 for the root itself, whose name is ""."""

    parent: int
    name: str
    inode: int


class FileTable(Struct):
    """Rows of one root. `codes` has what is known of each row (see quota.py); `specials` are no regular files."""

    root: str
    device: int = 0
    places: list[Place] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    where: array[int] = field(default_factory=lambda: array("i"))
    inodes: array[int] = field(default_factory=lambda: array("Q"))
    bytes: array[int] = field(default_factory=lambda: array("q"))
    stamps: array[float] = field(default_factory=lambda: array("d"))
    codes: bytearray = field(default_factory=bytearray)
    specials: set[int] = field(default_factory=set)

    def __len__(self) -> int:
        return len(self.names)

    def add_place(self, parent: int, name: str, inode: int) -> int:
        """Adds a place and returns its number."""
        self.places.append(Place(parent, name, inode))
        return len(self.places) - 1

    def add(self, place: int, name: str, inode: int, used_bytes: int, stamp: float, code: int) -> int:
        """Adds a row and returns its number. `stamp` is in seconds since 1970."""
        self.names.append(name)
        self.where.append(place)
        self.inodes.append(inode)
        self.bytes.append(used_bytes)
        self.stamps.append(stamp)
        self.codes.append(code)
        return len(self.names) - 1

    def extend(
        self,
        place: int,
        names: list[str],
        inodes: list[int],
        used_bytes: list[int],
        stamps: list[float],
        codes: list[int],
    ) -> None:
        """Adds many rows of one place at once. All lists have the same length."""
        self.names.extend(names)
        self.where.extend([place] * len(names))
        self.inodes.extend(inodes)
        self.bytes.extend(used_bytes)
        self.stamps.extend(stamps)
        self.codes.extend(codes)

    def parts(self, place: int) -> list[str]:
        """The names from the root down to a place, without the root; empty for the root."""
        names: list[str] = []
        while place >= 0 and self.places[place].parent >= 0:
            names.append(self.places[place].name)
            place = self.places[place].parent
        return names[::-1]

    def path(self, row: int) -> str:
        """The path of a row for display only: it must never be opened."""
        return "/".join([self.root.rstrip("/"), *self.parts(self.where[row]), self.names[row]])
