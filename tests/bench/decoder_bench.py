"""What decoding in another process costs: a clip of 3 s through the pool and in a thread, turn by turn.

Prints medians and the least of both for each format, and the difference, in ms. They are of one machine at one moment:
on a busy one the least says more.

    python tests/bench/decoder_bench.py [ROUNDS]
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / ".imports")]

from tests.costly_audio import spoken  # noqa: E402

from modelward.worker.audio import decode  # noqa: E402
from modelward.worker.decoders.pool import DecoderPool  # noqa: E402
from modelward.worker.scheduling.slots import Slots  # noqa: E402
from modelward.worker.scheduling.threads import Lanes  # noqa: E402

FORMATS = (("OGG", "OPUS"), ("OGG", "VORBIS"), ("MP3", "MPEG_LAYER_III"), ("FLAC", "PCM_16"))


async def _timed(work: Callable[[], Awaitable[object]]) -> float:
    began = time.perf_counter()
    await work()
    return 1000 * (time.perf_counter() - began)


async def _free(seconds: float) -> None:
    """There is room."""


async def main(rounds: int) -> None:
    slots, lanes = Slots(), Lanes("decoding")
    pool = DecoderPool("", slots, lanes, most_bytes=64 << 20, report=print)
    print(
        f"{'':22}{'pool: median':>14}{'least':>8}{'thread: median':>16}{'least':>8}{'more: median':>14}{'least':>8}  ms"
    )
    for format, subtype in FORMATS:
        data = spoken(3, format, subtype)

        async def there(data: bytes = data) -> object:
            return await pool.decode(bytearray(data), max_seconds=60, claim=_free)

        async def here(data: bytes = data) -> object:
            slot = await slots.turn()
            return await lanes.start(lambda: decode.decode(data, max_seconds=60), lambda: slots.free(slot))

        await there()
        times = [(await _timed(there), await _timed(here)) for _ in range(rounds)]
        (a, b), (c, d) = ((statistics.median(side), min(side)) for side in zip(*times, strict=True))
        print(f"{format + ' ' + subtype:22}{a:14.2f}{b:8.2f}{c:16.2f}{d:8.2f}{a - c:14.2f}{b - d:8.2f}")
    pool.close()
    slots.close()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 200))
