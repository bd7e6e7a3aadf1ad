"""What the name of a version holds."""

from __future__ import annotations

import pytest

from modelward.worker.shared.version_name import read_name


@pytest.mark.parametrize(
    ("name", "family", "numbers", "trailing"),
    [
        ("sensevoice-small-onnx-quant-v1.1", "sensevoicesmall", (1, 1), "v1.1"),
        ("model-2", "model", (2,), "2"),
        ("model_9", "model", (9,), "9"),
        ("model_v1_2", "model", (1, 2), "v1_2"),
        ("V3", "", (3,), "V3"),
        ("v1.0", "", (1,), "v1.0"),
        ("v0", "", (0,), "v0"),
        ("version-2", "", (2,), "version-2"),
        ("模型v2.0", "模型", (2,), "v2.0"),
        ("模型2", "模型", (2,), "2"),
        ("第3版", "", (3,), "3版"),
        ("ｍ－ｖ２．１", "m", (2, 1), "ｖ２．１"),
        ("modelv2.0", "model", (2,), "v2.0"),
        ("modelv2", "model", (2,), "v2"),
        ("sensevoice1.5", "sensevoice", (1, 5), "1.5"),
        ("model2", "model", (2,), "2"),
        ("asr-2-v1.1", "asr2", (1, 1), "v1.1"),
        ("wav2vec2-v3", "wav2vec2", (3,), "v3"),
        ("m-v1.0(1)", "m", (1,), "v1.0(1)"),
        # dates
        ("m-20240717", "m", (2024, 7, 17), "20240717"),
        ("2024-07-17", "", (2024, 7, 17), "2024-07-17"),
        ("m-2024.07.17", "m", (2024, 7, 17), "2024.07.17"),
        ("m_2024_7_18", "m", (2024, 7, 18), "2024_7_18"),
        ("m2024-7-18", "m", (2024, 7, 18), "2024-7-18"),
        ("v20240717", "", (2024, 7, 17), "v20240717"),
        ("m-20240717-153000", "m", (2024, 7, 17, 15, 30, 0), "20240717-153000"),
        ("m-20240717153000", "m", (2024, 7, 17, 15, 30, 0), "20240717153000"),
        ("m-20240717_1530", "m", (2024, 7, 17, 15, 30), "20240717_1530"),
        ("m-20240717T153000Z", "m", (2024, 7, 17, 15, 30, 0), "20240717T153000Z"),
        ("m-2024-07-17-15-30-00", "m", (2024, 7, 17, 15, 30, 0), "2024-07-17-15-30-00"),
        ("m-2024-07-17T15:30:00", "m", (2024, 7, 17, 15, 30, 0), "2024-07-17T15:30:00"),
        ("m-2024-07", "m", (2024, 7), "2024-07"),
        ("m-17Jul2024", "m", (2024, 7, 17), "17Jul2024"),
        ("m-2024-jul-17", "m", (2024, 7, 17), "2024-jul-17"),
        ("模型2024年7月18日", "模型", (2024, 7, 18), "2024年7月18日"),
        ("m-2024.1.0", "m", (2024, 1), "2024.1.0"),
        # no number
        ("experimental", "experimental", (), ""),
        ("model-int8", "model", (), ""),
        ("wav2vec2", "wav2vec2", (), ""),
        ("fp16", "", (), ""),
        ("dev2", "dev2", (), ""),
        ("conv2", "conv2", (), ""),
        ("cuda12.1", "cuda12.1", (), ""),
        ("model-q4_0", "model", (), ""),
        ("v", "", (), ""),
        ("v١", "١", (), ""),
        ("", "", (), ""),
        # the day or the month first: nobody can tell
        ("17.07.2024", "17.07.2024", (), ""),
        ("m-07-08-2024", "m07-08-2024", (), ""),
        ("17072024", "17072024", (), ""),
        ("m-17-07-24", "m17-07-24", (), ""),
    ],
)
def test_the_model_the_number_and_the_trailing_version(
    name: str, family: str, numbers: tuple[int, ...], trailing: str
) -> None:
    read = read_name(name)
    assert (read.family[0], read.numbers, name[read.start :]) == (family, numbers, trailing)


@pytest.mark.parametrize(
    ("name", "groups", "variants"),
    [
        ("v1.1-rc1", ["4 (1,)"], ()),
        ("v1.1-rc.1", ["4 (1,)"], ()),
        ("v1.1b2", ["2 (2,)"], ()),
        ("v1.1-final", [], ()),
        ("v1.1-最终版", [], ()),
        ("v1.1-hotfix1", ["10 fix (1,)"], ()),
        ("v1.1p3", ["10 fix (3,)"], ()),
        ("v1.1-修复2", ["10 fix (2,)"], ()),
        ("v1.1-2", ["10 number (2,)"], ()),
        ("v1.1-20240717", ["10 date (2024, 7, 17)"], ()),
        ("v1_20240717", ["10 date (2024, 7, 17)"], ()),
        ("20240717-v2", ["10 number (2,)"], ()),
        ("v1.0-hotfix-v2", ["10 fix ()", "10 number (2,)"], ()),
        ("v2.1-int8", [], ("int8",)),
        ("v1.0_8bit", [], ("8bit",)),
        ("small-q4_k_m-v1-16k", [], ("16k", "q4_k_m")),
    ],
)
def test_what_stands_behind_the_number(name: str, groups: list[str], variants: tuple[str, ...]) -> None:
    read = read_name(name)
    assert [" ".join(filter(None, (str(s.rank), s.group, str(s.step)))) for s in read.suffixes] == groups
    assert read.variants == variants


@pytest.mark.parametrize("name", ["v1.2-broken", "v2.0-callcenter", "m-v1.0.bak", "v1.0 (copy)", "v1.0+cu118"])
def test_a_word_that_is_not_known_belongs_to_the_model(name: str) -> None:
    read = read_name(name)
    assert read.numbers and read.family[1] and read.start == len(name)
