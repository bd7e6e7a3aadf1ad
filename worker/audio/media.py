"""Reads what phones, cameras and messengers record, with FFmpeg's libraries, where the extra `media` is installed.

It runs only in a decoder, which can open nothing. The library gets the bytes, the kind of the bytes selects the
demuxer, and only decoders of sound may be used, without threads. It yields to the caller after each small piece of
work. Invariant: any fault in the bytes is a BadAudio.
"""

from __future__ import annotations

import errno
import importlib
import io
import pkgutil
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Final

import numpy as np

from .converter import Converter
from .kinds import AudioKind
from .limits import NOTHING, AudioLimits, BadAudio, Floats

_NOT_NEEDED: Final = ("av.__main__", "av.datasets")


def _imported() -> Any:
    """Imports the whole package: it imports parts of itself when a file has subtitles, and a decoder can open nothing
    then.
    """
    try:
        package = importlib.import_module("av")
        for module in pkgutil.walk_packages(package.__path__, "av."):
            if module.name not in _NOT_NEEDED:
                importlib.import_module(module.name)
    except ImportError:
        return None
    return package


av: Any = _imported()

Blocks = Iterator[Floats]

ADVICE: Final = "with the extra modelward[media] it would be read here; or send WAV, FLAC, OGG or MP3"
CODECS: Final = (
    "aac", "alac", "amrnb", "amrwb", "opus", "libopus", "vorbis", "speex", "libspeex", "flac", "mp3float", "mp3",
    "mp2float", "mp2", "mp1float", "wmav1", "wmav2", "wmapro", "wmavoice", "wmalossless", "ac3", "eac3", "tta",
    "wavpack", "gsm", "gsm_ms", "ilbc", "g729", "adpcm_ima_qt", "adpcm_ima_wav", "adpcm_ms", "adpcm_g722", "g722",
    "adpcm_g726", "g726", "g726le", "adpcm_swf", "nellymoser", "qcelp", "evrc", "truespeech",
    "pcm_s16le", "pcm_s16be", "pcm_s24le", "pcm_s24be", "pcm_s32le", "pcm_s32be", "pcm_u8", "pcm_s8", "pcm_f32le",
    "pcm_f32be", "pcm_f64le", "pcm_f64be", "pcm_alaw", "pcm_mulaw",
)  # fmt: skip
_PROBE_BYTES: Final = 2 << 20  # how far from the beginning streams are searched
_PACKETS_AT_ONCE: Final = 64  # of video too, which are skipped
_BLOCK_FRAMES: Final = 1 << 14
_MISSED_SECONDS: Final = 0.25
_SCALES: Final = {"u8": 128.0, "s16": 32768.0, "s32": 2147483648.0, "flt": 1.0, "dbl": 1.0}


def available() -> bool:
    """Whether the extra is installed."""
    return av is not None


def missing(name: str) -> BadAudio:
    """The refusal of a file that only this could read."""
    return BadAudio("unsupported_audio", f"cannot read the audio: it is {name}; {ADVICE}")


def blocks(data: bytes, kind: AudioKind, limits: AudioLimits, split: bool) -> Blocks:
    """The first sound in the file, part by part. Raises BadAudio at any part."""
    if av is None:
        raise missing(kind.name)
    try:
        with av.open(
            io.BytesIO(data),
            mode="r",
            format=kind.demuxer,
            options=_options(),
            metadata_errors="replace",  # titles may have any encoding
        ) as container:
            reading = _Reading(_stream_of(container, kind), limits, split)
            yield from reading.of(container)
    except BadAudio:
        raise
    except (av.error.FFmpegError, MemoryError, ValueError, ArithmeticError) as e:
        raise _cannot_read(e, kind) from e


def _options() -> dict[str, str]:
    return {
        "codec_whitelist": ",".join(CODECS),
        "protocol_whitelist": "",
        "probesize": str(_PROBE_BYTES),
        "threads": "1",
    }


def _stream_of(container: Any, kind: AudioKind) -> Any:
    """The first stream of sound that can be decoded. Raises BadAudio."""
    names = []
    for stream in container.streams.audio:
        codec = stream.codec_context
        # AAC in WAV is one stream of frames without marks, which no library takes apart
        if codec is not None and codec.codec.name in CODECS and (kind.demuxer, codec.name) != ("wav", "aac"):
            codec.thread_count = 1
            codec.thread_type = "NONE"
            return stream
        names.append(codec.name if codec is not None else "an unknown codec")
    what = f"{' and '.join(names[:4])}, which is not read" if names else "no sound"
    raise BadAudio("unsupported_audio", f"cannot read the audio: the {kind.name} file holds {what}")


def _cannot_read(error: Exception, kind: AudioKind) -> BadAudio:
    if isinstance(error, MemoryError) or getattr(error, "errno", 0) == errno.ENOMEM:
        return BadAudio("damaged_audio", f"cannot read the {kind.name} file: it asks for more memory than a clip takes")
    cause = (getattr(error, "strerror", None) or str(error)).rstrip(".")
    return BadAudio("damaged_audio", f"cannot read the {kind.name} file: it is damaged or cut off ({cause})")


class _Reading:
    """Reads one stream into samples."""

    def __init__(self, stream: Any, limits: AudioLimits, split: bool) -> None:
        self._stream, self._limits, self._split = stream, limits, split
        self._converter: Converter | None = None
        self._held: list[Floats] = []
        self._held_frames = 0
        self._seconds = 0.0
        self._failed = False  # the last packet could not be decoded

    def of(self, container: Any) -> Blocks:
        """Reads all of it; raises BadAudio."""
        promised = self._promised()
        if promised and self._stream.frames:  # there is an index, not only a number
            self._limits.promised(round(promised * 1000), 1000)
        yield from self._packets(container)
        if self._held:
            yield self._joined()
        if self._converter is None:
            if self._failed:
                raise BadAudio("damaged_audio", "cannot read the audio: nothing of it can be decoded")
            raise BadAudio("empty_audio", "cannot read the audio: it holds no samples")
        if self._failed or self._stream.frames and promised - self._seconds > _MISSED_SECONDS:
            self._limits.notes.truncated = True
        yield self._converter.finish()

    def _promised(self) -> float:
        stream = self._stream
        return float(stream.duration * stream.time_base) if stream.duration and stream.time_base else 0.0

    def _packets(self, container: Any) -> Blocks:
        count = 0
        packets = container.demux()
        while True:
            count += 1
            if count % _PACKETS_AT_ONCE == 0:
                yield NOTHING
            try:
                packet = next(packets, None)
            except av.error.FFmpegError as e:
                if e.errno == errno.ENOMEM or not self._seconds:
                    raise
                self._limits.notes.truncated = True
                packet = None
            except IndexError:  # raised by PyAV at the end of a file in which a stream appeared late
                packet = None
            if packet is None:
                break
            if packet.stream.index == self._stream.index and packet.size:
                yield from self._decoded(packet)
        with suppress(av.error.FFmpegError):
            yield from self._taken(self._stream.codec_context.decode(None))

    def _decoded(self, packet: Any) -> Blocks:
        try:
            frames = self._stream.codec_context.decode(packet)
        except av.error.FFmpegError as e:
            if e.errno == errno.ENOMEM:
                raise
            self._failed = True
            return
        if frames:
            self._failed = False
        yield from self._taken(frames)

    def _taken(self, frames: list[Any]) -> Blocks:
        for frame in frames:
            channels, rate = frame.layout.nb_channels, frame.sample_rate
            now = self._converter
            if now is None or (now.rate, now.channels) != (rate, channels):
                if now is not None:
                    if self._held:
                        yield self._joined()
                    yield now.finish()
                    if self._split and now.channels != channels:
                        raise BadAudio("unsupported_audio", "cannot split the audio: its channels change on the way")
                self._converter = Converter(rate, channels, self._limits, split=self._split)
            self._held.append(_floats(frame, channels))
            self._held_frames += frame.samples
            self._seconds += frame.samples / rate
            if self._held_frames >= _BLOCK_FRAMES:
                yield self._joined()

    def _joined(self) -> Floats:
        assert self._converter is not None
        block = self._converter.add(np.concatenate(self._held) if len(self._held) > 1 else self._held[0])
        self._held.clear()
        self._held_frames = 0
        return block


def _floats(frame: Any, channels: int) -> Floats:
    """The samples of a frame, float32 [n, channels], full scale 1."""
    array = frame.to_ndarray()
    rows = array.T if frame.format.is_planar else array.reshape(-1, channels)
    name = frame.format.name.removesuffix("p")
    if name not in _SCALES:
        raise BadAudio("unsupported_audio", f"cannot read the audio: its samples are {frame.format.name}")
    values = np.asarray(rows, dtype=np.float32)
    if name == "u8":
        values = values - np.float32(128)
    scaled: Floats = values / np.float32(_SCALES[name])
    return scaled
