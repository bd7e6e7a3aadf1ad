"""Small files as phones, browsers, cameras and messengers write them, made by FFmpeg's own encoders.

FFmpeg's libraries are loaded by whatever makes a file, not by each process that collects the tests of this module.
"""

from __future__ import annotations

import functools
import io
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import numpy as np

# name: container, codec, sample rate, options of the container
FILES: Final[dict[str, tuple[str, str, int, dict[str, str]]]] = {
    "voice memo": ("ipod", "aac", 44_100, {}),
    "safari": ("mp4", "aac", 48_000, {"movflags": "frag_keyframe+empty_moov+default_base_moof"}),
    "chromium": ("mp4", "libopus", 48_000, {"movflags": "frag_keyframe+empty_moov+default_base_moof"}),
    "opus in mp4": ("mp4", "libopus", 48_000, {}),
    "adts": ("adts", "aac", 16_000, {}),
    "amr": ("amr", "libopencore_amrnb", 8_000, {}),
    "3gp": ("3gp", "libopencore_amrnb", 8_000, {}),
    "wma": ("asf", "wmav2", 44_100, {}),
    "flac in ogg": ("ogg", "flac", 16_000, {}),
    "alac": ("ipod", "alac", 44_100, {}),
    "alac in caf": ("caf", "alac", 44_100, {}),
    "pcm in matroska": ("matroska", "pcm_s16le", 16_000, {}),
    "mp3 in mp4": ("mp4", "libmp3lame", 44_100, {}),
    "mp3 in wav": ("wav", "libmp3lame", 16_000, {}),
    "transport stream": ("mpegts", "aac", 48_000, {}),
    "flash": ("flv", "aac", 44_100, {}),
    "wavpack": ("wv", "wavpack", 16_000, {}),
    "true audio": ("tta", "tta", 16_000, {}),
    "ac3": ("ac3", "ac3", 48_000, {}),
}


@functools.cache
def media_file(name: str, seconds: float = 2.0, *, video: bool = False) -> bytes:
    """A tone of 440 Hz, one channel, in that kind of file; beside a picture that moves where that is asked."""
    import av

    container, codec, rate, options = FILES[name]
    made = io.BytesIO()
    with av.open(made, "w", format=container, options=options) as file:
        picture = file.add_stream("mpeg4", rate=10) if video else None
        if picture is not None:
            picture.width, picture.height, picture.pix_fmt = 64, 48, "yuv420p"
        stream: Any = file.add_stream(codec, rate=rate, layout="mono")
        if codec == "wmav2":
            stream.bit_rate = 64_000  # it has no rate of its own
        if picture is not None:
            _draw(file, picture, int(seconds * 10))
        _sound(file, stream, rate, seconds)
    return made.getvalue()


def silk_file(seconds: float, *, tencent: bool = True) -> bytes:
    """The same tone as a voice message of WeChat, or as SILK's own tools write it."""
    import pysilk

    tone = (0.3 * 32767 * np.sin(2 * np.pi * 440 * np.arange(int(16_000 * seconds)) / 16_000)).astype("<i2")
    made = io.BytesIO()
    pysilk.encode(io.BytesIO(tone.tobytes()), made, 16_000, 24_000, tencent=tencent)
    return made.getvalue()


def flac_in_mp4(samples: Any, rate: int) -> bytes:
    """Sound [frames, channels] as it was, in MP4."""
    import av

    made = io.BytesIO()
    with av.open(made, "w", format="mp4", options={"strict": "experimental"}) as file:
        stream: Any = file.add_stream("flac", rate=rate, layout="stereo")
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples.T), format="fltp", layout="stereo")
        frame.sample_rate, frame.time_base, frame.pts = rate, Fraction(1, rate), 0
        fifo = av.AudioFifo()
        for part in av.AudioResampler("s16", "stereo", rate).resample(frame):
            fifo.write(part)
        while (piece := fifo.read(4608)) is not None or (piece := fifo.read(4608, partial=True)) is not None:
            file.mux(stream.encode(piece))
        file.mux(stream.encode(None))
    return made.getvalue()


def without_extras(directory: Path) -> Path:
    """A directory in which Python finds the extras first, and cannot import them."""
    for name in ("av", "pysilk"):
        (directory / name).mkdir(parents=True)
        (directory / name / "__init__.py").write_text("raise ImportError('it is not installed')\n")
    return directory


def subtitled() -> bytes:
    """Two seconds in Matroska with a track of subtitles beside."""
    import av

    made = io.BytesIO()
    with av.open(made, "w", format="matroska") as file:
        stream: Any = file.add_stream("pcm_s16le", rate=16_000, layout="mono")
        titles: Any = file.add_stream("subrip")
        titles.codec_context.subtitle_header = b"[Script Info]\n[V4+ Styles]\n[Events]\n"
        _sound(file, stream, 16_000, 2.0)
    return made.getvalue()


def silent_video() -> bytes:
    """A second of pictures alone."""
    import av

    made = io.BytesIO()
    with av.open(made, "w", format="mp4") as file:
        picture = file.add_stream("mpeg4", rate=10)
        picture.width, picture.height, picture.pix_fmt = 64, 48, "yuv420p"
        _draw(file, picture, 10)
    return made.getvalue()


def _draw(file: Any, stream: Any, pictures: int) -> None:
    import av

    for number in range(pictures):
        drawn = np.full((48, 64, 3), number * 7 % 256, np.uint8)
        file.mux(stream.encode(av.VideoFrame.from_ndarray(drawn, format="rgb24")))
    file.mux(stream.encode(None))


def _sound(file: Any, stream: Any, rate: int, seconds: float) -> None:
    import av

    tone = (0.3 * np.sin(2 * np.pi * 440 * np.arange(int(rate * seconds)) / rate)).astype(np.float32)
    to_codec = av.AudioResampler(stream.codec_context.format.name, "mono", rate)
    frame_size = stream.codec_context.frame_size or 1024
    fifo = av.AudioFifo()
    frame = av.AudioFrame.from_ndarray(tone[None, :], format="fltp", layout="mono")
    frame.sample_rate, frame.time_base, frame.pts = rate, Fraction(1, rate), 0
    for part in [*to_codec.resample(frame), *to_codec.resample(None)]:
        fifo.write(part)
    while (piece := fifo.read(frame_size)) is not None or (piece := fifo.read(frame_size, partial=True)) is not None:
        file.mux(stream.encode(piece))
    file.mux(stream.encode(None))
