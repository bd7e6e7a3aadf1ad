"""How long a clip may be, what is found out about it during reading, and the one error for audio that cannot be used.

It must read no audio. Invariant: a length is checked against what the file promises, where that can be believed, and
always against what was really read.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
from msgspec import Struct

Floats = npt.NDArray[np.float32]

CODES: Final = frozenset({"empty_audio", "unsupported_audio", "damaged_audio", "truncated_audio", "audio_too_long"})
NOTHING: Final[Floats] = np.zeros(0, dtype=np.float32)

# Silence in FLAC at 8 kHz takes 25 bytes a second, in Vorbis 67; speech in Opus at 6 kbit/s takes 750.
LEAST_BYTES_PER_SECOND: Final = 16
FREE_SECONDS: Final = 60  # for any clip, whatever its size


class BadAudio(ValueError):
    """Audio that cannot be used. `code` is one of CODES; the text is a sentence for the client."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


class ClipNotes(Struct):
    """What was found out about a clip during reading.

    `expected_seconds` is what its header promises, 0 when it promises nothing. `truncated`: a promised part is missing,
    or could not be read.
    """

    expected_seconds: float = 0.0
    truncated: bool = False


class AudioLimits:
    """How long a clip of a given number of bytes may be."""

    def __init__(self, received_bytes: int, max_seconds: float, notes: ClipNotes) -> None:
        self.notes = notes
        self._max_seconds = max_seconds
        self._bytes = received_bytes
        self._believed = FREE_SECONDS + received_bytes / LEAST_BYTES_PER_SECOND
        self._before = 0.0

    def promised(self, frames: int, rate: int) -> None:
        """Checks the length in the header. Raises BadAudio when that alone is too long."""
        self._check(frames / rate)
        self.notes.expected_seconds = frames / rate

    def reached(self, frames: int, rate: int) -> None:
        """Checks the length of the current stretch so far. Raises BadAudio when it is too long with those before."""
        seconds = self._before + frames / rate
        self._check(seconds)
        if seconds > self._believed:
            raise BadAudio(
                "damaged_audio",
                f"cannot read the audio: {self._bytes} bytes cannot be {seconds:.0f} s of sound; "
                f"at least {LEAST_BYTES_PER_SECOND} bytes a second are expected after {FREE_SECONDS} s",
            )

    def stretch_ended(self, frames: int, rate: int) -> None:
        """The sound continues with another rate or other channels."""
        self._before += frames / rate

    def _check(self, seconds: float) -> None:
        if seconds > self._max_seconds:
            raise BadAudio("audio_too_long", f"cannot take {seconds:.1f} s of audio: at most {self._max_seconds:g} s")
