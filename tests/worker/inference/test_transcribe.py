"""What clips hold while they wait for the model."""

from __future__ import annotations

import asyncio
import io
import threading
import wave
from typing import Any, cast

from tests.support import PATIENCE_SECONDS

from modelward.worker.inference.admission import Work
from modelward.worker.inference.loader import LoadedVersion, Model
from modelward.worker.inference.transcribe import Hearing, transcribe

CLIPS = 6
LOOK_SECONDS = 0.1
SECONDS = 61  # short clips do not wait for room


class Counting:
    """A model that runs each piece until every clip is decoded, or it is clear that none will be."""

    def __init__(self) -> None:
        self.decoded = self.answered = self.most = 0
        self.all_decoded = threading.Event()

    def options(self) -> Any:
        return type("Options", (), {"terminate": False})()

    def cut(self, samples: Any, *, trim: bool = False) -> list[tuple[int, int]]:
        self.decoded += 1
        self.most = max(self.most, self.decoded - self.answered)
        if self.decoded == CLIPS:
            self.all_decoded.set()
        return [(0, len(samples))]

    def lone_threads(self) -> int:
        return 1

    def recognize(self, samples: Any, threads: int = 1, **how: Any) -> str:
        self.all_decoded.wait(LOOK_SECONDS)
        return ""

    def join(self, pieces: Any, samples: int) -> dict[str, Any]:
        self.answered += 1
        return {"text": ""}


def clip() -> bytearray:
    made = io.BytesIO()
    with wave.open(made, "wb") as f:
        f.setnchannels(1)
        f.setsampwidth(2)
        f.setframerate(16_000)
        f.writeframes(bytes(2 * 16_000 * SECONDS))
    return bytearray(made.getvalue())


def test_clips_that_came_together_are_not_all_decoded_before_the_first_is_answered() -> None:
    async def play() -> Counting:
        model = Counting()
        loaded = LoadedVersion("v1", "", "", cast(Model, model))
        work = Work(queue=CLIPS, audio_bytes=SECONDS * 16_000 * 4)  # one clip
        async with asyncio.timeout(PATIENCE_SECONDS):
            await asyncio.gather(
                *(transcribe(loaded, clip(), hearing=Hearing(), work=work, max_audio_seconds=100) for _ in range(CLIPS))
            )
        return model

    model = asyncio.run(play())
    assert model.answered == CLIPS
    assert model.most == 1
