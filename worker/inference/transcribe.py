"""From an uploaded clip to an answer: decode, cut, recognise piece by piece with one version, join.

Knows nothing of HTTP. Must not touch the model on the event loop. Invariant: every piece of a clip is recognised by the
version the request began with; cancelled, it starts no further piece and ends the run in progress. What is said of
each piece on the way adds up to the answer's text.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final, cast

from ..audio.decode import SAMPLE_RATE
from ..sensevoice.transcript import join_texts
from .admission import SHORT_SECONDS, Work
from .loader import LoadedVersion, SpeechModel

LONG_SAMPLES: Final = int(SHORT_SECONDS * SAMPLE_RATE)


async def transcribe(
    loaded: LoadedVersion,
    data: bytearray,
    *,
    language: str,
    itn: bool,
    work: Work,
    max_audio_seconds: float,
    client: str = "",
    said: Callable[[str], Awaitable[None]] | None = None,
) -> dict[str, Any]:
    """The answer for the clip in `data` (an audio file's bytes, emptied once decoded), without `version`.

    `client` is who sent it, for its share of what may be held. `said` is awaited with the text that each piece adds,
    when it adds any.
    Raises BadAudio for what is no usable audio, CannotDecode, Busy, and whatever the model raises.
    """
    model = cast(SpeechModel, loaded.model)
    options = model.options()
    pieces: list[tuple[tuple[int, int], Any]] = []
    text = ""
    try:
        async with work.decoded(data, max_seconds=max_audio_seconds, client=client) as samples:
            long = len(samples) > LONG_SAMPLES
            spans = await work.beside(lambda: model.cut(samples), long=long)
            for span in spans:
                piece = samples[span[0] : span[1]]
                recognize = partial(model.recognize, piece, language=language, itn=itn, options=options)
                heard = await work.infer(recognize, model.lone_threads, long=long)
                pieces.append((span, heard))
                if said is not None:
                    text = await _say(said, text, model.join(pieces[-1:], len(samples))["text"])
            return await work.decode(model.join, pieces, len(samples))
    finally:
        # Only matters when a piece is still being run: nobody waits for it any more.
        options.terminate = True


async def _say(said: Callable[[str], Awaitable[None]], before: str, more: str) -> str:
    """Says what `more` adds to the text so far; returns the text that has been said."""
    text = join_texts(before, more)
    if len(text) > len(before):
        await said(text[len(before) :])
    return text
