"""What compressed audio costs: CPU time and latency of the same clips in each format, turn by turn beside WAV.

Through the service, so the decoders' processes are counted. A format whose decoder is not installed says so.
"""

from __future__ import annotations

import functools
import io
import sys
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
from tests.bench import load, tones, trees
from tests.bench.clips import Clip, pool
from tests.bench.load import Answer, Failed
from tests.bench.ours import Modelward
from tests.bench.plan import Plan

CLIP_SECONDS, QUICK_CLIP_SECONDS = 5.0, 1.0
ROUNDS, REQUESTS = 5, 12


def _soundfile(format: str, subtype: str) -> Callable[[Clip], bytes]:
    def encoded(clip: Clip) -> bytes:
        import soundfile

        made = io.BytesIO()
        soundfile.write(made, clip.samples, tones.RATE, format=format, subtype=subtype)
        return made.getvalue()

    return encoded


def _m4a(clip: Clip) -> bytes:
    """AAC in MP4, as phones record."""
    import av

    made = io.BytesIO()
    with av.open(made, "w", format="ipod") as file:
        stream: Any = file.add_stream("aac", rate=tones.RATE, layout="mono")
        stream.bit_rate = 64_000
        fifo = av.AudioFifo()
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(clip.samples[None, :]), format="fltp", layout="mono")
        frame.sample_rate, frame.time_base, frame.pts = tones.RATE, Fraction(1, tones.RATE), 0
        fifo.write(frame)
        while (piece := fifo.read(1024)) is not None or (piece := fifo.read(1024, partial=True)) is not None:
            file.mux(stream.encode(piece))
        file.mux(stream.encode(None))
    return made.getvalue()


FORMATS: dict[str, tuple[str, str, Callable[[Clip], bytes]]] = {
    "wav": ("WAV, 16 bits", "audio/wav", lambda clip: clip.wav),
    "flac": ("FLAC", "audio/flac", _soundfile("FLAC", "PCM_16")),
    "opus": ("Opus in Ogg", "audio/ogg", _soundfile("OGG", "OPUS")),
    "mp3": ("MP3", "audio/mpeg", _soundfile("MP3", "MPEG_LAYER_III")),
    "m4a": ("AAC in M4A", "audio/mp4", _m4a),
}


def measure(plan: Plan) -> dict[str, Any]:
    """{"clip_seconds", "systems": {format: {title, "rounds": [figures of a turn, with CPU seconds a clip]}}}."""
    seconds = QUICK_CLIP_SECONDS if plan.quick else CLIP_SECONDS
    systems: dict[str, Any] = {name: {"title": title, "rounds": []} for name, (title, _, _) in FORMATS.items()}
    ours = plan.modelward()
    try:
        ours.start(pool(1.0)[0])
        asks = _asks(ours, systems, pool(seconds))
        for _ in range(1 if plan.quick else ROUNDS):
            for name, ask in asks.items():
                systems[name]["rounds"].append(_turn(ours, ask, pool(seconds), 4 if plan.quick else REQUESTS))
                print(f"formats {name}: {systems[name]['rounds'][-1]['cpu_seconds']:.3f}", file=sys.stderr, flush=True)
    finally:
        ours.stop()
    return {"clip_seconds": seconds, "systems": systems}


def _asks(ours: Modelward, systems: dict[str, Any], clips: list[Clip]) -> dict[str, load.Ask]:
    """Of the formats that this machine can write and the service can read; of the others the reason is kept."""
    found: dict[str, load.Ask] = {}
    for name, (_, kind, encoded) in FORMATS.items():
        try:
            bodies = {clip: encoded(clip) for clip in clips}
            ask = functools.partial(_asked, ours, bodies, kind)
            for clip in clips:
                ask(clip)  # not counted: the decoder is there after it
        except (ImportError, Failed) as e:
            systems[name]["missing"] = str(e)[:200]
            continue
        systems[name]["bytes"] = sum(map(len, bodies.values())) / len(bodies)
        found[name] = ask
    return found


def _asked(ours: Modelward, bodies: dict[Clip, bytes], kind: str, clip: Clip) -> Answer:
    return ours.ask_body(bodies[clip], kind)


def _turn(ours: Modelward, ask: load.Ask, clips: list[Clip], requests: int) -> dict[str, Any]:
    before = trees.run_seconds_of(ours.pids())
    made = load.closed(ask, clips, 1, requests)
    used = trees.run_seconds_of(ours.pids()) - before
    return {**made.figures(), "cpu_seconds": used / max(1, len(made.seconds))}
