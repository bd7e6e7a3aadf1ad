"""Sound files to try the demo with, each with the text that it must give; and the golden clips inside a version."""

from __future__ import annotations

import wave
from pathlib import Path
from typing import Final

import numpy as np

from ..sensevoice.frontend import SAMPLE_RATE
from . import synth, vocabulary

_LONG_PAUSE_SECONDS: Final = 4.0
_LONG: Final = ("2025550147", "2025550189", "*31# 0049", "5550123", "911 112", "0123456789", "2025550147", "778899")

# name → what is dialled, and how
_CLIPS: Final[dict[str, tuple[str, dict[str, float]]]] = {
    "0123456789": ("0123456789", {}),
    "5551234": ("555 1234", {"pause_seconds": 0.3}),
    "noisy-2025550147": ("2025550147", {"snr_db": 10.0, "seed": 1}),
    "quiet-star-31-hash": ("*31#", {"level_db": -40.0}),
    "long-with-pauses": (
        " ".join((*_LONG, *_LONG)),
        {"pause_seconds": _LONG_PAUSE_SECONDS, "snr_db": 30.0, "seed": 2},
    ),
}
_GOLDEN: Final[dict[str, tuple[str, dict[str, float]]]] = {
    "repeats": ("1100 44", {"pause_seconds": 0.2}),
    "keypad": ("159*0#", {"snr_db": 20.0, "seed": 3}),
}


def write_clips(directory: Path) -> list[Path]:
    """Writes the sample clips, PCM16 mono 16 kHz, and returns their paths, shortest first.

    Beside NAME.wav are NAME.digits.txt and NAME.words.txt: the texts of the two demo versions for it (digits without
    the spaces between the pieces of a long clip).
    """
    directory.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, (digits, how) in _CLIPS.items():
        path = directory / f"{name}.wav"
        write_wav(path, _sound(digits, how))
        for form, words in (("digits", False), ("words", True)):
            _write_text(directory / f"{name}.{form}.txt", digits, words=words)
        paths.append(path)
    return sorted(paths, key=lambda path: path.stat().st_size)


def write_golden(directory: Path, *, words: bool) -> None:
    """Writes NAME.wav and NAME.txt pairs: the texts that a version must give to be accepted."""
    directory.mkdir(parents=True)
    for name, (digits, how) in _GOLDEN.items():
        write_wav(directory / f"{name}.wav", _sound(digits, how))
        _write_text(directory / f"{name}.txt", digits, words=words)


def write_wav(path: Path, samples: synth.Samples) -> None:
    """Mono 16 kHz PCM16 from float32 [n] in [-1, 1]."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        file.writeframes(np.clip(np.rint(samples * 32768.0), -32768, 32767).astype("<i2").tobytes())


def _sound(digits: str, how: dict[str, float]) -> synth.Samples:
    settings = dict(how)
    seed = int(settings.pop("seed", 0))
    return synth.dial(digits, seed=seed, **settings)


def _write_text(path: Path, digits: str, *, words: bool) -> None:
    path.write_text(vocabulary.text(digits, words=words) + "\n", encoding="utf-8")
