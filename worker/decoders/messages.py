"""The messages between a worker and a decoder: one JSON object a datagram, and the descriptors that come with it.

It decides which messages are legal and does no I/O. PROTOCOL is part of the name by which a decoder is found: workers
of two releases never share one.
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from ..audio.converter import MAX_SPLIT_CHANNELS

PROTOCOL: Final = 2
MOST_BYTES: Final = 4096
TEXT_CHARS: Final = 400

Amount = Annotated[int, msgspec.Meta(ge=0, le=2**40)]
Seconds = Annotated[float, msgspec.Meta(ge=0, le=1e9)]
Channels = Annotated[int, msgspec.Meta(ge=1, le=MAX_SPLIT_CHANNELS)]
Text = Annotated[str, msgspec.Meta(max_length=TEXT_CHARS)]


class DecodeJob(msgspec.Struct, frozen=True):
    """A clip to decode. With it come three descriptors: its bytes, where the samples go, and where answers go.

    `granted`: there is room for so many seconds of samples; 0 for a clip that is not known to be a long one. `split`:
    all channels are wanted, and each counts as samples.
    """

    bytes: Amount
    max_seconds: Seconds
    granted: Seconds = 0.0
    split: bool = False


class Begun(msgspec.Struct, frozen=True, tag="begun"):
    """The job was taken. With it comes a pidfd of the decoder. `missing` names rights that could not be taken away."""

    missing: Text = ""


class Long(msgspec.Struct, frozen=True, tag="long"):
    """The clip is longer than was granted; it may become `seconds` long. The decoder has dropped it.

    So it takes no place while it waits for room. The little that was decoded is decoded again.
    """

    seconds: Seconds


class Alive(msgspec.Struct, frozen=True, tag="alive"):
    """A long clip is still being decoded."""


class AllDecoded(msgspec.Struct, frozen=True, tag="done"):
    """All samples are there: `samples` of float32, with `channels` interleaved. `truncated`: less than the file
    promises.
    """

    samples: Amount
    channels: Channels = 1
    truncated: bool = False


class Bad(msgspec.Struct, frozen=True, tag="bad"):
    """The clip cannot be used, with the code and text of `audio.BadAudio`."""

    code: Text
    text: Text


class DecoderFailed(msgspec.Struct, frozen=True, tag="failed"):
    """An error of ours, or no memory beside other clips."""

    because: Text


FromDecoder = Begun | Long | Alive | AllDecoded | Bad | DecoderFailed

_encoder: Final = msgspec.json.Encoder()
_jobs: Final = msgspec.json.Decoder(DecodeJob)
_answers: Final[msgspec.json.Decoder[FromDecoder]] = msgspec.json.Decoder(FromDecoder)


def encode(message: DecodeJob | FromDecoder) -> bytes:
    """One datagram."""
    return _encoder.encode(message)


def decode_job(data: bytes) -> DecodeJob:
    """Raises ValueError when the datagram is no job."""
    return _jobs.decode(data)


def decode_answer(data: bytes) -> FromDecoder:
    """Raises ValueError when the datagram is no answer."""
    return _answers.decode(data)
