"""The clips that every server is asked, each with what is dialled in it, as the bytes that clients send.

Deterministic: length and seed make the clip. Says how far an answer is from what was dialled.
"""

from __future__ import annotations

import io
import wave
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import numpy.typing as npt
from tests.bench import tones

FIRST_SEED = 10**6  # far from those that the model was taught with
VARIETY = 4  # clips of one length, so that nobody answers from memory
BOUNDARY = "7f3a5c1e9b"


@dataclass(frozen=True)
class Clip:
    """`seconds` of dialling; `samples` are float32 at 16 kHz, `dialled` is the right answer."""

    seconds: float
    seed: int

    @cached_property
    def _made(self) -> tuple[npt.NDArray[np.float32], str]:
        samples, dialled, _ = tones.clip(self.seconds, FIRST_SEED + self.seed)
        return samples, dialled

    @property
    def samples(self) -> npt.NDArray[np.float32]:
        return self._made[0]

    @property
    def dialled(self) -> str:
        return self._made[1]

    @cached_property
    def wav(self) -> bytes:
        """A file of 16-bit samples."""
        return as_wav(self.samples)

    @cached_property
    def form(self) -> bytes:
        """The file as the part `audio` of a form, to send as FORM_TYPE."""
        head = (
            f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="audio"; filename="clip.wav"\r\n'
            "Content-Type: audio/wav\r\n\r\n"
        )
        return head.encode() + self.wav + f"\r\n--{BOUNDARY}--\r\n".encode()


FORM_TYPE = f"multipart/form-data; boundary={BOUNDARY}"


def as_wav(samples: npt.NDArray[np.float32]) -> bytes:
    out = io.BytesIO()
    with wave.open(out, "wb") as f:
        f.setnchannels(1)
        f.setsampwidth(2)
        f.setframerate(tones.RATE)
        f.writeframes((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())
    return out.getvalue()


def pool(seconds: float) -> list[Clip]:
    """The clips of one length; a long one is alone, since making it takes longer than asking it."""
    return [_clip(seconds, seed) for seed in range(VARIETY if seconds <= 60 else 1)]


@lru_cache
def _clip(seconds: float, seed: int) -> Clip:
    return Clip(seconds, seed)


@lru_cache(4096)
def error_rate(answer: str, dialled: str) -> float:
    """Edits from `answer` to `dialled`, a character of `dialled` (Levenshtein); blanks don't count."""
    said = answer.replace(" ", "")
    row = np.arange(len(said) + 1)
    places = np.arange(len(said) + 1)
    letters = np.frombuffer(said.encode("utf-32-le"), np.uint32)
    for number, letter in enumerate(dialled, 1):
        best = np.minimum(row[1:] + 1, row[:-1] + (letters != ord(letter)))
        best = np.concatenate(([number], best))
        row = np.minimum.accumulate(best - places) + places  # an insertion comes from the left
    return float(row[-1]) / max(1, len(dialled))
