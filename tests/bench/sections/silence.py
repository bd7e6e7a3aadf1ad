"""What `speech.trim` saves: CPU time of clips with a silence in the middle, heard whole and without it, turn by turn.

The recogniser of the workers, in this process, on one thread, with the form that came. Gives the CPU time of both for
each share of silence; that the text stays is what tests with golden clips hold.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import numpy.typing as npt
from tests.bench import tones
from tests.bench.plan import Plan

from modelward.worker.sensevoice.pipeline import Recognizer

SECONDS, ROUNDS = 20.0, 7
SHARES = (0.0, 0.25, 0.5, 0.75)
NOISE = 1e-3  # the line's own, as in tones.clip


def sound(share: float, seed: int) -> npt.NDArray[np.float32]:
    """A clip with so much silence between two stretches of dialling."""
    spoken = SECONDS * (1 - share) / 2
    first, second = (tones.clip(spoken, 10**6 + seed + number)[0] for number in (0, 1))
    quiet = np.random.default_rng(seed).normal(0, NOISE, int(SECONDS * share * tones.RATE)).astype(np.float32)
    return np.concatenate([first, quiet, second])


def measure(plan: Plan) -> dict[str, Any]:
    """Each share's rounds: CPU seconds with and without the silence."""
    recognizer = Recognizer.load(plan.model)
    recognizer.warm()
    shares = []
    for number, share in enumerate(SHARES):
        clip = sound(share, 100 * number)
        recognizer.transcribe(clip)  # each length is allocated for once
        rounds = [_round(recognizer, clip) for _ in range(1 if plan.quick else ROUNDS)]
        shares.append({"silence": share, "rounds": rounds})
    return {"clip_seconds": SECONDS, "shares": shares}


def _round(recognizer: Recognizer, clip: npt.NDArray[np.float32]) -> dict[str, float]:
    taken = {}
    for name, trim in (("off", False), ("silence", True)):
        began = time.process_time()
        recognizer.transcribe(clip, trim=trim)
        taken[name] = round(time.process_time() - began, 4)
    return taken
