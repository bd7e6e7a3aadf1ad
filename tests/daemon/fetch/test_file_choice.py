"""Which files of what people publish are a version."""

from __future__ import annotations

import pytest

from modelward.daemon.errors import Refused
from modelward.daemon.fetch.file_choice import PREFERRED, Choice, choose
from modelward.worker.sensevoice import files

FUNASR = [
    "model_quant.onnx", "model.onnx", "config.yaml", "am.mvn", "chn_jpn_yue_eng_ko_spectok.bpe.model", "tokens.json",
    "configuration.json", ".gitattributes", "README.md", "fig/a.png", "example/zh.mp3", "model.pt", "quickstart.md",
    ".msc",
]  # fmt: skip
SHERPA = [
    "model.onnx", "model.int8.onnx", "tokens.txt", "README.md", "LICENSE", "export-onnx.py", "test_wavs/zh.wav",
    ".git/HEAD",
]  # fmt: skip
EXTERNAL = ["model.onnx", "model.onnx.data", "am.mvn", "config.yaml", "tokens.json"]
ENCODERS = [
    "sense-voice-encoder.onnx", "sense-voice-encoder-int8.onnx", "fsmnvad-offline.onnx", "embedding.npy", "am.mvn",
]  # fmt: skip


@pytest.mark.parametrize(
    ("paths", "model", "taken"),
    [
        (
            FUNASR,
            "model_quant.onnx",
            "README.md am.mvn chn_jpn_yue_eng_ko_spectok.bpe.model config.yaml configuration.json model_quant.onnx "
            "quickstart.md tokens.json",
        ),
        (SHERPA, "model.int8.onnx", "LICENSE README.md model.int8.onnx tokens.txt"),
        (EXTERNAL, "model.onnx", "am.mvn config.yaml model.onnx model.onnx.data tokens.json"),
        (["model_q8.onnx", "model.onnx.data", "tokens.json"], "model_q8.onnx", "model_q8.onnx tokens.json"),
        (ENCODERS, "sense-voice-encoder-int8.onnx", "am.mvn embedding.npy sense-voice-encoder-int8.onnx"),
        (["a.onnx", "golden/a.wav", "deep/b.json"], "a.onnx", "a.onnx deep/b.json golden/a.wav"),
    ],
)
def test_what_is_published_becomes_a_version(paths: list[str], model: str, taken: str) -> None:
    assert choose(paths) == Choice(tuple(taken.split()), model)


def test_the_user_may_take_another_model_or_everything() -> None:
    assert choose(SHERPA, model="model.onnx").model == "model.onnx"
    assert "model.int8.onnx" not in choose(SHERPA, model="model.onnx").paths
    assert choose(SHERPA, everything=True).paths == tuple(sorted(path for path in SHERPA if not path.startswith(".")))
    with pytest.raises(Refused, match=r"it is not there; there is model.int8.onnx, model.onnx"):
        choose(SHERPA, model="model_quant.onnx")


def test_a_list_of_checksums_is_taken_as_a_whole() -> None:
    paths = [*SHERPA, "SHA256SUMS", "SHA256SUMS.minisig"]
    assert choose(paths, sums=["model.onnx", "tokens.txt"]).paths == (
        "SHA256SUMS", "SHA256SUMS.minisig", "model.onnx", "tokens.txt",
    )  # fmt: skip
    with pytest.raises(Refused, match="SHA256SUMS lists none.txt, which is not there"):
        choose(paths, sums=["none.txt"])


@pytest.mark.parametrize(
    ("paths", "because"),
    [
        (["model.pt", "config.yaml"], r"holds model.pt, PyTorch's form.*ms:iic/SenseVoiceSmall-onnx"),
        (["a.txt"], "no .onnx file among 1 file"),
        ([], "no .onnx file among 0 files"),
        (["onnx/model.onnx"], "lies in a directory, onnx/model.onnx; a version has it at the top"),
        (["a.onnx", "b.onnx"], "cannot choose among a.onnx, b.onnx; --model FILE takes one"),
    ],
)
def test_what_is_no_version_is_refused_with_what_helps(paths: list[str], because: str) -> None:
    with pytest.raises(Refused, match=because):
        choose(paths)


def test_the_choice_is_that_of_the_workers() -> None:
    assert PREFERRED == files.PREFERRED
