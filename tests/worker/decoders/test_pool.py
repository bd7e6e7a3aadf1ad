"""Clips through real decoders."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from tests.costly_audio import quiet_flac, spoken, spoken_webm, tracks_webm
from tests.media_files import FILES, media_file, silk_file, subtitled
from tests.support import soon

from modelward.worker.audio import decode as audio
from modelward.worker.audio.limits import BadAudio, Floats
from modelward.worker.decoders.pool import DecoderPool
from modelward.worker.scheduling.pauses import MOST_PAUSE_SECONDS, pause_seconds
from modelward.worker.scheduling.slots import Slots
from modelward.worker.scheduling.threads import Lanes

Started = Callable[[], set[int]]


@contextlib.asynccontextmanager
async def pool(directory: Path | None = None, said: list[str] | None = None) -> AsyncIterator[DecoderPool]:
    slots = Slots(str(directory / "decode") if directory else "")
    place = str(directory) if directory else ""
    made = DecoderPool(
        place, slots, Lanes("decoding"), most_bytes=64 << 20, report=(said if said is not None else []).append
    )
    try:
        yield made
    finally:
        made.close()
        slots.close()


async def free(seconds: float) -> None:
    """There is room for everything."""


async def decode(pool: DecoderPool, data: bytes, max_seconds: float = 3600) -> Floats:
    return (await pool.decode(bytearray(data), max_seconds=max_seconds, claim=free)).samples


def test_clips_become_the_same_samples_as_in_this_process() -> None:
    async def play() -> None:
        async with pool() as decoders:
            for kind in (("OGG", "OPUS"), ("OGG", "VORBIS"), ("FLAC", "PCM_16"), ("MP3", "MPEG_LAYER_III")):
                data = spoken(3, *kind)
                for _ in range(2):
                    assert np.array_equal(await decode(decoders, data), audio.decode(data, max_seconds=60)), kind

    asyncio.run(play())


def test_recordings_of_phones_and_messengers_become_the_same_samples_as_in_this_process() -> None:
    async def play() -> None:
        async with pool() as decoders:
            for name in FILES:
                data = media_file(name)
                assert np.array_equal(await decode(decoders, data), audio.decode(data, max_seconds=60)), name

    asyncio.run(play())


def test_a_voice_message_a_video_and_one_with_subtitles_are_read_in_a_decoder() -> None:
    async def play() -> None:
        async with pool() as decoders:
            for data in (silk_file(2.0), media_file("voice memo", video=True), subtitled()):
                assert abs(len(await decode(decoders, data)) / 16_000 - 2.0) < 0.15

    asyncio.run(play())


def test_channels_are_split_in_a_decoder_and_a_lost_end_is_noted() -> None:
    async def play() -> None:
        both = np.stack([np.full(16_000, 0.25), np.full(16_000, -0.5)], axis=1)
        made = io.BytesIO()
        soundfile.write(made, both, 16_000, format="FLAC", subtype="PCM_16")
        async with pool() as decoders:
            split = await decoders.decode(bytearray(made.getvalue()), max_seconds=60, claim=free, split=True)
            assert split.samples.shape == (16_000, 2) and not split.truncated
            assert np.abs(split.samples - both).max() < 1e-4
            long = spoken(130, "FLAC", "PCM_16")
            claimed: list[float] = []

            async def claim(seconds: float) -> None:
                claimed.append(seconds)

            cut = await decoders.decode(bytearray(long[: len(long) // 2]), max_seconds=3600, claim=claim)
            assert cut.truncated and 50 < len(cut.samples) / 16_000 < 80 and claimed

    asyncio.run(play())


def test_what_is_no_audio_is_refused_as_in_this_process() -> None:
    async def play() -> None:
        async with pool() as decoders:
            for data in (tracks_webm(240_000), quiet_flac(36_000), b"OggS" + bytes(100), b"fLaC" + bytes(100)):
                with pytest.raises(BadAudio) as here:
                    audio.decode(data, max_seconds=3600)
                with pytest.raises(BadAudio) as there:
                    await decode(decoders, data)
                assert (there.value.code, str(there.value)) == (here.value.code, str(here.value))

    asyncio.run(play())


def test_short_clips_pass_a_long_one_in_the_same_decoder() -> None:
    async def play() -> list[str]:
        ended: list[str] = []

        async def take(name: str, data: bytes, long: asyncio.Event) -> None:
            async def claim(seconds: float) -> None:
                long.set()

            await decoders.decode(bytearray(data), max_seconds=3600, claim=claim)
            ended.append(name)

        async with pool() as decoders:  # with one decoder
            reached = asyncio.Event()
            hour = asyncio.create_task(take("long", spoken_webm(120), reached))
            await reached.wait()
            for number in range(3):
                await take(f"short {number}", spoken(3), asyncio.Event())
            await hour
        return ended

    assert asyncio.run(play()) == ["short 0", "short 1", "short 2", "long"]


def test_a_clip_that_nobody_waits_for_any_more_is_dropped_and_its_slot_is_free() -> None:
    async def play() -> None:
        async with pool() as decoders:
            reached = asyncio.Event()

            async def claim(seconds: float) -> None:
                reached.set()
                await asyncio.Event().wait()  # there is never room

            waiting = asyncio.create_task(decoders.decode(bytearray(spoken_webm(120)), max_seconds=3600, claim=claim))
            await reached.wait()
            waiting.cancel()
            for _ in range(10):  # more than a decoder has places
                assert len(await decode(decoders, spoken(3))) == 48_000

    asyncio.run(play())


def test_workers_share_decoders_and_a_killed_one_costs_no_clip(started: Started, tmp_path: Path) -> None:
    async def play() -> None:
        (tmp_path / "decode").touch()
        os.truncate(tmp_path / "decode", 2)
        said: list[str] = []
        async with pool(tmp_path, said) as one, pool(tmp_path) as other:
            for _ in range(3):
                await asyncio.gather(*(decode(who, spoken(3)) for who in (one, other, one, other)))
            decoders = started()
            assert len(decoders) <= 2  # as many as slots
            reached = asyncio.Event()

            async def claim(seconds: float) -> None:
                reached.set()

            both = [
                asyncio.create_task(who.decode(bytearray(spoken_webm(120)), max_seconds=3600, claim=claim))
                for who in (one, other)
            ]
            await reached.wait()
            for pid in decoders:
                os.kill(pid, signal.SIGKILL)
            whole = len(audio.decode(spoken_webm(120), max_seconds=3600))
            assert [len(sound.samples) for sound in await asyncio.gather(*both)] == [whole] * 2

    asyncio.run(play())
    assert not started()


def test_samples_can_be_changed_by_nobody() -> None:
    async def play() -> None:
        async with pool() as decoders:
            samples = await decode(decoders, spoken(3))
            assert not samples.flags.writeable
            assert np.abs(samples).max() <= 1.0

    asyncio.run(play())


def test_a_decoder_that_does_not_answer_is_killed_and_its_slot_is_free_again(started: Started) -> None:
    async def play() -> None:
        said: list[str] = []
        slots = Slots()
        decoders = DecoderPool(
            "", slots, Lanes("decoding"), most_bytes=64 << 20, report=said.append, silent_seconds=8.0
        )
        try:
            await decode(decoders, spoken(3))
            (pid,) = started()
            os.kill(pid, signal.SIGSTOP)
            assert len(await decode(decoders, spoken(3))) == 48_000
            assert any("did not answer" in text for text in said)
            assert slots.running == 0
            await soon(lambda: pid not in started())
        finally:
            decoders.close()
            slots.close()

    asyncio.run(play())


def test_an_idle_decoder_ends(started: Started) -> None:
    async def play() -> None:
        async with pool() as decoders:
            await decode(decoders, spoken(3))
            (pid,) = started()
            await soon(lambda: not Path(f"/proc/{pid}").exists())
            assert len(await decode(decoders, spoken(3))) == 48_000

    asyncio.run(play())


@pytest.mark.parametrize(
    ("seconds", "cpu_seconds", "wanted"),
    [
        (0.007, 0.007, 0.0),
        (0.0005, 0.0, 0.0),  # too little to tell
        (0.012, 0.007, 0.012),
        (0.014, 0.007, 0.014),
        (9.0, 0.007, MOST_PAUSE_SECONDS),
    ],
)
def test_a_long_clip_leaves_the_processor_to_others_that_want_it(
    seconds: float, cpu_seconds: float, wanted: float
) -> None:
    assert pause_seconds(seconds, cpu_seconds) == wanted
