"""Which clips a directory of golden clips holds with their texts, and what of it is only half there.

Reads names and kinds of files, no contents. NAME.wav belongs to NAME.txt whatever the case of the letters.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from msgspec import Struct

MAX_ENTRIES: Final = 10_000
_NOT_TEXTS: Final = ("readme", "license", "changelog", "notice")
_OTHER_SIDE: Final = {".wav": ".txt", ".txt": ".wav"}


class GoldenClips(Struct, frozen=True):
    """`whole`: (name, clip, text) sorted by name. `half`: a sentence for each that can't be used by itself."""

    whole: tuple[tuple[str, Path, Path], ...] = ()
    half: tuple[str, ...] = ()


def pairs(directory: Path, *, expected: bool = False) -> GoldenClips:
    """The clips in a directory. `expected`: that there is nothing is worth a sentence too."""
    try:
        entries = sorted(directory.iterdir())[:MAX_ENTRIES]
    except OSError as e:
        why = "is not there" if isinstance(e, FileNotFoundError) else f"can't be read: {e.strerror}"
        return GoldenClips(half=(f"{directory} {why}, so no text was checked",) if expected else ())
    sides: dict[str, dict[str, Path]] = {}
    for entry in entries:
        if entry.suffix.lower() in _OTHER_SIDE and not entry.name.startswith("."):
            sides.setdefault(entry.stem.casefold(), {}).setdefault(entry.suffix.lower(), entry)
    whole, half = [], []
    for both in sides.values():
        if wrong := _wrong(both):
            half.append(wrong)
        elif len(both) == 2:
            whole.append((both[".wav"].stem, both[".wav"], both[".txt"]))
    if expected and not whole and not half:
        half.append(f"{directory} holds no clips, so no text was checked")
    return GoldenClips(tuple(whole), tuple(half))


def _wrong(sides: dict[str, Path]) -> str:
    """Why a clip with its text can't be used; "" when it can, or when this is no clip's text at all."""
    for suffix, path in sides.items():
        if not path.is_file():
            return f"{path.name} is no file that can be read"
        if _OTHER_SIDE[suffix] not in sides:
            if suffix == ".txt" and path.stem.lower().startswith(_NOT_TEXTS):
                return ""
            return f"{path.name} has no {path.stem}{_OTHER_SIDE[suffix]} beside it"
    return ""
