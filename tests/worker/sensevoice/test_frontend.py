from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.examples import examples
from tests.worker.sensevoice.vectors import CLIPS, VECTORS, clip

from modelward.worker.sensevoice import frontend


def cmvn() -> tuple[np.ndarray, np.ndarray]:
    lines = (VECTORS / "model-funasr" / "am.mvn").read_text().splitlines()
    rows = [np.array(line.split()[3:-1], dtype=np.float32) for line in lines if "LearnRateCoef" in line]
    return rows[0], rows[1]


@pytest.mark.parametrize("name", CLIPS)
def test_features_equal_those_of_kaldi_native_fbank(name: str) -> None:
    with np.load(VECTORS / "features.npz") as reference:
        expected = reference[name.removesuffix(".wav")]
    shift, scale = cmvn()
    got = frontend.apply_cmvn(frontend.stack(frontend.fbank(clip(name))), shift, scale)
    assert got.shape == expected.shape
    assert got.dtype == np.float32
    assert np.abs(got - expected).max() < 2e-4


def test_digital_silence_is_the_floor_of_kaldi() -> None:
    features = frontend.fbank(np.zeros(16000, dtype=np.float32))
    assert features.shape == (98, 80)
    assert np.allclose(features, -15.942385)


@pytest.mark.parametrize("samples", [0, 1, 159, 399])
def test_less_than_one_window_has_no_frames(samples: int) -> None:
    features = frontend.fbank(np.zeros(samples, dtype=np.float32))
    assert features.shape == (0, 80)
    assert frontend.stack(features).shape == (0, 560)
    assert frontend.apply_cmvn(frontend.stack(features), *cmvn()).shape == (0, 560)


@given(st.integers(0, 200_000))
def test_counts_agree_with_the_definition(samples: int) -> None:
    frames = max(0, 1 + (samples - 400) // 160) if samples >= 400 else 0
    assert frontend.frame_count(samples) == frames


@settings(max_examples=examples(30))
@given(st.integers(400, 65_000))  # a block is the signal of 20,720 samples: one to three cuts, at any place, or none
def test_cutting_the_signal_into_blocks_changes_nothing(samples: int) -> None:
    signal = np.random.default_rng(samples).normal(0, 0.1, samples).astype(np.float32)
    whole = frontend.fbank(signal)
    assert whole.shape == (frontend.frame_count(samples), 80)
    last = (len(whole) - 1) * 160
    assert np.allclose(whole[-1], frontend.fbank(signal[last : last + 400])[0], atol=2e-3)


def test_rows_are_seven_frames_round_every_sixth_with_the_edges_repeated() -> None:
    features = np.arange(13, dtype=np.float32)[:, None]
    assert frontend.stack(features).astype(int).tolist() == [
        [0, 0, 0, 0, 1, 2, 3],
        [3, 4, 5, 6, 7, 8, 9],
        [9, 10, 11, 12, 12, 12, 12],
    ]


def test_identical_audio_gives_identical_features() -> None:
    signal = clip("en.wav")
    assert np.array_equal(frontend.fbank(signal), frontend.fbank(signal.copy()))


def test_refuses_more_than_one_channel() -> None:
    with pytest.raises(ValueError, match="2 dimensions"):
        frontend.fbank(np.zeros((2, 16000), dtype=np.float32))
