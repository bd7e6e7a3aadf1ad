"""From an uploaded clip to an answer: decode, cut, recognise piece by piece with one version, join.

Knows nothing of HTTP. Must not touch the model on the event loop. Invariant: every piece of a clip is recognised by the
version the request began with; cancelled, it starts no further piece and ends the run in progress.
"""

from __future__ import annotations

from typing import Any, cast

from .audio import decode
from .engine import Loaded
from .models import Samples, Speech
from .work import Work


async def transcribe(
    loaded: Loaded, data: bytearray, *, language: str, itn: bool, work: Work, max_audio_seconds: float
) -> dict[str, Any]:
    """The answer for the clip in `data` (an audio file's bytes, emptied once decoded), without `version`.

    Raises BadAudio for what is no usable audio, and whatever the model raises.
    """
    model = cast(Speech, loaded.model)
    await work.space()
    samples, spans = await work.decode(_decode_and_cut, model, data, max_audio_seconds)
    options = model.options()
    pieces = []
    try:
        with work.holding(samples.nbytes):
            for span in spans:
                piece = samples[span[0] : span[1]]
                said = await work.infer(model.recognize, piece, language=language, itn=itn, options=options)
                pieces.append((span, said))
            return await work.decode(model.join, pieces, len(samples))
    finally:
        # Only matters when a piece is still being run: nobody waits for it any more.
        options.terminate = True


def _decode_and_cut(model: Speech, data: bytearray, max_audio_seconds: float) -> tuple[Samples, list[tuple[int, int]]]:
    samples = decode(bytes(data), max_seconds=max_audio_seconds)
    data.clear()
    return samples, list(model.cut(samples))
