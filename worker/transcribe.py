"""From an uploaded clip to an answer: decode, cut, recognise piece by piece with one version, join.

Knows nothing of HTTP. Must not touch the model on the event loop. Invariant: every piece of a clip is recognised by the
version the request began with; cancelled, it starts no further piece and ends the run in progress. What is said of
each piece on the way adds up to the answer's text.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, cast

from .audio import decode
from .models import Loaded, Samples, Speech
from .sensevoice.transcript import join_texts
from .work import Work


async def transcribe(
    loaded: Loaded,
    data: bytearray,
    *,
    language: str,
    itn: bool,
    work: Work,
    max_audio_seconds: float,
    said: Callable[[str], Awaitable[None]] | None = None,
) -> dict[str, Any]:
    """The answer for the clip in `data` (an audio file's bytes, emptied once decoded), without `version`.

    `said` is awaited with the text that each piece adds, when it adds any.
    Raises BadAudio for what is no usable audio, and whatever the model raises.
    """
    model = cast(Speech, loaded.model)
    samples, spans = await work.decode_input(_decode_and_cut, model, data, max_audio_seconds)
    options = model.options()
    pieces: list[tuple[tuple[int, int], Any]] = []
    text = ""
    try:
        with work.holding(samples.nbytes):
            for span in spans:
                piece = samples[span[0] : span[1]]
                recognize = partial(model.recognize, piece, language=language, itn=itn, options=options)
                heard = await work.infer(recognize, model.lone_threads)
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


def _decode_and_cut(model: Speech, data: bytearray, max_audio_seconds: float) -> tuple[Samples, list[tuple[int, int]]]:
    samples = decode(bytes(data), max_seconds=max_audio_seconds)
    data.clear()
    return samples, list(model.cut(samples))
