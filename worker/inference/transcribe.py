"""From an uploaded clip to an answer: decode, cut, recognise piece by piece with one version, join.

It knows nothing of HTTP. It must not touch the model on the event loop. Invariant: every piece of a clip is recognised
by the version with which the request began. When cancelled, it starts no further piece and ends the run in progress.
The texts that it sends for the pieces add up to the answer's text.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final, cast

import numpy as np
from msgspec import Struct

from ..audio.converter import SAMPLE_RATE
from ..audio.decode import Sound
from ..sensevoice.transcript import join_texts
from .admission import SHORT_SECONDS, Work
from .loader import LoadedVersion, Place, Samples, SpeechModel

LONG_SAMPLES: Final = int(SHORT_SECONDS * SAMPLE_RATE)


class Hearing(Struct, frozen=True):
    """How to read and cut a clip. `declared` is its Content-Type, for sound without a header.

    `split`: each channel separately. `trim`: without silences in short clips too.
    """

    language: str = "auto"
    itn: bool = False
    declared: str = ""
    split: bool = False
    trim: bool = False


async def transcribe(
    loaded: LoadedVersion,
    data: bytearray,
    *,
    hearing: Hearing,
    work: Work,
    max_audio_seconds: float,
    client: str = "",
    on_text: Callable[[str], Awaitable[None]] | None = None,
) -> dict[str, Any]:
    """The answer for the clip in `data` (an audio file's bytes, emptied once decoded), without `version`.

    `client` is the sender, for its share of what may be held. `on_text` is awaited with the text that each piece adds,
    if any. The answer for a clip without its end has `truncated`. A clip without voice is not run. Raises BadAudio for
    audio that cannot be used, CannotDecode, Busy, and whatever the model raises.
    """
    model = cast(SpeechModel, loaded.model)
    options = model.options()
    pieces: list[tuple[Place, Any]] = []
    text = ""
    try:
        async with work.decoded(
            data, max_seconds=max_audio_seconds, client=client, declared=hearing.declared, split=hearing.split
        ) as sound:
            long = sound.samples.size > LONG_SAMPLES
            for place in await work.beside(lambda: places_of(model, sound, trim=hearing.trim), long=long):
                piece = piece_at(sound, place)
                recognize = partial(model.recognize, piece, language=hearing.language, itn=hearing.itn, options=options)
                heard = await work.infer(recognize, model.lone_threads, long=long)
                pieces.append((place, heard))
                if on_text is not None:
                    text = await _send_new_text(on_text, text, model.join(pieces[-1:], len(sound.samples))["text"])
            answer = await work.decode(model.join, pieces, len(sound.samples))
            return {**answer, "truncated": True} if sound.truncated else answer
    finally:
        # Matters only while a piece still runs: its result is not awaited any more.
        options.terminate = True


def places_of(model: SpeechModel, sound: Sound, *, trim: bool = False) -> list[Place]:
    """The places of all pieces in the order of their beginnings.

    Of split channels, each is silent while others speak. So there silence is always left out, and turns become
    segments.
    """
    if sound.samples.ndim == 1:
        return list(model.cut(sound.samples, trim=trim))
    places = [
        (start, end, channel)
        for channel in range(sound.samples.shape[1])
        for start, end in model.cut(sound.samples[:, channel], trim=True)
    ]
    return sorted(places, key=lambda place: (place[0], place[2]))


def piece_at(sound: Sound, place: Place) -> Samples:
    """The samples of one piece."""
    if len(place) == 2:
        return sound.samples[place[0] : place[1]]
    return np.ascontiguousarray(sound.samples[place[0] : place[1], place[2]])


async def _send_new_text(on_text: Callable[[str], Awaitable[None]], before: str, more: str) -> str:
    """Sends what `more` adds to the text so far; returns the text that has been sent."""
    text = join_texts(before, more)
    if len(text) > len(before):
        await on_text(text[len(before) :])
    return text
