"""The demo recogniser hears what was dialled: on clips it never learnt from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.versions import external_version, good_version, quantized_version
from tests.worker.demo.ears import Ears

from modelward.worker.demo import (
    clips,
    lessons,
    synth,
    vocabulary,
)


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Ears:
    return Ears(good_version(tmp_path_factory.mktemp("digits")))


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> Ears:
    return Ears(good_version(tmp_path_factory.mktemp("words"), words=True))


def numbers(count: int, seed: int) -> list[str]:
    """Random keys, each number with one key pressed twice in a row."""
    rng = np.random.default_rng(seed)
    dialled = ["".join(rng.choice(list(synth.KEYS), 9)) for _ in range(count)]
    return [number[:4] + number[3] + number[4:] for number in dialled]


@pytest.mark.parametrize("level_db", [-40.0, -25.0, -10.0, 0.0])
@pytest.mark.parametrize("snr_db", [None, 20.0, 10.0])
@pytest.mark.parametrize("seconds", [0.08, 0.12, 0.3])
def test_every_key_is_heard_at_any_level_clear_or_noisy(
    digits: Ears, level_db: float, snr_db: float | None, seconds: float
) -> None:
    for seed, number in enumerate(numbers(6, seed=round(1000 * seconds - level_db))):
        edge = 0.03 * seed  # tones begin anywhere in a frame, the first one with the clip itself
        sound = synth.dial(
            number,
            tone_seconds=seconds,
            gap_seconds=seconds,
            edge_seconds=edge,
            level_db=level_db,
            snr_db=snr_db,
            seed=seed,
        )
        assert digits.text(sound) == number


@pytest.mark.parametrize("shift", range(0, 960, 80))
def test_a_key_pressed_twice_is_written_twice_wherever_it_falls(digits: Ears, shift: int) -> None:
    sound = np.concatenate(
        [np.zeros(shift, dtype=np.float32), synth.dial("11000", tone_seconds=0.08, gap_seconds=0.08)]
    )
    assert digits.text(sound) == "11000"


def test_a_key_held_down_is_written_once(digits: Ears) -> None:
    assert digits.text(synth.dial("7", tone_seconds=3.0, snr_db=15.0)) == "7"


def test_the_other_version_writes_words(words: Ears) -> None:
    assert words.text(synth.dial("0123456789")) == "zero one two three four five six seven eight nine"
    assert words.text(synth.dial("*#AD")) == "star hash A D"


def test_each_key_is_placed_in_the_frame_where_it_goes_down(digits: Ears) -> None:
    (heard,) = digits.hear(synth.dial("159", tone_seconds=0.2, gap_seconds=0.3, edge_seconds=0.4))
    assert np.abs(np.array(heard.frames) * 0.06 - [0.4, 0.9, 1.4]).max() <= 0.06


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("sound", ["babble", "noise", "silence"])
def test_what_is_no_telephone_writes_nothing(digits: Ears, sound: str, seed: int) -> None:
    rng = np.random.default_rng(10_000 + seed)
    made = {
        "babble": synth.babble(48_000, rng) * 0.3,
        "noise": synth.noise(48_000, rng, colour=seed / 2) * 0.1,
        "silence": np.zeros(48_000),
    }[sound]
    assert digits.text(synth.quantize(made)) == ""


@pytest.mark.parametrize("hz", [440.0, 697.0, 1336.0])
def test_one_tone_alone_is_no_key(digits: Ears, hz: float) -> None:
    assert digits.text((0.3 * np.sin(2 * np.pi * hz * np.arange(32_000) / 16_000)).astype(np.float32)) == ""


def test_a_batch_of_two_equals_two_singles(digits: Ears) -> None:
    long, short = synth.dial("5551234", snr_db=20.0), synth.dial("42")
    together = digits.hear(long, short, textnorm=14)
    alone = digits.hear(long, textnorm=14) + digits.hear(short, textnorm=14)
    for one, other in zip(together, alone, strict=True):
        assert (one.text, one.tags) == (other.text, other.tags)
        np.testing.assert_allclose(one.logits, other.logits, atol=1e-4)


@pytest.mark.parametrize(
    ("language", "tag"),
    [(0, "<|en|>"), (3, "<|zh|>"), (4, "<|en|>"), (7, "<|yue|>"), (11, "<|ja|>"), (12, "<|ko|>"), (13, "<|nospeech|>")],
)
def test_the_first_four_frames_carry_the_tags_of_the_prompts(digits: Ears, language: int, tag: str) -> None:
    (plain,) = digits.hear(synth.dial("42"), language=language, textnorm=15)
    (normal,) = digits.hear(synth.dial("42"), language=language, textnorm=14)
    assert plain.tags == (tag, "<|NEUTRAL|>", "<|Speech|>", "<|woitn|>")
    assert normal.tags == (tag, "<|NEUTRAL|>", "<|Speech|>", "<|withitn|>")
    assert (plain.text, normal.text) == ("42", "42.")


def test_a_clip_without_a_key_says_so_in_its_tags_and_has_no_full_stop(digits: Ears) -> None:
    (heard,) = digits.hear(np.zeros(16_000, dtype=np.float32), textnorm=14)
    assert heard.tags == ("<|nospeech|>", "<|EMO_UNKNOWN|>", "<|Event_UNK|>", "<|withitn|>")
    assert heard.text == ""


def test_gain_changes_no_logit_of_a_clear_tone(digits: Ears) -> None:
    sound = synth.render([synth.Press("5", 4_000, 4_000)], 12_000, synth.TelephoneLine(-20.0))
    sound = sound + synth.noise(12_000, np.random.default_rng(0)) * 0.003
    loud, quiet = (digits.hear((sound * gain).astype(np.float32))[0].logits for gain in (1.0, 0.1))
    np.testing.assert_allclose(loud, quiet, atol=0.05)


@pytest.mark.parametrize("form", [external_version, quantized_version])
def test_other_forms_of_the_same_version_hear_the_same(form, tmp_path: Path) -> None:
    ears = Ears(form(tmp_path))
    for seed, number in enumerate(numbers(10, seed=77)):
        assert ears.text(synth.dial(number, snr_db=10.0, level_db=-30.0, seed=seed)) == number


def test_the_shortest_clips_are_answered(digits: Ears) -> None:
    for samples in (400, 560, 1_359, 1_360):
        (heard,) = digits.hear(np.zeros(samples, dtype=np.float32))
        assert heard.text == ""


def test_sample_clips_say_what_their_texts_say(digits: Ears, words: Ears, tmp_path: Path) -> None:
    paths = clips.write_clips(tmp_path)
    for path in paths:
        sound = np.frombuffer(path.read_bytes()[44:], dtype="<i2").astype(np.float32) / 32768
        for ears, form in ((digits, "digits"), (words, "words")):
            assert ears.text(sound) == path.with_suffix(f".{form}.txt").read_text(encoding="utf-8").strip()
    assert paths[-1].stat().st_size > 60 * 16_000 * 2


def test_the_vocabulary_says_what_the_lessons_teach() -> None:
    assert 1 + len(synth.KEYS) == lessons.LABELS
    assert len(vocabulary.pieces(words=True)) == len(vocabulary.pieces(words=False)) == vocabulary.SIZE
    assert len(set(vocabulary.pieces(words=True))) == vocabulary.SIZE
