"""`python -m tests.fuzz.decoders COUNT [SEED] [media]`: mutated audio through a real pool of decoders, several at once.

With `media` files of phones, cameras, browsers and messengers alone, else those of libsndfile.

Ends with 1 when anything but samples or a refusal came of one, when one took a decoder with it, or when a slot was
lost. What ended a decoder is kept in a file. Prints the rate.
"""

from __future__ import annotations

import asyncio
import os
import random
import struct
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Final

from tests.costly_audio import encoded_tone, spoken, spoken_webm, vorbis_webm
from tests.media_files import FILES, media_file, silent_video, silk_file

from modelward.worker.audio.limits import BadAudio
from modelward.worker.decoders.pool import CannotDecode, DecoderPool
from modelward.worker.scheduling.slots import Slots
from modelward.worker.scheduling.threads import Lanes

AT_ONCE: Final = 6
MOST_BYTES: Final = 4 << 20
KINDS: Final = (
    ("FLAC", "PCM_16"), ("FLAC", "PCM_24"), ("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", "MPEG_LAYER_III"),
    ("AIFF", "PCM_16"), ("AIFF", "ALAW"), ("AU", "ULAW"), ("CAF", "PCM_16"), ("W64", "PCM_16"), ("RF64", "PCM_16"),
    ("WAV", "IMA_ADPCM"), ("WAV", "MS_ADPCM"), ("WAV", "GSM610"), ("WAV", "G721_32"),
)  # fmt: skip
_SPECIAL: Final = (0, 1, 0xFFFFFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFF0, 65535)


def seeds() -> list[bytes]:
    """A short file of each kind that decoders read."""
    return [*(encoded_tone(0.3, *kind) for kind in KINDS), spoken_webm(10)[:4000]]


def media_seeds() -> list[bytes]:
    """A short file of each kind that is rewrapped, or read by the extras."""
    videos = [media_file(name, 0.3, video=True) for name in ("voice memo", "safari", "pcm in matroska", "3gp")]
    others = [vorbis_webm(spoken(10, "OGG", "VORBIS"))[:6000], spoken_webm(10)[:4000], silent_video(), silk_file(0.5)]
    return [*(media_file(name, 0.3) for name in FILES), *videos, *others]


def mutated(choose: random.Random, seed: bytes, others: list[bytes]) -> bytes:
    """The seed with some bytes changed, sizes made absurd, parts cut out, doubled or taken from another."""
    data = bytearray(seed)
    for _ in range(choose.choice((1, 1, 2, 4, 16, 64))):
        place = choose.randrange(min(len(data), choose.choice((16, 64, 256, 4096, 1 << 30))) or 1)
        how = choose.random()
        if how < 0.35:
            data[place : place + 1] = bytes([choose.choice((0, 1, 0x7F, 0x80, 0xFF, choose.randrange(256)))])
        elif how < 0.55:
            number = choose.choice((*_SPECIAL, choose.randrange(1 << 32)))
            data[place : place + 4] = struct.pack(choose.choice(("<I", ">I")), number)
        elif how < 0.65:
            number = choose.choice((0, (1 << 64) - 1, 1 << 40, choose.randrange(1 << 64)))
            data[place : place + 8] = struct.pack(choose.choice(("<Q", ">Q")), number)
        elif how < 0.75:
            del data[place : place + choose.choice((1, 2, 4, 100, 5000))]
        elif how < 0.85:
            data[place:place] = data[place : place + choose.choice((1, 8, 100, 4000))] * choose.choice((1, 2, 50))
        elif how < 0.92:
            data[place:place] = choose.randbytes(choose.choice((1, 4, 100)))
        else:
            other = choose.choice(others)
            start = choose.randrange(len(other))
            data[place : place + 200] = other[start : start + 200]
        del data[MOST_BYTES:]
    return bytes(data)


async def fuzz(count: int, seed: int, files: list[bytes]) -> int:
    """0 when nothing was found."""
    choose, found, said = random.Random(seed), Counter[str](), list[str]()
    kept = Path(tempfile.mkdtemp(prefix="modelward-fuzz-"))
    slots = Slots()
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "decode")
        path.touch()
        os.truncate(path, os.cpu_count() or 1)
        slots = Slots(str(path))
        pool = DecoderPool(directory, slots, Lanes("decoding"), most_bytes=64 << 20, report=said.append)
        began, left = time.monotonic(), iter(range(count))

        async def free(seconds: float) -> None:
            """There is room."""

        async def client() -> None:
            for number in left:
                data = mutated(choose, choose.choice(files), files)
                try:
                    await pool.decode(bytearray(data), max_seconds=600, claim=free)
                    outcome = "samples"
                except BadAudio as e:
                    outcome = "ends its decoder" if "ends its decoder" in str(e) else e.code
                except CannotDecode as e:
                    outcome = f"fault: {e}"
                found[outcome] += 1
                if outcome == "ends its decoder" or outcome.startswith("fault"):
                    (kept / f"{seed}-{number}").write_bytes(data)

        try:
            await asyncio.gather(*(client() for _ in range(AT_ONCE)))
        finally:
            seconds = time.monotonic() - began
            pool.close()
            lost = slots.running
            slots.close()
    print(f"{count} files in {seconds:.0f} s, {count / seconds:.0f} a second; seed {seed}; {lost} slots lost")
    for outcome, times in found.most_common():
        print(f"{times:8} {outcome}")
    for text, times in Counter(said).items():
        print(f"{times:8} {text}")
    bad = sum(times for outcome, times in found.items() if outcome.startswith(("fault", "ends")))
    if bad:
        print(f"kept in {kept}")
    return 1 if bad or lost else 0


if __name__ == "__main__":
    numbers = [int(word) for word in sys.argv[1:] if word.isdecimal()]
    start = numbers[1] if len(numbers) > 1 else random.randrange(1 << 32)
    sys.exit(asyncio.run(fuzz(numbers[0], start, media_seeds() if "media" in sys.argv else seeds())))
