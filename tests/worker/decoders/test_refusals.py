"""Whose fault it is that a clip cannot be decoded."""

from __future__ import annotations

import struct

import pytest

from modelward.worker.audio.limits import BadAudio
from modelward.worker.decoders.child import refusal
from modelward.worker.decoders.messages import Bad, DecoderFailed

TOO_LONG = BadAudio("audio_too_long", "cannot take 99.0 s of audio")


@pytest.mark.parametrize("error", [IndexError("x"), struct.error("x"), RecursionError("x"), OSError("x"), KeyError(1)])
def test_bytes_that_fail_a_library_are_damaged_audio_so_that_nobody_sends_them_again(error: Exception) -> None:
    for alone in (True, False):
        answer = refusal(error, begun=True, alone=alone)
        wanted = f"cannot read the audio: it fails its decoder ({type(error).__name__})"
        assert answer == Bad("damaged_audio", wanted)


def test_a_refusal_keeps_its_code_and_text() -> None:
    assert refusal(TOO_LONG, begun=True, alone=False) == Bad(TOO_LONG.code, str(TOO_LONG))


def test_a_clip_that_fills_a_decoder_by_itself_is_refused_and_one_beside_others_may_come_again() -> None:
    assert isinstance(refusal(MemoryError(), begun=True, alone=True), Bad)
    assert isinstance(refusal(MemoryError(), begun=False, alone=False), DecoderFailed)


def test_bytes_that_cannot_be_taken_in_are_no_fault_of_the_clip() -> None:
    assert isinstance(refusal(OSError(5, "Input/output error"), begun=False, alone=True), DecoderFailed)
